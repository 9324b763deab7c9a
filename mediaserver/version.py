"""Which version of the program this is."""

#: The same as in ``pyproject.toml``. To ask the package's metadata for it would load a megabyte that stays.
VERSION = "0.1.0"
