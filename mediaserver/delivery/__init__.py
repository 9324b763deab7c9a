"""How media leaves for its players. Knows sockets and protocols; asks the packaging house and the hub what there is."""
