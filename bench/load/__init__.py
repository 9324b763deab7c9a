"""Load generator: publishers and players as raw sockets, each kind in a process of its own."""
