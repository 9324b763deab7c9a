"""The audit log, for administrators to read."""
