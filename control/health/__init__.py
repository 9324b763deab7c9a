"""How the server and what it stands on are: measured when asked, never assumed."""
