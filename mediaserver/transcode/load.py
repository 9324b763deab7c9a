"""Whether a transcoder keeps up: when pictures are skipped, when a rung is shed, when it may come back. Pure: told the time."""

import enum

#: Milliseconds of the stream that may be on their way through the process; what is beyond is skipped to the next keyframe.
MOST_LAG = 2_500
#: Milliseconds of lag at which skipping ends.
CALM_LAG = 1_500
#: Seconds after the start in which a transcoder catches up with what was kept for it, and is not judged.
CATCH_UP = 20.0
#: Seconds of skipping, on and off, after which a rung is shed; and how far back skipping counts.
SHED_AFTER, MEMORY = 3.0, 20.0
#: Seconds without skipping after which a rung comes back: at first, and at most. Each relapse doubles it.
FIRST_PATIENCE, LONGEST_PATIENCE = 20.0, 300.0


class Verdict(enum.Enum):
    """What to do about the rungs."""

    KEEP = "keep"
    SHED = "shed"
    RESTORE = "restore"


class Load:
    """One transcoder's. All times in seconds of a monotonic clock."""

    def __init__(self, now: float) -> None:
        self._judged_from = now + CATCH_UP
        self._skips: list[float] = []
        self._skipping = False
        self._changed = now
        self._patience = FIRST_PATIENCE
        self._restored = False

    def begin(self, now: float) -> None:
        """The process is another one, or makes something else."""
        self._judged_from = now + CATCH_UP
        self._skips.clear()
        self._skipping = False

    def skips(self, now: float, lag: int, *, keyframe: bool) -> bool:
        """Whether the next picture is left out, with ``lag`` ms on their way. Pictures come back with a keyframe."""
        if lag <= CALM_LAG:
            self._judged_from = min(self._judged_from, now)
        if self._skipping:
            self._skipping = not keyframe or lag > CALM_LAG
        elif now >= self._judged_from and lag > MOST_LAG:
            self._skipping = True
        return self._skipping

    def sweep(self, now: float, *, encoded: int, shed: int) -> Verdict:
        """To be asked every second, with how many rungs are encoded and how many are shed now. The last one is never shed."""
        if self._skipping:
            self._skips.append(now)
        self._skips = [at for at in self._skips if now - at < MEMORY]
        if len(self._skips) >= SHED_AFTER and encoded > 1:
            self._skips.clear()
            if self._restored and now - self._changed < 2 * self._patience:
                self._patience = min(2 * self._patience, LONGEST_PATIENCE)
            self._changed, self._restored = now, False
            return Verdict.SHED
        if shed and not self._skips and now - self._changed >= self._patience:
            self._changed, self._restored = now, True
            return Verdict.RESTORE
        return Verdict.KEEP
