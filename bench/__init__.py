"""The server side by side with its peers: one table out."""
