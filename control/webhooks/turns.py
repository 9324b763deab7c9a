"""Whose turn it is: what one webhook is told for the first time is told in its order, unless the receiver takes too long."""

import asyncio
import contextlib

#: Seconds after which a POST that has not ended holds up the next one no longer.
TURN = 1.0


class Turn:
    """One message's place behind the one before it."""

    def __init__(self, before: "Turn | None") -> None:
        self._before = before
        self._begun_at = 0.0
        self._begun, self._ended = asyncio.Event(), asyncio.Event()

    async def come(self) -> None:
        """Wait until the one before has ended, or has begun ``TURN`` seconds ago."""
        before, self._before = self._before, None
        if before is None:
            return
        await before._begun.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(before._begun_at + TURN):
                await before._ended.wait()

    def begin(self) -> None:
        """Now it is sent."""
        self._begun_at = asyncio.get_running_loop().time()
        self._begun.set()

    def end(self) -> None:
        """It was sent, or never will be by this process. Harmless twice."""
        self._ended.set()
        self._begun.set()


class Turns:
    """The turns of all webhooks."""

    def __init__(self) -> None:
        self._newest: dict[int, Turn] = {}

    def take(self, webhook_id: int) -> Turn:
        """Behind the newest that is on its way to that webhook."""
        turn = self._newest[webhook_id] = Turn(self._newest.get(webhook_id))
        return turn

    def end(self, webhook_id: int, turn: Turn) -> None:
        """``turn`` is over."""
        turn.end()
        if self._newest.get(webhook_id) is turn:
            del self._newest[webhook_id]
