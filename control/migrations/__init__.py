"""The database's tables, as numbered steps: each ``NNNN_what.sql`` is applied once, in order, and never changed afterwards."""
