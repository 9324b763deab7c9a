"""Wire formats: bytes in, events out; events in, bytes out. No clock, no socket, no await."""
