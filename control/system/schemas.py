"""The public shape of what is live: facts for anybody, so no address, no key, no session."""

from typing import Literal

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Schema(BaseModel):
    """A JSON object with camelCase names."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)


class VideoView(Schema):
    """A video track. Sizes and rate are 0 where the stream does not tell."""

    codec: str
    width: int
    height: int
    frame_rate: float


class AudioView(Schema):
    """An audio track. Rate (Hz) and channels are 0 where the stream does not tell."""

    codec: str
    sample_rate: int
    channels: int


class RungView(Schema):
    """A rendition of a stream. ``running`` is false while it is not made; sizes are 0 for sound alone; bits a second."""

    name: str
    width: int
    height: int
    bitrate: int
    running: bool
    hls: str


class StreamView(Schema):
    """A live stream. ``title`` is what its owner calls it, else its name. ``state`` is ``away`` while its publisher may still
    come back; ``bitrate`` is in bits a second. ``viewers`` are those of its renditions too; ``source`` is what it is a
    rendition of, if it is one."""

    name: str
    title: str
    state: Literal["live", "away"]
    since: float
    uptime: float
    bitrate: int
    video: VideoView | None
    audio: AudioView | None
    viewers: int
    viewers_by_wire: dict[str, int]
    watch: str
    hls: str
    dash: str
    flv: str
    source: str
    rungs: list[RungView]


class LiveView(Schema):
    """Everything that is live, as it was at ``now`` (Unix time)."""

    now: float
    since: float
    draining: bool
    streams: list[StreamView]


class StreamAnswer(Schema):
    """One stream, with the server's clock for a page to set its own by.

    ``stream`` is null while it is not live: a page that waits asks again and again, and an answer that is expected is no
    error.
    """

    now: float
    stream: StreamView | None


class HealthView(Schema):
    """Whether the server may be given work. ``reason``: why not, where that is not said by ``status``."""

    status: Literal["ok", "ready", "starting", "draining", "unavailable"]
    reason: str = ""
