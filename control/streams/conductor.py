"""Rows to the engine: what was ordered is begun, changed and ended there, after its transaction is safe."""

import logging
from typing import TYPE_CHECKING

from control.db import Database, Row
from control.streams import models, service
from control.streams.onair import OnAir, playback_name, relay_id, stream_id_of
from control.vault import Vault
from mediaserver.errors import Refused
from mediaserver.events import Event, PublishEnded
from mediaserver.ports import PublishGrant, RelayTarget

if TYPE_CHECKING:
    from mediaserver.engine import Engine

log = logging.getLogger(__name__)


class Conductor:
    """Starts and stops what the engine does for stream rows."""

    def __init__(self, engine: "Engine", db: Database, vault: Vault, on_air: OnAir) -> None:
        self._engine = engine
        self._on_air = on_air
        self._db = db
        self._vault = vault
        self._pulls: dict[int, str] = {}

    async def resume(self) -> None:
        """After a start of the server: what was being fetched is fetched again."""
        async with self._db.read() as tx:
            rows = [row for row in await models.started_streams(tx) if row["key_hash"] is None]
            grants = [await service.grant(tx, self._vault, row) for row in rows]
        for row, grant in zip(rows, grants, strict=True):
            try:
                await self.start(row, grant)
            except Refused as refusal:
                log.warning("stream_not_resumed", extra={"facts": {"stream": row["id"], "reason": refusal.reason}})

    async def start(self, row: Row, grant: PublishGrant) -> None:
        """The stream of ``row`` is wanted on air: fetch it, unless it is pushed. Raises Refused."""
        if row["key_hash"] is not None:
            return
        source = service.pull_source(await self._vault.cipher(), row)
        if row["id"] not in self._pulls:
            self._pulls[row["id"]] = self._engine.start_pull(source, grant)

    def stop(self, stream_id: int, reason: str) -> None:
        """End it, whoever publishes it, with all that hangs on it. Harmless if it is not on air."""
        session_id = self._pulls.pop(stream_id, "")
        if session_id:
            self._engine.kick(session_id, reason)
        self._engine.end(playback_name(stream_id), reason)
        self._on_air.forget()

    def relay(self, stream_id: int, target: RelayTarget) -> None:
        """A destination was added or enabled in mid-stream. Raises Refused."""
        self._engine.start_relay(playback_name(stream_id), target)

    def end_relay(self, stream_id: int, destination_id: int) -> None:
        """A destination was taken away or disabled. Harmless if there is none."""
        self._engine.stop_relay(playback_name(stream_id), relay_id(destination_id))

    def record(self, stream_id: int, *, wanted: bool) -> None:
        """Recording was switched in mid-stream."""
        name, order = playback_name(stream_id), service.recording_order(stream_id)
        if not wanted:
            self._engine.stop_recording(name, order.id)
            return
        try:
            self._engine.start_recording(name, order)
        except Refused as refusal:
            log.info("recording_not_started", extra={"facts": {"name": name, "reason": refusal.reason}})

    async def end_of_user(self, user_id: int, reason: str) -> None:
        """A user was disabled: all that is theirs goes off air."""
        async with self._db.read() as tx:
            rows = await models.list_streams(tx, user_id, 10_000, 0)
        for row in rows:
            self.stop(row["id"], reason)

    def on_event(self, event: Event) -> None:
        """A stream is over: Relays that were added in mid-stream do not wait for the next one."""
        if not isinstance(event, PublishEnded):
            return
        name = event.name
        stream_id = stream_id_of(name)
        if stream_id is None or "@" in name:
            return
        for relay in self._engine.snapshot().relays:
            if relay.name == name and relay.relay_id.startswith("destination_"):
                self._engine.stop_relay(name, relay.relay_id)

    async def redirect(self, destination: Row, *, before: Row | None) -> None:
        """A destination changed: what is on air goes where it leads now. ``before`` None: it is new."""
        async with self._db.read() as tx:
            if destination["stream_id"] is not None:
                stream_ids = [destination["stream_id"]]
            else:
                stream_ids = [row["id"] for row in await models.list_streams(tx, destination["user_id"], 10_000, 0)]
        cipher = await self._vault.cipher()
        live = {stream.name for stream in self._engine.snapshot().streams}
        for stream_id in stream_ids:
            if playback_name(stream_id) not in live:
                continue
            if before is not None:
                self.end_relay(stream_id, destination["id"])
            if destination["enabled"]:
                try:
                    self.relay(stream_id, service.relay_target(cipher, destination))
                except Refused as refusal:
                    log.warning("relay_not_started", extra={"facts": {"stream": stream_id, "reason": refusal.reason}})

    async def drop(self, destination: Row) -> None:
        """A destination is gone."""
        await self.redirect({**destination, "enabled": 0}, before=destination)
