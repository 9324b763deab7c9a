"""Destinations of the API, without anybody who takes anything."""
