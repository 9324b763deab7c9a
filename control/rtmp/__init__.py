"""The RTMP server: what is connected, and whether it listens at all."""
