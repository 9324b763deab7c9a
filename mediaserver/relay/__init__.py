"""Relays: a stream goes on to another server."""
