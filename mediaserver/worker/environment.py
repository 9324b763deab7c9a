"""What a child process is told of the environment."""

import os

#: What stands in the environment for the server alone: secrets, for the most part.
_OWN_VARIABLES = "MEDIASERVER__"


def environment() -> dict[str, str]:
    """This process's, without the server's own."""
    return {name: value for name, value in os.environ.items() if not name.upper().startswith(_OWN_VARIABLES)}
