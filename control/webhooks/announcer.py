"""From what the engine tells, and how many watch, to the outbox."""

import asyncio
import contextlib
import json
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from control.db import Conflict, Database, DatabaseUnavailable, Row, Transaction
from control.live.pulse import Watched
from control.streams import models as stream_rows
from control.streams import service as streams
from control.streams.onair import stream_id_of
from control.vault import Vault
from control.waits import Waits
from control.webhooks import messages, models, outbox
from control.webhooks.messages import EventName, Message
from control.webhooks.thresholds import crossings
from mediaserver.events import Event, PublishEnded, PublishStarted

log = logging.getLogger(__name__)

#: What may wait for the database. Beyond that the oldest is lost, and the log says so.
WAITING = 10_000
#: Seconds between two tries for a database that does not answer.
RETRY = 1.0
#: Tries for what collides with somebody else's change: a webhook that is deleted while it is told, say.
TRIES = 3
#: Seconds for which it is believed who wants to know how many watch ...
FRESH = 5.0
#: ... between two notes of what is on air ...
NOTED = 30.0
#: ... and after which what nobody notes any more is over.
LOST = 120.0

#: Something to write down: how many messages that made.
Work = Callable[[Transaction], Awaitable[int]]


@dataclass(slots=True)
class _Broadcast:
    """What this process has on air. ``user_id`` is 0 until it was looked up."""

    began: float
    user_id: int = 0
    peak: int = 0


class Announcer:
    """Writes messages in the order in which things happened, as soon as the database takes them. ``told`` is called when there
    are new ones; ``keep_trying`` is for how many seconds each is sent."""

    def __init__(
        self, db: Database, vault: Vault, keep_trying: float, told: Callable[[], None], clock: Callable[[], float] = time.time
    ) -> None:
        self._db = db
        self._vault = vault
        self._keep_trying = keep_trying
        self._told = told
        self._clock = clock
        self._waiting: deque[Work] = deque()
        self._waits = Waits(log, "webhook_messages_wait", "webhook_messages_go_on")
        self._changed = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._on_air: dict[int, _Broadcast] = {}
        self._watching: list[tuple[int, int, list[int]]] = []
        self._watching_at = self._noted_at = float("-inf")
        self._exceeded: dict[tuple[int, int], dict[int, float]] = {}

    # -- what happens: never waits ------------------------------------------------------------------------------------

    def on_event(self, event: Event) -> None:
        """A listener of the Feed."""
        if not isinstance(event, (PublishStarted, PublishEnded)) or "@" in event.name:
            return
        stream_id = stream_id_of(event.name)
        if stream_id is None:
            return
        at = event.at
        if isinstance(event, PublishEnded):
            duration, peak = event.seconds, self._on_air.pop(stream_id, _Broadcast(at)).peak
            self._exceeded = {key: value for key, value in self._exceeded.items() if key[1] != stream_id}
            self._put(lambda tx: self._stopped(tx, stream_id, at, duration, peak))
        elif not event.resumed:
            broadcast = self._on_air[stream_id] = _Broadcast(at)
            self._put(lambda tx: self._started(tx, stream_id, broadcast, at))

    def on_watched(self, watched: Mapping[int, Watched]) -> None:
        """A listener of the Pulse: how many watch, about once a second."""
        now = self._clock()
        for stream_id, broadcast in self._on_air.items():
            seen = watched.get(stream_id)
            if seen is None or seen.since < broadcast.began:
                continue  # whoever looked has not seen it yet: at most the one before it
            broadcast.peak = max(broadcast.peak, seen.peak, seen.viewers)
            for webhook_id, user_id, thresholds in self._watching:
                if user_id == broadcast.user_id:
                    self._compare(webhook_id, stream_id, thresholds, seen.viewers, now)
        if self._on_air and now - self._watching_at >= FRESH:
            self.look_again()
        if now - self._noted_at >= NOTED:
            self._noted_at = now
            self._put(self._note)

    def look_again(self) -> None:
        """Somebody's webhooks changed."""
        self._watching_at = self._clock()
        self._put(self._look)

    def _compare(self, webhook_id: int, stream_id: int, thresholds: list[int], viewers: int, now: float) -> None:
        exceeded = self._exceeded.setdefault((webhook_id, stream_id), {})
        for threshold, crossing in crossings(exceeded, thresholds, viewers, now):
            message = messages.viewers_threshold(now, stream_id, viewers, threshold, crossing)
            self._put(lambda tx, message=message: self._crossed(tx, webhook_id, message))  # type: ignore[misc]

    def _put(self, work: Work) -> None:
        if len(self._waiting) >= WAITING:
            self._waiting.popleft()
            log.error("webhook_message_lost", extra={"facts": {"reason": "the database does not answer"}})
        self._waiting.append(work)
        self._idle.clear()
        self._changed.set()

    # -- writing it down ----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Write down what happens, for ever."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            while self._waiting:
                await self._do(self._waiting.popleft())
            self._idle.set()

    async def settled(self, patience: float) -> bool:
        """Wait until all that happened is written down. False if that takes longer than ``patience`` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._idle.wait()
        return self._idle.is_set()

    async def _do(self, work: Work) -> None:
        tries = 0
        while True:
            try:
                async with self._db.write() as tx:
                    number = await work(tx)
            except DatabaseUnavailable as error:
                self._waits.begin(str(error))
                await asyncio.sleep(RETRY)
            except Conflict:
                tries += 1
                if tries >= TRIES:
                    log.exception("webhook_message_lost")
                    return
            except Exception:  # one message's bug is not the next one's
                log.exception("webhook_message_lost")
                return
            else:
                self._waits.end()
                if number:
                    self._told()
                return

    async def _started(self, tx: Transaction, stream_id: int, broadcast: _Broadcast, at: float) -> int:
        row = await stream_rows.stream_by_id(tx, stream_id)
        if row is None:
            return 0
        broadcast.user_id = row["user_id"]
        before = await models.end_broadcast(tx, stream_id)
        again = before is not None and before["started_at"] == at
        told = 0 if before is None or again else await self._lost(tx, before)
        await models.begin_broadcast(tx, stream_id, row["user_id"], row["name"], at)
        if again:
            return 0  # its transaction had succeeded, and nobody was left to say so
        cipher = await self._vault.cipher()
        url = streams.shown_url(cipher.read(streams.INPUT_URL, row["input_url"]), own=False)
        message = messages.stream_started(at, stream_id, row["name"], url)
        return told + await outbox.tell(tx, row["user_id"], message, self._clock(), self._keep_trying)

    async def _stopped(self, tx: Transaction, stream_id: int, at: float, duration: float, peak: int) -> int:
        row = await models.end_broadcast(tx, stream_id)
        return 0 if row is None else await self._tell_stopped(tx, row, at, duration, max(peak, row["peak_viewers"]))

    async def _lost(self, tx: Transaction, row: Row) -> int:
        """The process that had it on air died without a word: it was over when it was seen last, as far as anybody knows."""
        return await self._tell_stopped(tx, row, row["seen_at"], row["seen_at"] - row["started_at"], row["peak_viewers"])

    async def _tell_stopped(self, tx: Transaction, row: Row, at: float, duration: float, peak: int) -> int:
        message = messages.stream_stopped(at, row["stream_id"], row["stream_name"], duration, peak)
        return await outbox.tell(tx, row["user_id"], message, self._clock(), self._keep_trying)

    async def _crossed(self, tx: Transaction, webhook_id: int, message: Message) -> int:
        if await models.webhook_by_id(tx, webhook_id) is None:
            return 0
        return int(await outbox.tell_one(tx, webhook_id, message, self._clock(), self._keep_trying))

    async def _note(self, tx: Transaction) -> int:
        now = self._clock()
        await models.see_broadcasts(tx, {stream_id: broadcast.peak for stream_id, broadcast in self._on_air.items()}, now)
        told = 0
        for lost in await models.lost_broadcasts(tx, now - LOST):
            if lost["stream_id"] not in self._on_air:
                row = await models.end_broadcast(tx, lost["stream_id"])
                told += 0 if row is None else await self._lost(tx, row)
        return told

    async def _look(self, tx: Transaction) -> int:
        word = EventName.VIEWERS_THRESHOLD.value
        self._watching = [
            (row["id"], row["user_id"], json.loads(row["thresholds"]))
            for row in await models.watching_webhooks(tx)
            if word in json.loads(row["events"])
        ]
        kept = {webhook_id for webhook_id, _, _ in self._watching}
        self._exceeded = {key: value for key, value in self._exceeded.items() if key[0] in kept}
        return 0
