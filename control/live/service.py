"""What happens, to those who look on: a short memory, and a bounded queue for each. No web framework in here."""

import asyncio
import contextlib
import json
import logging
import secrets
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from control.db import Database, DatabaseUnavailable, Row
from control.errors import ControlError, ErrorCode
from control.live.pulse import Watched
from control.permissions import Actor, Permission
from control.streams import models as stream_rows
from control.streams.kinds import StreamStatus
from control.streams.onair import stream_id_of
from control.timestamps import timestamp
from mediaserver.events import (
    Event,
    PublishEnded,
    PublisherLeft,
    PublishStarted,
    PullChanged,
    RecordingFinished,
    RelayChanged,
    TranscodeChanged,
)
from mediaserver.snapshot import RelayState

log = logging.getLogger(__name__)

#: Updates that are kept for who was away for a moment.
REMEMBERED = 2000
#: Updates that may wait for one reader: one that is further behind is cut off, and comes back for what is remembered.
BEHIND = 256
#: Readers of one user, and of all together.
EACH, ALL = 10, 1000
#: Events of the engine that may wait for the database, and streams whose owner, or status, is remembered.
WAITING, STREAMS = 10_000, 10_000

_OVER = "stopped"
_STATUS = "stream.status"


@dataclass(frozen=True, slots=True)
class Update:
    """Something that happened. ``owner`` is the user whose stream it is, None for a name that is no row's."""

    number: int
    owner: int | None
    kind: str
    data: str


@dataclass(eq=False)
class Reader:
    """One who looks on. ``gone`` tells whether it has hung up; ``lost``: too far behind, or the server stops."""

    actor: Actor
    missed: bool
    gone: Callable[[], bool]
    queue: asyncio.Queue[Update] = field(default_factory=lambda: asyncio.Queue(BEHIND))
    lost: bool = False

    def sees(self, update: Update) -> bool:
        """Users see what is theirs, moderators everything."""
        return update.owner == self.actor.user_id or self.actor.may(Permission.STREAMS_VIEW_ALL)

    def end(self) -> None:
        """Send nothing more; whoever waits for an update wakes."""
        self.lost = True
        while not self.queue.empty():
            self.queue.get_nowait()
        self.queue.put_nowait(Update(0, None, "", ""))


class LiveUpdates:
    """From the engine's events, and how many watch, to readers."""

    def __init__(self, db: Database, clock: Callable[[], float], status: Callable[[Row], StreamStatus]) -> None:
        self._db = db
        self._clock = clock
        self._status = status
        #: An id of another life of the server is none of ours.
        self._life = secrets.token_hex(4)
        self._number = 0
        self._remembered: deque[Update] = deque(maxlen=REMEMBERED)
        self._readers: set[Reader] = set()
        self._each: Counter[int] = Counter()
        self._owners: OrderedDict[int, int | None] = OrderedDict()
        self._waiting: asyncio.Queue[tuple[str, str, dict[str, Any]]] = asyncio.Queue(WAITING)
        self._viewers: dict[int, int] = {}
        self._said: OrderedDict[str, str] = OrderedDict()

    # -- what happens: never waits ------------------------------------------------------------------------------------

    def on_event(self, event: Event) -> None:
        """A listener of the Feed."""
        for kind, facts in _told(event):
            self._put(kind, event.name, {"timestamp": timestamp(event.at), **facts})

    def on_watched(self, watched: Mapping[int, Watched]) -> None:
        """A listener of the Pulse: told when it changes."""
        for stream_id, seen in watched.items():
            if self._viewers.get(stream_id) != seen.viewers:
                facts = {"current_viewers": seen.viewers, "peak_viewers": seen.peak}
                self._put("viewers", f"stream_{stream_id}", {"timestamp": timestamp(self._clock()), **facts})
        self._viewers = {stream_id: seen.viewers for stream_id, seen in watched.items()}

    def on_status(self, stream_id: int, status: str) -> None:
        """What a stream does was changed by its owner."""
        self._put(_STATUS, f"stream_{stream_id}", {"timestamp": timestamp(self._clock()), "status": status})

    def _put(self, kind: str, name: str, facts: dict[str, Any]) -> None:
        if self._waiting.full():
            self._waiting.get_nowait()
        self._waiting.put_nowait((kind, name, facts))

    async def run(self) -> None:
        """Tell it to those whom it concerns, for ever."""
        while True:
            kind, name, facts = await self._waiting.get()
            stream_id = stream_id_of(name)
            try:
                owner = None if stream_id is None else await self._owner(stream_id)
                if kind == _STATUS and facts["status"] != "running" and stream_id is not None:
                    facts["status"] = await self._without_publisher(stream_id)
            except DatabaseUnavailable:
                continue  # nobody can be told what may be none of his business
            except Exception:  # one update's bug is not the next one's
                log.exception("update_failed")
                continue
            if kind == _STATUS and self._is_known(name, facts["status"]):
                continue
            self._number += 1
            data = json.dumps({"stream_id": stream_id, "name": name, **facts})
            self._tell(Update(self._number, owner, kind, data))

    def _tell(self, update: Update) -> None:
        self._remembered.append(update)
        for reader in self._readers:
            if not reader.lost and reader.sees(update):
                if reader.queue.full():
                    log.info("reader_too_slow", extra={"facts": {"user": reader.actor.user_id}})
                    reader.end()
                else:
                    reader.queue.put_nowait(update)

    async def _owner(self, stream_id: int) -> int | None:
        if stream_id in self._owners:
            self._owners.move_to_end(stream_id)
            return self._owners[stream_id]
        async with self._db.read() as tx:
            row = await stream_rows.stream_by_id(tx, stream_id)
        # Its owner never changes, and is asked for once more when the row is gone and its stream ends.
        if row is not None:
            self._owners[stream_id] = row["user_id"]
            if len(self._owners) > STREAMS:
                self._owners.popitem(last=False)
            return int(row["user_id"])
        return None

    def _is_known(self, name: str, status: str) -> bool:
        """Whether that was said of it last: a stop is its owner's, its publisher's and its stream's, and is told once."""
        known = self._said.pop(name, None)
        self._said[name] = status
        if len(self._said) > STREAMS:
            self._said.popitem(last=False)
        return known == status

    async def _without_publisher(self, stream_id: int) -> str:
        """A stream that is still wanted is waited for."""
        async with self._db.read() as tx:
            row = await stream_rows.stream_by_id(tx, stream_id)
        return _OVER if row is None else self._status(row).value

    # -- readers ------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def read(self, actor: Actor, last_id: str, gone: Callable[[], bool]) -> Iterator[Reader]:
        """A Reader that begins behind the update ``last_id``, if that is remembered. Raises ControlError (429)."""
        for left in [reader for reader in self._readers if reader.gone()]:
            # Who reloads a page has left before there is anything to write that would show it.
            left.end()
            self._forget(left)
        if len(self._readers) >= ALL or self._each[actor.user_id] >= EACH:
            raise ControlError(ErrorCode.RATE_LIMITED, "Too many live updates are open", {"limit": EACH}, {"Retry-After": "10"})
        since = self._since(last_id)
        reader = Reader(actor, bool(last_id) and since is None, gone)
        missed = [update for update in self._remembered if since is not None and update.number > since and reader.sees(update)]
        if len(missed) > BEHIND:
            reader.missed, missed = True, []
        for update in missed:
            reader.queue.put_nowait(update)
        self._readers.add(reader)
        self._each[actor.user_id] += 1
        try:
            yield reader
        finally:
            self._forget(reader)

    def _forget(self, reader: Reader) -> None:
        if reader in self._readers:
            self._readers.discard(reader)
            self._each -= Counter([reader.actor.user_id])

    def id_of(self, update: Update) -> str:
        """What a reader says to go on behind ``update``."""
        return f"{self._life}-{update.number}"

    def close(self) -> None:
        """Let all readers go. Harmless twice."""
        for reader in self._readers:
            if not reader.lost:
                reader.end()

    def _since(self, last_id: str) -> int | None:
        life, _, number = last_id.partition("-")
        if life != self._life or not (number.isascii() and number.isdecimal() and len(number) < 19):
            return None
        oldest = self._remembered[0].number if self._remembered else self._number + 1
        return int(number) if oldest - 1 <= int(number) <= self._number else None


def _told(event: Event) -> Iterator[tuple[str, dict[str, Any]]]:
    """An event of the engine in the API's words; nothing of what only the server's own people may know."""
    if isinstance(event, PublishStarted):
        if not event.resumed:
            yield "stream.started", {}
        yield _STATUS, {"status": "running", "reason": "resumed" if event.resumed else "started"}
    elif isinstance(event, PublisherLeft):
        yield _STATUS, {"status": "starting", "reason": event.reason}
    elif isinstance(event, PublishEnded):
        yield "stream.stopped", {"duration": round(event.seconds), "reason": event.reason}
        yield _STATUS, {"status": _OVER, "reason": event.reason}
    elif isinstance(event, PullChanged):
        yield "input.changed", {"connected": event.connected, "reason": event.reason}
        if event.over:
            yield _STATUS, {"status": _OVER, "reason": event.reason}
    elif isinstance(event, RelayChanged):
        yield (
            "relay.changed",
            {
                "destination_id": _number(event.relay_id),
                "status": "active" if event.state is RelayState.LIVE else event.state.value,
                "reason": event.reason,
            },
        )
    elif isinstance(event, TranscodeChanged):
        yield "transcode.changed", {"qualities": list(event.rungs), "reason": event.reason}
    elif isinstance(event, RecordingFinished):
        file = PurePath(event.path).name
        yield "recording.finished", {"file": file, "bytes": event.bytes, "duration": round(event.seconds, 3)}


def _number(relay_id: str) -> int | None:
    number = relay_id.removeprefix("destination_")
    return int(number) if number.isascii() and number.isdecimal() and len(number) < 19 else None
