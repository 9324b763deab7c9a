"""What this server is doing now: the live list, health, metrics."""
