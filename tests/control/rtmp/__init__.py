"""The RTMP server as the API shows it."""
