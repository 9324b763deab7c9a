"""What the Panel document promises, tried on a started server: each of its headings has a test of its name."""
