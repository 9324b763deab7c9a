"""An engine with its pages in a thread, and a stream with renditions that are fed by hand in real time: clips of several sizes
with the same pictures. So a test needs no transcoder, and can take a rendition away and give it back when it likes."""

import asyncio
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from aiohttp import web

from control.app import create_app
from mediaserver.config import Config
from mediaserver.delivery.aiohttp_lane import lane, media_handler
from mediaserver.engine import Engine
from mediaserver.hub.session import Session
from mediaserver.ports import Ladder, PublishGrant, Rung, Wire
from protocols.media import MediaKind, Packet, Track
from tests.media import Clips
from tests.mediaserver.packaging.ladder import SIZES, rung_clips, source_clip
from tests.mediaserver.running import Doorkeeper, Notes, local

#: How late a rendition is (seconds), and how long a clip is (milliseconds).
DELAY = 0.15
ROUND = 4000

#: A town that does nothing for so long (seconds), and not because of its own work, is one that the machine left no time.
STANDSTILL = 0.1

Items = list[Track | Packet]


@dataclass
class Sent:
    """What is due when, in seconds since the beginning; None is the stream itself."""

    at: float
    rung: str | None
    item: Track | Packet


async def _take_report(_: web.Request) -> web.Response:
    return web.Response(status=204)


class LadderTown:
    """``url`` is where its pages are. ``show`` is live with a rendition for each of ``SIZES`` until the block ends."""

    def __init__(self, clips: Clips) -> None:
        self.config = local(Config())
        self._source = source_clip(clips)
        self._rungs = rung_clips(clips)
        self._ready = threading.Event()
        self._stopped: asyncio.Event
        self._loop: asyncio.AbstractEventLoop
        self._engine: Engine
        self._begun = 0.0
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="ladder town")
        self.shed: set[str] = set()
        #: From when to when (Unix time) it stood still.
        self.stood: list[tuple[float, float]] = []

    def __enter__(self) -> "LadderTown":
        self._thread.start()
        self._ready.wait(60)
        if self._failure is not None:
            raise self._failure
        return self

    def __exit__(self, *exc_details: object) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(60)
        if self._failure is not None:
            raise self._failure

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.config.http.port}{path}"

    def get(self, resource: str) -> str:
        """A playlist of ``show``; where there is none, all of it is a gap."""
        try:
            with urllib.request.urlopen(self.url(f"/live/show/{resource}"), timeout=30) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError:
            return "EXT-X-GAP"

    def give_up(self, rung: str) -> None:
        """That rendition is made no more."""
        self._call(lambda: self._give_up(rung))

    def restore(self, rung: str) -> None:
        """It is made again, from the next keyframe on."""
        self._call(lambda: self.shed.discard(rung))

    def stop_engine(self) -> None:
        """The server goes away; nobody hears the end of the stream first."""
        done = asyncio.run_coroutine_threadsafe(self._engine.web.close("gone"), self._loop)
        done.result(60)

    def _call(self, work: Callable[[], object]) -> None:
        self._loop.call_soon_threadsafe(work)

    def _give_up(self, rung: str) -> None:
        self.shed.add(rung)
        stream = self._engine._hub.find(f"show@{rung}")
        if stream is not None:
            self._engine._hub.remove_rendition(stream)

    # -- in the thread --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except (OSError, RuntimeError, AssertionError) as error:
            self._failure = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop, self._stopped = asyncio.get_running_loop(), asyncio.Event()
        self._engine = engine = Engine(self.config, Doorkeeper(), Notes())
        app = create_app(engine, self.config)
        app.router.add_route("*", "/live/{tail:.*}", media_handler(engine.web))
        # The page reports how it plays; nobody here keeps it.
        app.router.add_post("/api/live/show/report", _take_report)
        runner = web.AppRunner(app, handle_signals=False)
        await runner.setup()
        await engine.start(lane(runner, engine.web))
        feeder = asyncio.create_task(self._feed(engine))
        feeder.add_done_callback(lambda _: self._stopped.set())
        pulse = asyncio.create_task(self._feel_pulse())
        try:
            await self._stopped.wait()
            if feeder.done():
                feeder.result()
        finally:
            feeder.cancel()
            pulse.cancel()
            await engine.stop(1)
            await runner.cleanup()

    async def _feel_pulse(self) -> None:
        while True:
            before, worked = time.time(), time.thread_time()
            await asyncio.sleep(0.05)
            if time.time() - before > STANDSTILL + time.thread_time() - worked:
                self.stood.append((before, time.time()))

    async def _feed(self, engine: Engine) -> None:
        ladder = Ladder(tuple(Rung(name, height) for name, (_, height, _) in SIZES.items()))
        publisher = engine._hub.publish(PublishGrant("show", ladder), Session(Wire.INTERNAL, "test"), lambda _: None)
        started: set[str] = set()
        self._begun = time.monotonic()
        number = 0
        while True:
            for sent in self._round(number):
                await asyncio.sleep(max(0.0, self._begun + sent.at - time.monotonic()))
                if sent.rung is None:
                    _write(publisher, sent.item)
                else:
                    self._pass_on(engine, sent, started)
                self._ready.set()
            number += 1

    def _round(self, number: int) -> list[Sent]:
        """Everything of one turn of the clips, by time."""
        streams: list[tuple[str | None, Items]] = [(None, self._source), *self._rungs.items()]
        sent = []
        for rung, items in streams:
            moment = 0
            for item in items:
                shown = item
                if isinstance(item, Packet):
                    shown = replace(item, dts=item.dts + number * ROUND)
                    moment = shown.dts
                elif number:
                    continue
                sent.append(Sent(moment / 1000 + (0.0 if rung is None else DELAY), rung, shown))
        return sorted(sent, key=lambda one: one.at)

    def _pass_on(self, engine: Engine, sent: Sent, started: set[str]) -> None:
        rung, item = sent.rung or "", sent.item
        if rung in self.shed:
            started.discard(rung)
            return
        source = engine._hub.find("show")
        stream = None if source is None else source.renditions.get(rung) or engine._hub.add_rendition(source, rung)
        if stream is None:
            return
        if isinstance(item, Track):
            stream.write_track(item)
            return
        if rung not in started:
            if item.kind is not MediaKind.VIDEO or not item.keyframe:
                return
            started.add(rung)
            for track in (each for each in self._rungs[rung] if isinstance(each, Track)):
                stream.write_track(track)
        stream.pass_on(item)


def _write(publisher: Any, item: Track | Packet) -> None:
    if isinstance(item, Track):
        publisher.write_track(item)
    else:
        publisher.write(replace(item))
