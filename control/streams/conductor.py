"""Rows to the engine: what was ordered is begun, changed and ended there, after its transaction is safe."""

import logging
from collections.abc import Sequence
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


class CannotEncode(Refused):
    """Nothing on this machine makes the renditions that a stream shall have, and it shall not go on without."""


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
        if grant.ladder is not None:
            await self._require_encoder()
        if row["key_hash"] is not None:
            return
        source = service.pull_source(await self._vault.cipher(), row)
        if not self.fetches(row["id"]):
            self._pulls[row["id"]] = self._engine.start_pull(source, grant)
            self._on_air.forget()

    def fetches(self, stream_id: int) -> bool:
        """Whether it is being fetched: a source that has come to its end, or cannot be had for good, is not."""
        session_id = self._pulls.get(stream_id)
        return session_id is not None and self._on_air.fetches(session_id)

    async def _require_encoder(self) -> None:
        """Raises CannotEncode where the configuration insists on an encoder that does not work here."""
        wanted = self._engine.config.transcode
        if wanted.policy == "fail" and wanted.encoder != "auto" and wanted.encoder not in await self._engine.encoders():
            raise CannotEncode(f"the encoder {wanted.encoder} does not work on this machine (transcode.encoder)")

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
        self._on_air.forget()

    def end_relay(self, stream_id: int, destination_id: int) -> None:
        """A destination was taken away or disabled. Harmless if there is none."""
        self._engine.stop_relay(playback_name(stream_id), relay_id(destination_id))
        self._on_air.forget()

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

    def stop_all(self, stream_ids: Sequence[int], reason: str) -> None:
        """End all of them, whose owner was disabled, say."""
        for stream_id in stream_ids:
            self.stop(stream_id, reason)

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
