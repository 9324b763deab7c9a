"""Streams: the rows that users own, and what they are on air."""
