"""What is live now, rendered at most once per moment however many pages ask."""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from control.system.schemas import AudioView, HealthView, LiveView, RungView, StreamAnswer, StreamView, VideoView
from mediaserver.errors import Unavailable
from mediaserver.ports import Wire, rendition_name
from mediaserver.snapshot import EngineSnapshot, RungSnapshot, StreamSnapshot, TrackSnapshot

#: For how long one look at the engine serves everybody who asks, in seconds.
FRESH = 0.5


class Snapshots(Protocol):
    """The part of the engine's door that this domain looks through."""

    def snapshot(self) -> EngineSnapshot: ...


class Titles(Protocol):
    """What streams are called where that is not the name under which they play."""

    async def of(self, names: Collection[str]) -> Mapping[str, str]: ...


class Glance:
    """An engine that is looked at once a moment, however many ask."""

    def __init__(self, engine: Snapshots, ticks: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._ticks = ticks
        self._seen: EngineSnapshot | None = None
        self._looked = float("-inf")

    def snapshot(self) -> EngineSnapshot:
        """The engine as it is, or was a moment ago. Raises Unavailable while it is not started."""
        now = self._ticks()
        if self._seen is None or now - self._looked >= FRESH:
            self._seen = None
            self._seen, self._looked = self._engine.snapshot(), now
        return self._seen


class LiveService:
    """Public facts about the engine. ``clock`` is Unix time, ``ticks`` a monotonic clock; both in seconds. ``obstacle`` says why
    no push would be let in; empty where it would."""

    def __init__(
        self,
        engine: Snapshots,
        clock: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
        titles: Titles | None = None,
        obstacle: Callable[[], str] | None = None,
    ) -> None:
        self._engine = engine
        self._obstacle = obstacle or (lambda: "")
        self._titles = titles
        self._looking = asyncio.Lock()
        self._clock = clock
        self._ticks = ticks
        self._streams: dict[str, StreamView] = {}
        self._body = b""
        self._looked = float("-inf")
        self._glance = Glance(engine, ticks)

    async def everything(self) -> bytes:
        """A LiveView as JSON. Raises Unavailable while the engine is not started."""
        await self._look()
        return self._body

    async def stream(self, name: str) -> StreamAnswer:
        """The stream ``name``, if it is live. Raises Unavailable while the engine is not started."""
        await self._look()
        return StreamAnswer(now=self._clock(), stream=self._streams.get(name))

    async def title(self, name: str) -> str:
        """What ``name`` is called: ``name`` itself while it is not live."""
        try:
            stream = (await self.stream(name)).stream
        except Unavailable:
            return name
        return name if stream is None else stream.title

    def alive(self) -> HealthView:
        """The event loop turns: else nobody would say so."""
        return HealthView(status="ok")

    def health(self) -> HealthView:
        """``ready`` only while the engine takes publishers and players; looked at once a moment, for anybody may ask."""
        try:
            draining = self._glance.snapshot().draining
        except Unavailable:
            return HealthView(status="starting")
        if not draining and (reason := self._obstacle()):
            return HealthView(status="unavailable", reason=reason)
        return HealthView(status="draining" if draining else "ready")

    async def _look(self) -> None:
        if self._ticks() - self._looked < FRESH:
            return
        async with self._looking:
            if self._ticks() - self._looked < FRESH:  # somebody has looked meanwhile
                return
            snapshot, now, at = self._engine.snapshot(), self._ticks(), self._clock()
            names = [stream.name for stream in snapshot.streams]
            titles = {} if self._titles is None else await self._titles.of(names)
            self._render(snapshot, titles, at)
            self._looked = now

    def _render(self, snapshot: EngineSnapshot, titles: Mapping[str, str], at: float) -> None:
        renditions: dict[str, list[StreamSnapshot]] = defaultdict(list)
        for stream in snapshot.streams:
            if stream.source:
                renditions[stream.source].append(stream)
        ordered = sorted(snapshot.streams, key=lambda stream: stream.name)
        views = [_view(stream, renditions[stream.name], titles.get(stream.name, ""), at) for stream in ordered]
        # A rendition is part of its stream: found by its name, but no stream of its own in the list.
        answer = LiveView(
            now=at, since=snapshot.since, draining=snapshot.draining, streams=[view for view in views if not view.source]
        )
        self._streams = {view.name: view for view in views}
        self._body = answer.model_dump_json(by_alias=True).encode()


def _view(stream: StreamSnapshot, renditions: list[StreamSnapshot], title: str, at: float) -> StreamView:
    players = sum((Counter(each.players) for each in (stream, *renditions)), Counter[Wire]())
    tracks = {track.codec.kind.value: track for track in stream.tracks}
    return StreamView(
        name=stream.name,
        title=_titled(title, stream.name),
        state="live" if stream.publishing else "away",
        since=stream.since,
        uptime=max(0.0, at - stream.since),
        bitrate=stream.bitrate,
        video=_video(tracks.get("video"), stream.frame_rate),
        audio=_audio(tracks.get("audio")),
        viewers=players.total(),
        viewers_by_wire={wire.value: count for wire, count in players.items() if count},
        watch=f"/watch/{stream.name}",
        hls=f"/live/{stream.name}/index.m3u8",
        dash=f"/live/{stream.name}/manifest.mpd",
        flv=f"/live/{stream.name}.flv",
        source=stream.source,
        rungs=[_rung(stream.name, rung) for rung in stream.rungs],
    )


def _titled(title: str, name: str) -> str:
    rung = name.partition("@")[2]
    return f"{title} · {rung}" if title and rung else title or name


def _rung(name: str, rung: RungSnapshot) -> RungView:
    return RungView(
        name=rung.name,
        width=rung.width,
        height=rung.height,
        bitrate=rung.bitrate,
        running=rung.running,
        hls=f"/live/{rendition_name(name, rung.name)}/index.m3u8",
    )


def _video(track: TrackSnapshot | None, frame_rate: float) -> VideoView | None:
    if track is None:
        return None
    return VideoView(codec=track.codec.value, width=track.width, height=track.height, frame_rate=frame_rate)


def _audio(track: TrackSnapshot | None) -> AudioView | None:
    if track is None:
        return None
    return AudioView(codec=track.codec.value, sample_rate=track.sample_rate, channels=track.channels)
