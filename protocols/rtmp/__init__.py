"""RTMP without I/O: handshake → chunk → message → command → session (Adobe's RTMP 1.0, Enhanced RTMP v2)."""
