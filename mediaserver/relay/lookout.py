"""The time between two tries, and the looks in it: whether the target has been away, and is back."""

import asyncio
import secrets
from collections.abc import Callable

from mediaserver.relay.address import RelayAddress
from mediaserver.relay.dialler import Dialler
from mediaserver.relay.push import Outcome, Push, Setback
from mediaserver.relay.retry import Retry

#: Seconds between two looks: a target that is back must have the stream again within three.
LOOK_INTERVAL = 1.2
#: Seconds until the first look at a target that was there a moment ago: one that is started anew is away for a short time only.
FIRST_LOOK = 0.02
#: Seconds that a look waits for TCP. Who takes the connection and says nothing is given the whole connect_timeout.
LOOK_TIMEOUT = 1.0
#: Of so many looks at a target that is there, one is a whole one.
WHOLE = 2
#: Seconds between two looks at most: at a target that is there each wait is twice the last, as who comes and goes all the time
#: is taken for an attacker.
SLOWEST = 5.0
#: Seconds after which an answer comes from a target that had hung, and was as good as away.
HUNG = 2.5

_random = secrets.SystemRandom()


class Lookout:
    """Lets the back-off pass, and cuts it short when the target was away and is back: at most once for each time that it was
    away, and not over and over (``Retry.hurry``).

    A look shows no key and is no try. At a target that is away it is a connection and a handshake, and the connection that is
    answered is used. At one that is there, and that closed or refused all the same, it is a TCP connection that is closed at
    once; now and then after its half of the handshake, because a kernel takes connections for a program that hangs.
    """

    def __init__(self, address: RelayAddress, dialler: Dialler, retry: Retry, new_push: Callable[[], Push]) -> None:
        self._address = address
        self._dialler = dialler
        self._retry = retry
        self._new_push = new_push

    async def wait(self, delay: float, *, away: bool) -> Push | None:
        """Let ``delay`` seconds pass, or less if the target is back. ``away``: nobody answered the last try. The connection that
        was answered, if there is one. Raises Setback for what is hopeless."""
        loop = asyncio.get_running_loop()
        until = loop.time() + delay
        pause, looks = LOOK_INTERVAL if away else FIRST_LOOK, 0
        while until - loop.time() > max(pause, LOOK_INTERVAL):
            await asyncio.sleep(pause * _random.uniform(0.8, 1.0))
            began = loop.time()
            try:
                push = await self._look(away=away, whole=not looks % WHOLE)
            except Setback as setback:
                if setback.ending.outcome is Outcome.REFUSED:
                    raise
                if setback.ending.outcome is Outcome.UNREACHABLE:
                    self._retry.missed(loop.time())
                    away, pause = True, LOOK_INTERVAL
                    continue
                push = None
            if (away or loop.time() - began > HUNG) and self._retry.hurry(loop.time()):
                return push
            away, pause = False, min(max(2 * pause, LOOK_INTERVAL), SLOWEST)
            looks += 1
            if push is not None:
                push.close()
        await asyncio.sleep(max(0.0, until - loop.time()))
        return None

    async def _look(self, *, away: bool, whole: bool) -> Push | None:
        """The connection, of who was away. Raises Setback."""
        if not (away or whole):
            await self._dialler.touch(self._address, LOOK_TIMEOUT)
            return None
        push = self._new_push()
        await self._dialler.open(push, reach_timeout=LOOK_TIMEOUT, stay=away)
        return push if away else None
