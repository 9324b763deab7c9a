"""Destinations: where a user's streams go on to."""
