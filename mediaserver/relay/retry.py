"""Whether a target is tried again, and when. Pure: the time (in seconds, of any clock) is told."""

from mediaserver.relay.push import SECOND_THOUGHTS, TRIAL, Ending, Outcome

#: Seconds that a connection must have lasted for the next loss to count as the first one.
STEADY = 10.0
#: Seconds for which "somebody publishes there already" is believed to be a connection of our own, or of an encoder that was
#: here before us, whose end the target has not noticed yet: after a loss, or after it was first heard.
GHOST = 300.0
#: How often in a row a target may close when it is given the key, until that is its answer; unless it once took the stream.
DISMISSALS = 5
#: By how much a wait is longer or shorter than it should be, so that many who were lost together do not come back together.
JITTER = 0.2
#: How often the back-off is passed over in a row; there is one more for each longest wait that passes. A port that opens and
#: closes all the time is no invitation. All of them are there again after a connection that was STEADY, and where a target was
#: seen to be away, after one of SECOND_THOUGHTS: who is killed over and over must have the stream soon each time.
HURRIES = 5


class _Hurries:
    """So many, and more as time passes."""

    __slots__ = ("_at", "_interval", "_spent")

    def __init__(self, interval: float) -> None:
        self._interval = interval  # seconds
        self.restore()

    def restore(self) -> None:
        self._spent = self._at = 0.0

    def take(self, now: float) -> bool:
        """Whether there is one left; it is gone then."""
        self._spent = max(0.0, self._spent - (now - self._at) / self._interval)
        self._at = now
        if self._spent > HURRIES - 1:
            return False
        self._spent += 1
        return True


class Retry:
    """Twice the wait each time, from ``first`` to ``longest`` seconds; a no that is meant ends it.

    Tries that nobody answered and tries that came to something else count apart: a target that is back after a long time is not
    one that has failed so often.
    """

    __slots__ = (
        "_absences",
        "_dismissals",
        "_failures",
        "_first",
        "_ghost_since",
        "_lasted",
        "_longest",
        "_returns",
        "_soon",
        "_starts",
        "_welcome",
    )

    def __init__(self, first: float, longest: float) -> None:
        self._first = min(first, longest)
        self._longest = longest
        self._failures = 0  # since the last connection that was steady
        self._absences = 0  # in a row
        self._dismissals = 0
        self._ghost_since: float | None = None
        self._welcome = False
        self._lasted = 0.0  # seconds; of the last connection on which the stream flowed, until it has been judged
        self._soon = False
        self._returns = _Hurries(longest)  # of who had been seen to be away
        self._starts = _Hurries(longest)  # of who may have been started anew faster than can be seen

    def lived(self, began: float, until: float) -> None:
        """A connection on which the stream flowed is over."""
        self._ghost_since = until
        self._lasted = until - began
        if self._lasted >= SECOND_THOUGHTS:
            self._returns.restore()
        if self._lasted >= STEADY:
            self._starts.restore()
            self._failures = 0
            self._welcome = True

    def moved(self) -> None:
        """The connection that is over was left for another, of whose end it says nothing."""
        self._lasted = 0.0

    def missed(self, now: float) -> None:
        """Nobody answered. So it was no opinion of our key that ended the last connection, nor can a ghost have been noticed."""
        self._dismissals = 0
        if self._ghost_since is not None:
            self._ghost_since = now

    def verdict(self, ending: Ending, now: float) -> str:
        """Why there is no hope after ``ending``, or nothing if there is. To be asked once for each try."""
        lasted, self._lasted, self._soon = self._lasted, 0.0, False
        if ending.outcome is Outcome.UNREACHABLE:
            self.missed(now)
            self._absences += 1
            return ""
        self._absences = 0
        self._failures += 1
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
            case Outcome.LOST:
                self._dismissals = 0
                self._soon = lasted >= TRIAL and self._starts.take(now)
                return ""
            case _:
                return ""

    def delay(self, jitter: float) -> float:
        """Seconds until the next try, never less than the first wait nor more than the longest. ``jitter``: from -1 to 1."""
        doublings = 0 if self._soon else min(max(0, self._failures + self._absences - 1), 16)
        wanted = min(self._first * float(2**doublings), self._longest)
        shortest, longest = max(self._first, wanted * (1 - JITTER)), min(self._longest, wanted * (1 + JITTER))
        return shortest + (longest - shortest) * (1 + jitter) / 2

    def hurry(self, now: float) -> bool:
        """Whether a target that was away, and is back, is tried at once. To be asked once for each time that it is back."""
        return self._returns.take(now)
