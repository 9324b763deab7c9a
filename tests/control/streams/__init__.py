"""Streams of the API, over an engine that a test looks at."""
