"""The only files where a socket meets a protocol."""
