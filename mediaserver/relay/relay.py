"""One Relay: it waits for its stream, pushes it to its target, and comes back after whatever happens to that."""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from mediaserver.config import RelayConfig
from mediaserver.errors import Refused
from mediaserver.events import RelayChanged
from mediaserver.hub.hub import Hub
from mediaserver.hub.meter import Meter
from mediaserver.hub.session import new_session_id
from mediaserver.hub.stream import LiveStream, StreamState
from mediaserver.ports import EventSink, RelayTarget, rendition_name
from mediaserver.relay.address import RelayAddress
from mediaserver.relay.backlog import Backlog, RelayClock
from mediaserver.relay.confirmation import Confirmer
from mediaserver.relay.dialler import Dialler
from mediaserver.relay.lookout import Lookout
from mediaserver.relay.onset import Onset
from mediaserver.relay.push import Ending, Outcome, Push, Setback
from mediaserver.relay.retry import Retry
from mediaserver.snapshot import RelayLevel, RelaySnapshot, RelayState

log = logging.getLogger(__name__)

_UP = {RelayState.FAILED, RelayState.WAITING, RelayState.STOPPED}
#: What may follow what; an absent key is the error. FAILED is started again by its owner, or by the stream's next publish.
TRANSITIONS: dict[RelayState, frozenset[RelayState]] = {
    RelayState.WAITING: frozenset({RelayState.WAITING, RelayState.CONNECTING, RelayState.FAILED, RelayState.STOPPED}),
    RelayState.CONNECTING: frozenset({RelayState.LIVE, RelayState.BACKING_OFF} | _UP),
    RelayState.LIVE: frozenset({RelayState.CONNECTING, RelayState.BACKING_OFF} | _UP),
    RelayState.BACKING_OFF: frozenset({RelayState.CONNECTING} | _UP),
    RelayState.FAILED: frozenset({RelayState.WAITING, RelayState.STOPPED}),
}

#: Seconds between two wishes to reconnect that are followed; what comes sooner is a connection lost.
MOVES_APART = 10.0
#: Seconds after which the hub is asked anew for a stream that does not come.
WAIT = 3600.0

_random = secrets.SystemRandom()


@dataclass(frozen=True, slots=True)
class RelayServices:
    """What every Relay uses."""

    hub: Hub
    sink: EventSink
    spawn: Callable[[Coroutine[None, None, None]], Any]
    config: RelayConfig
    dialler: Dialler


class Relay:
    """``owner`` is the stream whose grant asks for it: the Relay ends with it. None: it waits for the next publish."""

    def __init__(
        self, name: str, target: RelayTarget, address: RelayAddress, services: RelayServices, owner: LiveStream | None = None
    ) -> None:
        self.name = name
        self.target = target
        self.owner = owner
        self.state = RelayState.WAITING
        self.reason = ""
        self.since = time.time()
        self.task: asyncio.Task[None] | None = None
        self._address = address
        self._services = services
        self._config = services.config
        self._session_id = new_session_id()
        self._push: Push | None = None
        self._ghost: Push | None = None  # one that stalled, see _bury
        self._clock = RelayClock()
        self._confirmed = self._asking = False
        self._attempts = 0
        self._retry = Retry(services.config.first_retry, services.config.longest_retry)
        self._live_at = 0.0  # on the loop's clock, as is when the target was last asked for elsewhere; 0: never
        self._moved_at = 0.0
        self._meter = Meter()
        self._bytes_before = 0  # of connections that are gone, as are the packets
        self._dropped_before = 0

    # -- life -------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin; or begin again, if it has failed."""
        self._retry = Retry(self._config.first_retry, self._config.longest_retry)
        self._become(RelayState.WAITING, self._waiting_for)
        self.task = self._services.spawn(self._run())

    def stop(self, reason: str) -> None:
        """End for good. Harmless twice."""
        if self.state is not RelayState.STOPPED:
            self._become(RelayState.STOPPED, reason)
            self._drop()
            self._bury()
            if self.task is not None:
                self.task.cancel()

    def _become(self, state: RelayState, reason: str) -> None:
        """The one place where the state changes; tells the sink."""
        if state not in TRANSITIONS.get(self.state, ()):
            raise ValueError(f"a relay that is {self.state.value} cannot become {state.value}")
        self.state, self.reason, self.since = state, reason, time.time()
        self._services.sink.emit(
            RelayChanged(
                name=self.name, session_id=self._session_id, at=self.since, relay_id=self.target.id, state=state, reason=reason
            )
        )

    @property
    def trails(self) -> bool:
        """Whether it sends a rendition, whose last pictures come when its stream is over already."""
        return self._push is not None and bool(self.target.rendition)

    @property
    def _waiting_for(self) -> str:
        rung = self.target.rendition
        return f"waiting for the rendition {rung}" if rung else "waiting for the stream"

    async def _run(self) -> None:
        rung = self.target.rendition
        name = rendition_name(self.name, rung) if rung else self.name
        try:
            while self.state not in (RelayState.FAILED, RelayState.STOPPED):
                if self.state is not RelayState.WAITING:
                    self._become(RelayState.WAITING, self._waiting_for)
                stream = await self._services.hub.wait_for(name, WAIT)
                if stream is not None:
                    await self._follow(stream)
        except Exception:
            log.exception(
                "relay_failed", extra={"facts": {"name": self.name, "session_id": self._session_id, "relay_id": self.target.id}}
            )
            if self.state is not RelayState.STOPPED:
                self._become(RelayState.FAILED, "internal error")
        finally:
            self._drop()

    async def _follow(self, stream: LiveStream) -> None:
        """Relay ``stream`` until it ends, or there is no hope."""
        try:
            async with asyncio.timeout(None) as scope:
                onset = Onset(stream, lambda: scope.reschedule(0))
                try:
                    if not onset.ready.is_set():
                        self.reason = "waiting for the first picture"
                    await onset.ready.wait()
                    self._clock = RelayClock()
                    await self._pursue(stream)
                finally:
                    onset.close()
        except TimeoutError:
            if not scope.expired():
                raise
        finally:
            self._drop()
            self._bury()
        over = self.owner is not None and (not self.target.rendition or self.owner.state is StreamState.ENDED)
        if over and scope.expired():
            self.stop("the stream has ended")

    def _drop(self) -> None:
        """The present connection is over, politely if it still stands."""
        push, self._push = self._push, None
        if push is not None:
            self._retry.lived(self._live_at, asyncio.get_running_loop().time())
            if push.stalled:
                self._bury()
                self._ghost = push
            else:
                push.close()
            self._bytes_before += push.connection.bytes_out
            self._dropped_before += push.backlog.dropped

    def _bury(self) -> None:
        """Tell the target of the end of a connection that had stalled, now that it can hear it. It would go on believing that
        somebody publishes there, and refuse us."""
        ghost, self._ghost = self._ghost, None
        if ghost is not None:
            ghost.abort()

    # -- one try after the other ----------------------------------------------------------------------------------------

    async def _pursue(self, stream: LiveStream) -> None:
        push: Push | None = None
        lookout = Lookout(self._address, self._services.dialler, self._retry, lambda: self._new_push(stream, self._address))
        while True:
            self._attempts += 1
            self._become(RelayState.CONNECTING, "connecting")
            try:
                ending = await self._try(stream, push)
            except Setback as setback:
                ending = setback.ending
            finally:
                self._drop()
            if reason := self._retry.verdict(ending, asyncio.get_running_loop().time()):
                self._become(RelayState.FAILED, reason)
                return
            delay = self._retry.delay(_random.uniform(-1, 1))
            self._become(RelayState.BACKING_OFF, f"{ending.reason}; next try in {delay:.1f} s")
            try:
                push = await lookout.wait(delay, away=ending.outcome is Outcome.UNREACHABLE)
            except Setback as setback:
                self._become(RelayState.FAILED, setback.ending.reason)
                return

    async def _try(self, stream: LiveStream, push: Push | None) -> Ending:
        """One connection, from its beginning (or from the handshake, if a look was answered) to its end."""
        if push is None:
            push = self._new_push(stream, self._address)
            await self._services.dialler.open(push)
        self._bury()
        try:
            await self._present(push)
            return await self._stay(stream, push)
        finally:
            if self._push is not push:
                push.close()

    async def _present(self, push: Push) -> None:
        """From the handshake to LIVE."""
        timeout = self._config.connect_timeout
        try:
            async with asyncio.timeout(timeout):
                await push.introduce()
                await push.publish()
        except TimeoutError:
            raise Setback(Ending(Outcome.LOST, f"the target did not answer within {timeout:g} s")) from None
        self._push = push
        self._confirmed = False
        self._live_at = asyncio.get_running_loop().time()
        self._become(RelayState.LIVE, "the target takes the stream")

    async def _stay(self, stream: LiveStream, push: Push) -> Ending:
        """Until the connection ends. One that is to be made elsewhere is made before this one is broken."""
        while (ending := await push.over()).outcome is Outcome.MOVED:
            now = asyncio.get_running_loop().time()
            if self._moved_at and now - self._moved_at < MOVES_APART:
                return Ending(Outcome.LOST, f"{ending.reason}, again")
            self._moved_at = now
            try:
                fresh = await self._make(stream, self._address.redirected(ending.tc_url))
            except (Setback, Refused, TimeoutError) as error:
                self.reason = f"{ending.reason}, which does not work: {str(error) or 'no answer'}"
                continue
            try:
                self._become(RelayState.CONNECTING, ending.reason)
                # The same key is not published twice: the old connection says goodbye when the new one has been let in.
                self._drop()
                self._retry.moved()
                await self._present(fresh)
            finally:
                if self._push is not fresh:
                    fresh.close()
            push = fresh
        return ending

    async def _make(self, stream: LiveStream, address: RelayAddress) -> Push:
        """A connection on which only the key is missing. Raises Setback, or TimeoutError."""
        push = self._new_push(stream, address)
        try:
            await self._services.dialler.open(push)
            async with asyncio.timeout(self._config.connect_timeout):
                await push.introduce()
        except BaseException:
            push.abort()
            raise
        return push

    def _new_push(self, stream: LiveStream, address: RelayAddress) -> Push:
        backlog = Backlog(self._config.max_backlog_bytes, round(self._config.max_backlog_seconds * 1000))
        return Push(address, stream, self._clock, backlog)

    # -- looking ---------------------------------------------------------------------------------------------------

    def sweep(self, now: float) -> None:
        """Once a second: rates, a target that takes nothing, an owner that is over."""
        if self._push is not None:
            self._push.look(asyncio.get_running_loop().time(), self._config.stall_timeout)
        self._meter.sample(now, self._bytes_out, 0)

    async def confirm(self, confirmer: Confirmer) -> None:
        """Ask the platform whether it shows the stream; not while it is still asked."""
        if self._asking:
            return
        push, self._asking = self._push, True
        try:
            async with asyncio.timeout(self._config.connect_timeout):
                confirmed = await confirmer.is_live(self.target) is True
        except Exception:  # noqa: BLE001 - the port's own words: whatever it raises is no answer
            confirmed = False
        finally:
            self._asking = False
        if push is self._push:
            self._confirmed = confirmed

    @property
    def level(self) -> RelayLevel:
        """How sure it is that the target has the stream."""
        if self.state is not RelayState.LIVE or self._push is None:
            return RelayLevel.NONE
        if self._confirmed:
            return RelayLevel.CONFIRMED
        return RelayLevel.ACKNOWLEDGED if self._push.acknowledged else RelayLevel.CONNECTED

    @property
    def _bytes_out(self) -> int:
        return self._bytes_before + (self._push.connection.bytes_out if self._push is not None else 0)

    def snapshot(self) -> RelaySnapshot:
        push = self._push
        return RelaySnapshot(
            relay_id=self.target.id,
            name=self.name,
            rendition=self.target.rendition,
            address=self._address.shown,
            state=self.state,
            level=self.level,
            reason=self.reason,
            since=self.since,
            bytes_out=self._bytes_out,
            bitrate=self._meter.bitrate if push is not None else 0,
            backlog=push.waiting_bytes if push is not None else 0,
            dropped_packets=self._dropped_before + (push.backlog.dropped if push is not None else 0),
            attempts=self._attempts,
        )
