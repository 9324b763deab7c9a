"""The pages that people look at, and the files they need."""
