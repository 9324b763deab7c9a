"""Rows to the engine: what was ordered is begun, changed and ended there, after its transaction is safe."""

import asyncio
import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from control.db import Database, DatabaseUnavailable, Row
from control.streams import models, service
from control.streams.grants import Granted, Grants
from control.streams.kinds import StreamStatus
from control.streams.onair import OnAir, playback_name, stream_id_of
from control.streams.pending import Pending
from control.vault import Unreadable, Vault
from mediaserver.errors import Refused, Unavailable
from mediaserver.events import Event, PublishEnded, PublisherLeft, PublishStarted, PullChanged

if TYPE_CHECKING:
    from control.cipher import Cipher
    from mediaserver.engine import Engine

log = logging.getLogger(__name__)


class CannotEncode(Refused):
    """Nothing on this machine makes the renditions that a stream shall have, and it shall not go on without."""


class OwnerDisabled(Refused):
    """Nothing of who is disabled goes on air."""

    def __init__(self) -> None:
        super().__init__("the account of its owner is disabled")


@dataclass(frozen=True, slots=True)
class Fetch:
    """A pull, and which time of its stream's it belongs to (the row's ``starts``)."""

    session_id: str
    starts: int


class Conductor:
    """Starts and stops what the engine does for stream rows."""

    def __init__(self, engine: "Engine", db: Database, vault: Vault, on_air: OnAir, grants: Grants) -> None:
        self._engine = engine
        self._on_air = on_air
        self._db = db
        self._vault = vault
        self._grants = grants
        grants.prefer(lambda stream_id: on_air.stream(stream_id) is not None)
        #: One order after the other, each as the rows are when it is its turn: the last one leaves what is written down.
        self._turn = asyncio.Lock()
        self._pulls: dict[int, Fetch] = {}
        self._pending = Pending()
        #: Of streams that were fetched to the end, or cannot be had for good, the time that is over, and why it is.
        self._over: dict[int, tuple[int, str]] = {}

    def status(self, row: Row) -> StreamStatus:
        """What the stream of ``row`` is doing."""
        live = self._on_air.stream(row["id"])
        if live is not None and live.publishing:
            return StreamStatus.RUNNING
        wanted = row["started"] and self._over.get(row["id"], (-1, ""))[0] != row["starts"]
        return StreamStatus.STARTING if wanted or live is not None else StreamStatus.STOPPED

    def reason(self, row: Row) -> str:
        """Why nothing comes of it where it is fetched, and why it was given up where it is not any more; else empty."""
        starts, reason = self._over.get(row["id"], (-1, ""))
        return self._on_air.obstacle(row["id"]) or (reason if starts == row["starts"] else "")

    # -- starting and stopping ----------------------------------------------------------------------------------------

    async def resume(self) -> None:
        """After a start of the server: what was being fetched is fetched again."""
        async with self._turn:
            async with self._db.read() as tx:
                wanted = await models.wanted_pulls(tx)
            if not wanted:
                return
            lacking, cipher = await self._lacking_encoder(), await self._vault.cipher()
            for stream_id, granted in (await self._grants.by_ids(wanted)).items():
                try:
                    self._begin(granted, cipher, lacking)
                except Refused as refusal:
                    log.warning("stream_not_resumed", extra={"facts": {"stream": stream_id, "reason": refusal.reason}})
                    if isinstance(refusal, Unreadable):
                        # With the secret that it was written under it is resumed at another start.
                        self._over[stream_id] = granted.row["starts"], refusal.reason
                    else:
                        self._finish(stream_id, granted.row["starts"], refusal.reason)

    async def start(self, row: Row) -> None:
        """The stream of ``row`` is wanted on air: fetch it, unless it is pushed. Raises Refused."""
        try:
            lacking = await self._lacking_encoder() if service.qualities(row) else ""
            async with self._turn:
                cipher = await self._vault.cipher()
                granted = (await self._grants.by_ids([row["id"]])).get(row["id"])
                # It may have been stopped or deleted in the meantime.
                if granted is not None and granted.row["started"]:
                    self._begin(granted, cipher, lacking)
        except (Refused, DatabaseUnavailable) as error:
            if row["key_hash"] is None:
                self._over[row["id"]] = row["starts"], error.reason if isinstance(error, Refused) else ""
            raise

    def _begin(self, granted: Granted, cipher: "Cipher", lacking: str) -> None:
        row = granted.row
        if row["owner_disabled"]:
            raise OwnerDisabled
        if lacking and granted.grant.ladder is not None:
            raise CannotEncode(lacking)
        if row["key_hash"] is None and row["id"] not in self._pulls:
            session_id = self._engine.start_pull(service.pull_source(cipher, row), granted.grant)
            self._pulls[row["id"]] = Fetch(session_id, row["starts"])
            self._on_air.forget()

    async def _lacking_encoder(self) -> str:
        """What is wrong where the configuration insists on an encoder that does not work here; else empty."""
        wanted = self._engine.config.transcode
        if wanted.policy == "fail" and wanted.encoder != "auto" and wanted.encoder not in await self._engine.encoders():
            return f"the encoder {wanted.encoder} does not work on this machine (transcode.encoder)"
        return ""

    def stop(self, stream_id: int, reason: str) -> None:
        """End it, whoever publishes it, with all that hangs on it. Harmless if it is not on air."""
        self._grants.forget()
        fetch = self._pulls.pop(stream_id, None)
        self._over.pop(stream_id, None)
        if fetch is not None:
            self._engine.kick(fetch.session_id, reason)
        self._engine.end(playback_name(stream_id), reason)
        self._on_air.forget()

    def stop_all(self, stream_ids: Sequence[int], reason: str) -> None:
        """End all of them, whose owner was disabled, say."""
        for stream_id in stream_ids:
            self.stop(stream_id, reason)

    def forget(self) -> None:
        """Something was written down that decides about pushes to come."""
        self._grants.forget()

    # -- changes ------------------------------------------------------------------------------------------------------

    def note_change(self, before: Row, columns: Collection[str]) -> None:
        """``columns`` of a stream whose row was ``before`` are about to change. Harmless if that comes to nothing.

        What another node changes, or what changes between an encoder's grant and its first packet, is not noted.
        """
        live = self._on_air.stream(before["id"])
        if live is not None:
            self._pending.keep(self._present())
            self._pending.note(before, columns, live.since)

    def pending(self, row: Row) -> list[str]:
        """What of ``row`` was changed while it was on air, and counts from its next start on."""
        live = self._on_air.stream(row["id"])
        return [] if live is None else self._pending.of(row, live.since)

    async def follow(self, stream_ids: Collection[int]) -> None:
        """What these streams' rows and destinations say has changed: what is on air or fetched of them does as they say now."""
        self._grants.forget()
        present = self._present() & set(stream_ids)
        if present:
            async with self._turn:
                for granted in (await self._grants.by_ids(present)).values():
                    self._engine.regrant(granted.grant)
            self._on_air.forget()

    async def follow_destination(self, destination: Row) -> None:
        """The same of the streams that a destination concerns, which is new, has changed or is gone."""
        if destination["stream_id"] is not None:
            await self.follow([destination["stream_id"]])
            return
        async with self._db.read() as tx:
            owners = await models.owners(tx, self._present())
        await self.follow([stream_id for stream_id, owner in owners.items() if owner == destination["user_id"]])

    def _present(self) -> set[int]:
        """Streams of rows that are on air, or fetched."""
        self._on_air.forget()
        live = {stream_id_of(stream.name) for stream in self._on_air.everything()}
        return {stream_id for stream_id in live | self._pulls.keys() if stream_id is not None}

    # -- what happens -------------------------------------------------------------------------------------------------

    def on_event(self, event: Event) -> None:
        """A listener of the Feed: what is over for good is not wanted any more."""
        if not isinstance(event, (PublishStarted, PublisherLeft, PublishEnded, PullChanged)):
            return
        self._on_air.forget()
        if not isinstance(event, PullChanged) or not event.over:
            return
        stream_id = stream_id_of(event.name)
        fetch = None if stream_id is None else self._pulls.get(stream_id)
        if stream_id is not None and fetch is not None and fetch.session_id == event.session_id:
            del self._pulls[stream_id]
            self._finish(stream_id, fetch.starts, event.reason)

    def _finish(self, stream_id: int, starts: int, reason: str) -> None:
        self._over[stream_id] = starts, reason
        self._engine.spawn(self._write_end(stream_id, starts))

    async def _write_end(self, stream_id: int, starts: int) -> None:
        """Where the server itself stops, it is fetched again when that starts."""
        try:
            if self._engine.snapshot().draining:
                return
            async with self._db.write() as tx:
                await models.end_start(tx, stream_id, starts, None)
        except (DatabaseUnavailable, Unavailable) as error:
            log.warning("end_not_noted", extra={"facts": {"stream": stream_id, "reason": type(error).__name__}})
