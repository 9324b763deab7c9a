"""Who is asking: passwords, tokens, sessions, API keys."""
