"""Whether a target is tried again, and when. Pure: the time (in seconds, of any clock) is told."""

from mediaserver.relay.push import Ending, Outcome

#: Seconds that a connection must have lasted for the next loss to count as the first one.
STEADY = 10.0
#: Seconds for which "somebody publishes there already" is believed to be a connection of our own, or of an encoder that was
#: here before us, whose end the target has not noticed yet: after a loss, or after it was first heard.
GHOST = 300.0
#: How often in a row a target may close when it is given the key, until that is its answer; unless it once took the stream.
DISMISSALS = 5
#: By how much a wait is longer or shorter than it should be, so that many who were lost together do not come back together.
JITTER = 0.2


class Retry:
    """Twice the wait each time, from ``first`` to ``longest`` seconds; a no that is meant ends it."""

    __slots__ = ("_dismissals", "_failures", "_first", "_ghost_since", "_longest", "_welcome")

    def __init__(self, first: float, longest: float) -> None:
        self._first = first
        self._longest = longest
        self._failures = 0  # in a row
        self._dismissals = 0
        self._ghost_since: float | None = None
        self._welcome = False

    def lived(self, began: float, until: float) -> None:
        """A connection on which the stream flowed is over."""
        self._ghost_since = until
        if until - began >= STEADY:
            self._failures = 0
            self._welcome = True

    def verdict(self, ending: Ending, now: float) -> str:
        """Why there is no hope after ``ending``, or nothing if there is."""
        match ending.outcome:
            case Outcome.REFUSED | Outcome.UNFIT:
                return ending.reason
            case Outcome.TAKEN:
                self._ghost_since = now if self._ghost_since is None else self._ghost_since
                return "" if now - self._ghost_since < GHOST else f"{ending.reason}, for {GHOST:g} s"
            case Outcome.DISMISSED:
                self._dismissals += 1
                enough = self._dismissals >= DISMISSALS and not self._welcome
                return f"{ending.reason}, {DISMISSALS} times in a row" if enough else ""
            case Outcome.UNREACHABLE if self._ghost_since is not None:
                self._ghost_since = now  # nor can it have noticed
                return ""
            case Outcome.LOST:
                self._dismissals = 0
                return ""
            case _:
                return ""

    def delay(self, jitter: float) -> float:
        """Seconds until the next try. ``jitter`` is a random number from -1 to 1."""
        wanted = min(self._first * float(2 ** min(self._failures, 16)), self._longest)
        self._failures += 1
        return wanted * (1 + JITTER * jitter)
