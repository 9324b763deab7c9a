"""What came of a POST to a receiver."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Outcome:
    """``status`` None: no answer, and ``error`` says why. ``wish``: seconds of its Retry-After."""

    status: int | None
    error: str
    seconds: float
    response: str = ""
    wish: float = 0.0

    @property
    def arrived(self) -> bool:
        return self.status is not None and 200 <= self.status < 300
