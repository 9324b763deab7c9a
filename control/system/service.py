"""What is live now, rendered at most once per moment however many pages ask."""

import time
from collections.abc import Callable
from typing import Protocol

from control.system.schemas import AudioView, HealthView, LiveView, StreamAnswer, StreamView, VideoView
from mediaserver.errors import Unavailable
from mediaserver.snapshot import EngineSnapshot, StreamSnapshot, TrackSnapshot

#: For how long one look at the engine serves everybody who asks, in seconds.
FRESH = 0.5


class Snapshots(Protocol):
    """The part of the engine's door that this domain looks through."""

    def snapshot(self) -> EngineSnapshot: ...


class LiveService:
    """Public facts about the engine. ``clock`` is Unix time, ``ticks`` a monotonic clock; both in seconds."""

    def __init__(
        self, engine: Snapshots, clock: Callable[[], float] = time.time, ticks: Callable[[], float] = time.monotonic
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._ticks = ticks
        self._streams: dict[str, StreamView] = {}
        self._body = b""
        self._draining = False
        self._looked = float("-inf")
        self._checked = float("-inf")

    def everything(self) -> bytes:
        """A LiveView as JSON. Raises Unavailable while the engine is not started."""
        self._look()
        return self._body

    def stream(self, name: str) -> StreamAnswer:
        """The stream ``name``, if it is live. Raises Unavailable while the engine is not started."""
        self._look()
        return StreamAnswer(now=self._clock(), stream=self._streams.get(name))

    def health(self) -> HealthView:
        """``ready`` only while the engine takes publishers and players; looked at once a moment, for anybody may ask."""
        now = self._ticks()
        if now - self._checked >= FRESH:
            try:
                self._draining = self._engine.snapshot().draining
            except Unavailable:
                return HealthView(status="starting")
            self._checked = now
        return HealthView(status="draining" if self._draining else "ready")

    def _look(self) -> None:
        now = self._ticks()
        if now - self._looked < FRESH:
            return
        snapshot, at = self._engine.snapshot(), self._clock()
        views = [_view(stream, at) for stream in sorted(snapshot.streams, key=lambda s: s.name)]
        answer = LiveView(now=at, since=snapshot.since, draining=snapshot.draining, streams=views)
        self._streams = {view.name: view for view in views}
        self._body = answer.model_dump_json(by_alias=True).encode()
        self._looked = now


def _view(stream: StreamSnapshot, at: float) -> StreamView:
    tracks = {track.codec.kind.value: track for track in stream.tracks}
    return StreamView(
        name=stream.name,
        state="live" if stream.publishing else "away",
        since=stream.since,
        uptime=max(0.0, at - stream.since),
        bitrate=stream.bitrate,
        video=_video(tracks.get("video"), stream.frame_rate),
        audio=_audio(tracks.get("audio")),
        viewers=sum(stream.players.values()),
        viewers_by_wire={wire.value: count for wire, count in stream.players.items() if count},
        watch=f"/watch/{stream.name}",
        hls=f"/live/{stream.name}/index.m3u8",
        dash=f"/live/{stream.name}/manifest.mpd",
        flv=f"/live/{stream.name}.flv",
    )


def _video(track: TrackSnapshot | None, frame_rate: float) -> VideoView | None:
    if track is None:
        return None
    return VideoView(codec=track.codec.value, width=track.width, height=track.height, frame_rate=frame_rate)


def _audio(track: TrackSnapshot | None) -> AudioView | None:
    if track is None:
        return None
    return AudioView(codec=track.codec.value, sample_rate=track.sample_rate, channels=track.channels)
