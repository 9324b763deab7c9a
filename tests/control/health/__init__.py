"""Status and health of the machine and of what the server stands on."""
