"""What the engine refuses, and how it says so."""


class EngineError(Exception):
    """Root of the engine's own errors."""


class Refused(EngineError):
    """An Authorizer's no. ``reason`` is shown to the encoder or the player: no secrets in it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Unresolved(Refused):
    """A host's name leads nowhere, now at least."""


class NameTaken(Refused):
    """Somebody else publishes under this name now, and ``rtmp.takeover`` is off."""


class Unavailable(EngineError):
    """The engine cannot do this now: not started, draining, or full."""


class CannotServe(EngineError):
    """What the server stands on is not there (a database, say): it does not start."""
