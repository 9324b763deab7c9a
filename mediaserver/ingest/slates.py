"""Slates: which streams have one ready, and which are shown one now."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any

from mediaserver.config import Config
from mediaserver.hub.hub import Hub, Publisher, overhang
from mediaserver.hub.session import Session
from mediaserver.hub.stream import LiveStream, StreamState
from mediaserver.ingest.interruption import Interruption
from mediaserver.ingest.slate import Reel, SlateFailed, SlateForm, form_of, make, show, slate_of
from mediaserver.ports import Slate, Wire
from protocols.media import MediaKind

log = logging.getLogger(__name__)

#: Seconds that a stream may take until it is known how many pictures a second it has.
MEASURING = 5.0
#: Seconds after which a slate that could not be made is tried again; twice as long after each failure, up to the longest.
FIRST_RETRY, LONGEST_RETRY = 10.0, 300.0
#: Bytes that all slates may take together.
MOST_BYTES = 512 << 20
#: How often, in ``rtmp.slate_after``, it is looked whether anything has come.
_LOOKS = 5
SILENT = "the source is silent"
#: Publishers whose sessions count what comes. Pulls have their own way.
_PUSHED = (Wire.RTMP, Wire.RTMPS)


class _Screen:
    """One stream that has a slate."""

    def __init__(self, stream: LiveStream, slate: Slate, since: float) -> None:
        self.stream = stream
        self.slate = slate
        self.since = since
        # Whose session, and what it had sent, at the last look; and for how many seconds nothing.
        self.heard, self.silent_for = ("", 0), 0.0
        self.interruption: Interruption | None = None
        self.form: SlateForm | None = None
        self.tracks: dict[MediaKind, object] = {}
        self.publisher: Publisher | None = None
        self.task: asyncio.Task[None] | None = None


class _Making:
    """A slate that is made, or has been: ``reel`` is None where that failed. ``failures``: of those before it."""

    def __init__(self, failures: int = 0) -> None:
        self.reel: asyncio.Future[Reel | None] = asyncio.get_running_loop().create_future()
        self.task: asyncio.Task[None] | None = None
        self.failures = failures
        self.done_at = 0.0

    @property
    def ready(self) -> bool:
        """Whether it can be shown."""
        return self.reel.done() and not self.reel.cancelled() and self.reel.result() is not None

    @property
    def nbytes(self) -> int:
        reel = self.reel.result() if self.ready else None
        return reel.nbytes if reel is not None else 0

    def worth_another_try(self, now: float) -> bool:
        """Whether it failed, so long ago that the reason may have passed."""
        patience = min(FIRST_RETRY * 2.0 ** min(self.failures, 16), LONGEST_RETRY)
        return self.reel.done() and not self.ready and now - self.done_at >= patience

    def cancel(self) -> None:
        if self.task is not None:
            self.task.cancel()
        self.reel.cancel()


class Slates:
    """Every slate of this process. A stream whose grant has one gets it ready while the source is there."""

    def __init__(self, hub: Hub, config: Config, spawn: Callable[[Coroutine[None, None, None]], Any]) -> None:
        self._hub, self._config, self._spawn = hub, config, spawn
        self._screens: dict[str, _Screen] = {}
        self._reels: dict[SlateForm, _Making] = {}
        self._slate_after = config.rtmp.slate_after
        self._watch: asyncio.TimerHandle | None = None
        self._looked_at = 0.0
        # One after the other: a slate is no hurry, and encoding is work. Files, which may take long, hold up no plain ones.
        self._kitchens = {plain: asyncio.Semaphore(1) for plain in (True, False)}
        hub.on_publish(self._begin)
        hub.on_lost(self._lost)

    def ready(self, name: str) -> bool:
        """Whether the slate of that stream could be shown at once."""
        screen = self._screens.get(name)
        making = self._reels.get(screen.form) if screen is not None and screen.form is not None else None
        return making is not None and making.ready

    def stop(self, session_id: str, reason: str) -> bool:
        """End the slate of that session, and with it its stream. False if there is none."""
        for screen in tuple(self._screens.values()):
            if screen.publisher is not None and screen.publisher.session.id == session_id:
                self._hub.end(screen.stream.name, reason)
                return True
        return False

    def sweep(self, now: float) -> None:
        """Get slates ready, and forget those of streams that are over. To be called every second."""
        for name, screen in tuple(self._screens.items()):
            if screen.stream.state is StreamState.ENDED:
                del self._screens[name]
            elif screen.publisher is None and screen.stream.tracks:
                self._look(screen, now)
                if screen.form is not None:
                    self._order(screen.form, screen.stream)
        wanted = {screen.form for screen in self._screens.values()}
        for form in tuple(self._reels):
            if form not in wanted:
                self._reels.pop(form).cancel()

    async def close(self) -> None:
        """End all."""
        tasks = [screen.task for screen in self._screens.values() if screen.task is not None]
        tasks += [making.task for making in self._reels.values() if making.task is not None]
        for task in tasks:
            task.cancel()
        if self._watch is not None:
            self._watch.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, stream: LiveStream) -> None:
        if (slate := slate_of(stream.grant, self._config.rtmp)) is not None:
            loop = asyncio.get_running_loop()
            self._screens[stream.name] = _Screen(stream, slate, loop.time())
            if self._watch is None:
                self._looked_at = loop.time()
                self._watch = loop.call_later(self._slate_after / _LOOKS, self._listen)

    def _look(self, screen: _Screen, now: float) -> None:
        """Prepare for the tracks that the source has now, once its frame rate is known."""
        stream = screen.stream
        if screen.tracks == stream.tracks:
            return
        form = form_of(stream, stream.meter.frame_rate, screen.slate.path)
        if form.width and not form.frame_rate and now - screen.since < MEASURING:
            return
        screen.tracks = dict(stream.tracks)
        screen.form = form

    def _order(self, form: SlateForm, stream: LiveStream) -> "asyncio.Future[Reel | None]":
        """The slate of that form, which ``stream`` needs, when it is made."""
        making = self._reels.get(form)
        if making is None or making.worth_another_try(asyncio.get_running_loop().time()):
            making = self._reels[form] = _Making(0 if making is None else making.failures + 1)
            making.task = self._spawn(self._make(form, making, stream))
        return making.reel

    async def _make(self, form: SlateForm, making: _Making, stream: LiveStream) -> None:
        async with self._kitchens[not form.path]:
            reel = None
            try:
                reel = self._fitting(await make(form, self._config))
            except SlateFailed as failure:
                log.warning("slate_failed", extra={"facts": {**stream.facts(), "reason": str(failure)}})
            finally:
                # Whatever went wrong: a stream that waits for it must not stay without a picture, and live, for ever.
                making.done_at = asyncio.get_running_loop().time()
                if not making.reel.done():
                    making.reel.set_result(reel)

    def _fitting(self, reel: Reel) -> Reel:
        """``reel``, if there is room for it. Raises SlateFailed."""
        others = sum(making.nbytes for making in self._reels.values())
        if others + reel.nbytes > MOST_BYTES:
            raise SlateFailed("there are too many large slates already")
        return reel

    # -- the source is silent -------------------------------------------------------------------------------------------

    def _listen(self) -> None:
        """Show slates in place of publishers of whom nothing comes although they seem to be there. Such a one that came while a
        slate is shown keeps nobody else from its place."""
        loop, interval = asyncio.get_running_loop(), self._slate_after / _LOOKS
        self._watch = loop.call_later(interval, self._listen) if self._screens else None
        before, self._looked_at = self._looked_at, loop.time()
        # A loop that was held up has not heard anybody meanwhile.
        elapsed = min(self._looked_at - before, 2 * interval)
        for screen in tuple(self._screens.values()):
            name = screen.stream.name
            newcomer = self._hub.newcomer(name)
            publisher = newcomer if newcomer is not None else self._hub.publishers.get(name)
            if publisher is None or publisher.stream is not screen.stream or publisher.session.wire not in _PUSHED:
                screen.silent_for = 0.0
                continue
            earlier, screen.heard = screen.heard, (publisher.session.id, publisher.session.bytes_in)
            screen.silent_for = 0.0 if screen.heard != earlier else screen.silent_for + elapsed
            silent = screen.silent_for >= self._slate_after
            if newcomer is not None:
                newcomer.gives_way = silent
            elif silent and self.ready(name):
                screen.interruption = Interruption(publisher, SILENT, screen.silent_for)

    # -- the source is lost ---------------------------------------------------------------------------------------------

    def _lost(self, stream: LiveStream) -> None:
        screen = self._screens.get(stream.name)
        if screen is None or screen.stream is not stream:
            return
        if screen.form is None:
            screen.form = form_of(stream, stream.meter.frame_rate, screen.slate.path)
            screen.tracks = dict(stream.tracks)
        # Players' clocks went on if it was silent before.
        gap = max(overhang(stream), round((time.monotonic() - stream.left_at) * 1000))
        session = Session(Wire.INTERNAL, "", "slate")
        screen.publisher = self._hub.stand_in(stream, session, lambda reason: self._leave(screen, reason))
        screen.task = self._spawn(self._show(screen, screen.publisher, screen.form, gap))

    def _leave(self, screen: _Screen, reason: str) -> None:
        """The source is back, or another one, or the stream is over."""
        screen.publisher = None
        screen.since, screen.silent_for = asyncio.get_running_loop().time(), 0.0
        interruption, screen.interruption = screen.interruption, None
        if interruption is not None:
            interruption.end(reason)
        task, screen.task = screen.task, None
        if task is not None and task is not asyncio.current_task():
            task.cancel()

    async def _show(self, screen: _Screen, publisher: Publisher, form: SlateForm, gap: int) -> None:
        seconds = screen.slate.seconds
        reason, loop = "the slate could not be made", asyncio.get_running_loop()
        try:
            async with asyncio.timeout(seconds or None):
                begin = loop.time()
                reel = await asyncio.shield(self._order(form, screen.stream))
                if reel is not None:
                    # Players' clocks went on while it was made.
                    publisher.stream.timeline.resume(max(round((loop.time() - begin) * 1000), gap))
                    await show(reel, publisher)
        except TimeoutError:
            reason = "the source did not come back"
        except BaseException:
            # Nobody else would end a stream that has no picture any more.
            self._take_off(screen, publisher)
            publisher.close("the slate failed")
            raise
        newcomer = self._hub.newcomer(publisher.stream.name)
        back = newcomer is not None and not newcomer.gives_way
        if screen.publisher is publisher and seconds and reason == "the source did not come back" and not back:
            self._hub.end(publisher.stream.name, reason)
        else:
            self._take_off(screen, publisher)
            publisher.close(reason)

    @staticmethod
    def _take_off(screen: _Screen, publisher: Publisher) -> None:
        """This slate is shown no more. Another one may be shown already, if the source was back for a moment."""
        if screen.publisher is publisher:
            screen.publisher = None
