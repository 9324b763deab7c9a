"""Recordings: a stream is written to files."""
