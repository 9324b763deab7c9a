"""Webhooks: what is told, to whom, how often, and what becomes of it when somebody dies."""
