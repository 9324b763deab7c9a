"""Work that must not run in the server's process: a child process, and what is said to it and by it."""
