"""Which names are live, who publishes them and who receives them. Knows no protocol."""
