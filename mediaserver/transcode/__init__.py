"""Transcoding: renditions of a stream, made in processes of their own."""
