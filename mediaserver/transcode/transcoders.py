"""The transcoding house's door: which streams get which renditions."""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from typing import Any

from mediaserver import encoders
from mediaserver.config import Config
from mediaserver.hub.hub import Hub
from mediaserver.hub.stream import LiveStream
from mediaserver.ports import EventSink
from mediaserver.snapshot import RungSnapshot
from mediaserver.transcode.ladder import named
from mediaserver.transcode.transcoder import Transcoder, TranscoderServices, TranscoderState

log = logging.getLogger(__name__)


class Machine:
    """What encoders and decoders of this machine fail with, found out once, when first asked for; in processes of their own."""

    def __init__(self) -> None:
        self._prober = encoders.Prober(encoders.EVERY)
        self._found: asyncio.Future[list[encoders.Probe]] | None = None

    async def failures(self) -> Mapping[str, str]:
        """By name; "" for those that work. Nothing where no process could be started: then it is tried again the next time."""
        if self._found is None:
            self._found = self._look()
            self._found.add_done_callback(_report)
        try:
            return {probe.encoder: probe.failure for probe in await asyncio.shield(self._found)}
        except (OSError, RuntimeError) as error:
            self._found = None
            log.warning("encoders_not_probed", extra={"facts": {"reason": str(error)}})
            return {}

    def close(self) -> None:
        """Try nothing any more, and wait for nothing: whatever hangs is ended."""
        self._prober.stop()

    def _look(self) -> asyncio.Future[list[encoders.Probe]]:
        loop = asyncio.get_running_loop()
        found: asyncio.Future[list[encoders.Probe]] = loop.create_future()

        def tell(probes: list[encoders.Probe] | Exception) -> None:
            if found.cancelled():
                return
            if isinstance(probes, Exception):
                found.set_exception(probes)
            else:
                found.set_result(probes)

        def look() -> None:
            probes: list[encoders.Probe] | Exception
            try:
                probes = self._prober.run()
            except OSError as error:
                probes = error
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody wants to know any more
                loop.call_soon_threadsafe(tell, probes)

        try:
            # A daemon: a driver that hangs must not keep the process from ending.
            threading.Thread(target=look, name="encoders", daemon=True).start()
        except RuntimeError as error:
            found.set_exception(error)
        return found


def _report(found: asyncio.Future[list[encoders.Probe]]) -> None:
    if not found.cancelled() and found.exception() is None:
        for probe in found.result():
            facts = {"encoder": probe.encoder, "works": not probe.failure, "reason": probe.failure}
            log.log(logging.DEBUG if probe.failure else logging.INFO, "encoder_probed", extra={"facts": facts})


class Transcoders:
    """Every transcoder of this process."""

    def __init__(self, hub: Hub, config: Config, sink: EventSink, spawn: Callable[[Coroutine[None, None, None]], Any]) -> None:
        self._config = config.transcode
        self._spawn = spawn
        self._machine = Machine()
        self._asked = False
        self._transcoders: list[Transcoder] = []
        self._by_name: dict[str, Transcoder] = {}
        self._services = TranscoderServices(hub, sink, spawn, config.transcode, self._machine.failures, self._admit)

    def begin(self, stream: LiveStream) -> None:
        """``stream`` has begun: make what its grant's ladder asks for, or else the configuration's."""
        ladder = stream.grant.ladder or named(self._config.ladder)
        if ladder is None or not ladder.rungs:
            return
        if not ladder.keyframe_interval:
            ladder = replace(ladder, keyframe_interval=self._config.keyframe_interval)
        transcoder = self._by_name[stream.name] = Transcoder(stream, ladder, self._services)
        self._transcoders.append(transcoder)
        stream.subscribe(transcoder)
        self._ask()

    def rungs(self, name: str) -> tuple[RungSnapshot, ...]:
        """The renditions of ``name`` as they are now."""
        transcoder = self._by_name.get(name)
        return () if transcoder is None or transcoder.state is TranscoderState.ENDED else transcoder.rungs()

    async def encoders(self) -> tuple[str, ...]:
        """The encoders that really work here. The first time takes seconds."""
        return tuple(name for name, failure in (await self._machine.failures()).items() if not failure)

    def sweep(self, now: float) -> None:
        """Shed and restore rungs, and apply deadlines. To be called every second."""
        if self._config.ladder:
            self._ask()
        self._transcoders = [transcoder for transcoder in self._transcoders if not transcoder.over]
        self._by_name = {transcoder.stream.name: transcoder for transcoder in self._transcoders}
        for transcoder in self._transcoders:
            transcoder.sweep(now)

    async def finish(self) -> None:
        """Return when the last pictures of all streams that are over have come: they have ``transcoder.FLUSH`` seconds."""
        ending = [transcoder for transcoder in self._transcoders if transcoder.state is TranscoderState.ENDING]
        await asyncio.gather(*(transcoder.ended.wait() for transcoder in ending))

    async def close(self) -> None:
        """End all."""
        await asyncio.gather(*(transcoder.close() for transcoder in self._transcoders))
        self._machine.close()

    def _ask(self) -> None:
        """Find out what works here before the first picture comes."""
        if not self._asked:
            self._asked = True
            self._spawn(self._look())

    async def _look(self) -> None:
        await self._machine.failures()

    def _admit(self) -> bool:
        return sum(transcoder.occupied for transcoder in self._transcoders) < self._config.max_jobs
