"""Pulls: streams that are fetched instead of pushed."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from mediaserver.config import Config
from mediaserver.errors import NameTaken, Refused
from mediaserver.hub.hub import Hub
from mediaserver.ingest.pull import Pull, PullState
from mediaserver.ports import EventSink, InputType, PublishGrant, PullSource, objection_to
from mediaserver.snapshot import PullSnapshot


class Pulls:
    """Every pull of this process."""

    def __init__(self, hub: Hub, config: Config, sink: EventSink, spawn: Callable[[Coroutine[None, None, None]], Any]) -> None:
        self._hub, self._config, self._sink, self._spawn = hub, config, sink, spawn
        self._pulls: dict[str, Pull] = {}
        self._bytes_before = 0  # of pulls that are gone

    def start(self, source: PullSource, grant: PublishGrant) -> str:
        """Fetch ``source`` and publish it as ``grant`` says, until stopped. The id of the session. Raises Refused.

        Whether the source can be had shows later, in events and in the snapshot.
        """
        if objection := objection_to(grant.name):
            raise Refused(f"a stream cannot have this name: {objection}")
        running = self._running()
        if len(running) >= self._config.pull.max_jobs:
            raise Refused("too many pulls (pull.max_jobs)")
        if source.type is InputType.FILE and not self._config.pull.file_roots:
            raise Refused("no files may be pulled (pull.file_roots is empty)")
        present = self._hub.publishers.get(grant.name)
        taken = present is not None and not present.stand_in and not self._hub.limits.takeover
        if taken or any(pull.grant.name == grant.name for pull in running):
            raise NameTaken(f"{grant.name} is being published already")
        pull = Pull(self._hub, self._config, self._sink, source, grant)
        self._pulls[pull.session.id] = pull
        pull.task = self._spawn(self._run(pull))
        return pull.session.id

    def regrant(self, grant: PublishGrant) -> None:
        """What is fetched for ``grant.name`` is published as ``grant`` says, from its next return on."""
        for pull in self._running():
            if pull.grant.name == grant.name:
                pull.grant = grant

    def stop(self, session_id: str, reason: str) -> bool:
        """End that pull and its stream. False if there is none."""
        pull = self._pulls.get(session_id)
        if pull is None or pull.state is PullState.OVER:
            return False
        pull.stop(reason)
        return True

    def snapshots(self) -> tuple[PullSnapshot, ...]:
        """Every pull as it is now."""
        return tuple(pull.snapshot() for pull in self._running())

    @property
    def bytes_in(self) -> int:
        """What all of them have fetched since the start."""
        return self._bytes_before + sum(pull.session.bytes_in for pull in self._pulls.values())

    def _running(self) -> list[Pull]:
        """Those that are not over; of one that is, the worker may still be about to end."""
        return [pull for pull in self._pulls.values() if pull.state is not PullState.OVER]

    def sweep(self, now: float) -> None:
        """Apply the deadlines. To be called every second."""
        for pull in self._pulls.values():
            pull.check(now)

    async def close(self) -> None:
        """End all."""
        pulls = tuple(self._pulls.values())
        for pull in pulls:
            pull.stop("the server is stopping")
        await asyncio.gather(*(pull.task for pull in pulls if pull.task is not None), return_exceptions=True)

    async def _run(self, pull: Pull) -> None:
        try:
            await pull.run()
        finally:
            if self._pulls.pop(pull.session.id, None) is not None:
                self._bytes_before += pull.session.bytes_in
            # A bug must not leave a name taken by nobody.
            pull.stop("the pull broke off")
