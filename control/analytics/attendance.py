"""Who watches stream rows: from the engine's events, and what players' pages report, to the database; in batches."""

import asyncio
import contextlib
import logging
import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from control.analytics import models
from control.analytics.agents import read_platform
from control.analytics.countries import Atlas
from control.db import Conflict, Database, DatabaseUnavailable
from control.streams import models as stream_rows
from control.streams.onair import stream_id_of
from control.vault import Vault
from control.waits import Waits
from mediaserver.addresses import network_of
from mediaserver.events import Event, PlayEnded, PlayStarted

log = logging.getLogger(__name__)

#: Seconds between two batches: so old are figures at most that another node is asked for.
INTERVAL = 2.0
#: Sessions in one statement, and in one transaction: nobody waits long for the database.
BATCH = 100
#: Sessions that may wait for the database. Beyond that the oldest is lost, and the log says so.
WAITING = 100_000
#: Seconds between two notes that this process is there ...
NOTED = 30.0
#: ... and after which one that nobody notes any more is dead.
LOST = 120.0
#: Seconds by which a page's clock may be ahead: its player begins before it is known to anybody.
SLACK = 10.0


@dataclass(frozen=True, slots=True)
class Quality:
    """What a page's player has seen so far: seconds until the first picture (None: there was none), seconds that it moved, and
    that it stood still."""

    startup: float | None
    played: float
    stalled: float


@dataclass(slots=True)
class _Session:
    """One viewer. Nothing here tells an address."""

    id: str
    stream_id: int
    started: float
    viewer: int
    platform: str | None
    country: str | None
    token: str
    ended: float = float("inf")
    quality: Quality | None = None

    def row(self, life: str, user_id: int) -> tuple[object, ...]:
        """The values of ``models.COLUMNS``."""
        quality = self.quality
        told = (None, None, None) if quality is None else (quality.startup, quality.played, quality.stalled)
        return (
            self.id, self.stream_id, user_id, life, self.started, int(self.started // 3600), self.ended, self.viewer,
            self.platform, self.country, *told,
        )  # fmt: skip


class Attendance:
    """Runs for as long as the server does. ``clock`` is Unix time; ``seen`` says of sessions of the engine that may end without a
    word when they were seen last."""

    def __init__(
        self,
        db: Database,
        vault: Vault,
        atlas: Atlas,
        clock: Callable[[], float] = time.time,
        seen: Callable[[], Mapping[str, float]] = dict,
    ) -> None:
        self._db = db
        self._vault = vault
        self._atlas = atlas
        self._clock = clock
        self._seen = seen
        #: A process that died is told from this one.
        self._life = secrets.token_hex(8)
        self._noted_at = self._buried_at = float("-inf")
        self._present: dict[str, _Session] = {}
        self._by_token: dict[tuple[int, str], _Session] = {}
        self._changed: dict[str, _Session] = {}
        self._flushing = asyncio.Lock()
        self._flushes = 0
        self._waits = Waits(log, "viewer_sessions_wait", "viewer_sessions_go_on")

    # -- what happens: never waits ------------------------------------------------------------------------------------

    def on_event(self, event: Event) -> None:
        """A listener of the Feed."""
        if isinstance(event, PlayStarted):
            stream_id = stream_id_of(event.name)
            if stream_id is not None:
                self._come(event, stream_id)
        elif isinstance(event, PlayEnded):
            session = self._present.pop(event.session_id, None)
            if session is not None:
                self._leave(session, event)

    def report(self, stream_id: int, token: str, quality: Quality) -> bool:
        """What the page of the viewer ``token`` has seen. False for one that is not known. What it says of itself counts for no
        more than the time that it was there."""
        session = self._by_token.get((stream_id, token))
        if session is None:
            return False
        most = max(0.0, self._clock() - session.started) + SLACK
        before = session.quality or Quality(None, 0.0, 0.0)
        session.quality = Quality(
            startup=before.startup if quality.startup is None else min(quality.startup, most),
            # What overtook another report on its way says no less.
            played=max(before.played, min(quality.played, most)),
            stalled=max(before.stalled, min(quality.stalled, most)),
        )
        self._change(session)
        return True

    def unseen(self, begin: float, end: float) -> Mapping[int, float]:
        """Seconds from ``begin`` to ``end`` (now at most) behind the moment in which those who watch were seen last, by stream.

        Nobody who has gone without a word may have been there for these: when that is known, they are in no row.
        """
        found: defaultdict[int, float] = defaultdict(float)
        for session_id, at in self._seen().items():
            session = self._present.get(session_id)
            if session is not None:
                found[session.stream_id] += max(0.0, end - max(at, begin, session.started))
        return found

    def _come(self, event: PlayStarted, stream_id: int) -> None:
        session = _Session(
            id=secrets.token_hex(8),
            stream_id=stream_id,
            started=event.at,
            viewer=self._known_as(event),
            platform=read_platform(event.agent),
            country=self._atlas.country(event.address),
            token=event.token,
        )
        self._present[event.session_id] = session
        if event.token:
            self._by_token[stream_id, event.token] = session
        self._change(session)

    def _known_as(self, event: PlayStarted) -> int:
        """The same for the same address and agent, today and in a year; useless without the server's key."""
        digest = self._vault.look_up("viewer", f"{network_of(event.address)}\0{event.agent}")
        return int.from_bytes(bytes.fromhex(digest[:16]), "big", signed=True)

    def _leave(self, session: _Session, event: PlayEnded) -> None:
        if self._by_token.get((session.stream_id, session.token)) is session:
            del self._by_token[session.stream_id, session.token]
        session.ended = max(event.at, session.started)
        self._change(session)

    def _change(self, session: _Session) -> None:
        self._changed[session.id] = session
        if len(self._changed) > WAITING:
            del self._changed[next(iter(self._changed))]
            log.error("viewer_session_lost", extra={"facts": {"reason": "the database does not answer"}})

    # -- writing it down ----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Write down what happens, for ever."""
        while True:
            try:
                await self.flush()
            except Exception:  # a bug must not end the figures of a server that runs for months
                log.exception("attendance_failed")
            await asyncio.sleep(INTERVAL)

    async def flush(self) -> bool:
        """Write down what has changed. False if some of it has to wait."""
        async with self._flushing:
            return await self._flush()

    async def _flush(self) -> bool:
        self._flushes += 1
        changed, self._changed = self._changed, {}
        left = dict(changed)
        try:
            await self._look_after_lives()
            for batch in _batches(list(changed.values())):
                await self._put(batch)
                for session in batch:
                    del left[session.id]
        except (Conflict, DatabaseUnavailable) as error:
            self._waits.begin(str(error), sessions=len(left))
        else:
            self._waits.end()
        finally:
            # In the order in which they came, and the newer state of each is the one that counts: it is the same object.
            self._changed = {**left, **self._changed}
        return not left

    async def settle(self) -> None:
        """Write down what waits, if the database takes it: who has left and still stands there as present would count on.

        Of many who ask at once one does it for all, and what goes wrong is none of the asker's business.
        """
        if not self._changed and not self._flushing.locked():
            return
        begun = self._flushes
        async with self._flushing:
            if self._flushes > begun:
                return
            try:
                await self._flush()
            except Exception:  # as in ``run``
                log.exception("attendance_failed")

    async def close(self, patience: float) -> None:
        """Everybody has left: write that down, within so many seconds."""
        with contextlib.suppress(TimeoutError, DatabaseUnavailable):
            async with asyncio.timeout(patience):
                if await self.flush() and not self._present:
                    async with self._db.write() as tx:
                        await models.end_life(tx, self._life)

    async def _put(self, sessions: list[_Session]) -> None:
        """One batch. Sessions of streams that are gone go with them."""
        async with self._db.write() as tx:
            owners = await stream_rows.owners(tx, {session.stream_id for session in sessions})
            rows = [session.row(self._life, owners[session.stream_id]) for session in sessions if session.stream_id in owners]
            await models.put(tx, rows)

    async def _look_after_lives(self) -> None:
        """Note that this process is there, before anything that would have to be ended for it; end what others left."""
        now = self._clock()
        if self._present and now - self._noted_at >= NOTED:
            async with self._db.write() as tx:
                await models.note_life(tx, self._life, now)
            self._noted_at = now
        if now - self._buried_at >= NOTED:
            async with self._db.write() as tx:
                lost = await models.bury(tx, now - LOST)
            self._buried_at = now
            if lost:
                log.info("viewer_sessions_closed", extra={"facts": {"sessions": lost, "reason": "their server was cut off"}})


def _batches(sessions: list[_Session]) -> Iterator[list[_Session]]:
    for start in range(0, len(sessions), BATCH):
        yield sessions[start : start + BATCH]
