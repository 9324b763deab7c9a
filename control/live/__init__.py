"""Live updates: what happens, told to open pages as server-sent events."""
