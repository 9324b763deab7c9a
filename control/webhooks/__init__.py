"""Webhooks: what happens to streams, told to their owners' own servers."""
