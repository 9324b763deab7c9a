"""Relays: a stream goes on to other servers, by RTMP and RTMPS."""
