"""Streams as the Panel document has them."""

from typing import Annotated

from pydantic import Field, PlainSerializer, StringConstraints
from typing_extensions import TypedDict  # of typing, but pydantic asks for this one before Python 3.12

from control.destinations.schemas import DestinationCreate
from control.schema import Address, Changes, Given, Listed, Taken, Timestamp, Title
from control.streams.kinds import AudioCodec, BitrateMode, LatencyMode, Quality, StreamInput, StreamStatus, VideoCodec

#: A number that is written without a point where it has nothing behind it, as the document does.
Number = Annotated[float, PlainSerializer(lambda value: int(value) if value == int(value) else value, return_type=int | float)]

InputUrl = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000, pattern=r"^[^\s\x00-\x1f\x7f]+$"), Address
]
Seconds = Annotated[float, Field(ge=0, le=20)]
_KEYFRAMES = (
    "Seconds between two keyframes at most, for which every quality is encoded. Left out, they are where the source has them,"
    " and a quality that is like the source is passed on as it comes"
)
Qualities = Annotated[list[Quality], Field(max_length=len(Quality))]


class StreamCreate(Taken):
    """A new stream."""

    name: Title
    input_url: InputUrl
    input_type: StreamInput = StreamInput.RTMP
    latency_mode: LatencyMode = LatencyMode.NORMAL
    record_enabled: bool = False
    auto_start: bool = True
    video_codec: VideoCodec = VideoCodec.H264
    audio_codec: AudioCodec = AudioCodec.AAC
    bitrate_mode: BitrateMode = BitrateMode.VBR
    keyframe_interval: Annotated[Seconds, Field(description=_KEYFRAMES)] = 2.0
    qualities: Qualities = Field(default_factory=list)
    destinations: Annotated[list[DestinationCreate], Field(max_length=50)] = Field(default_factory=list)


class StreamUpdate(Changes):
    """What is to change. ``destinations`` replaces all of the stream's own."""

    name: Title | None = None
    input_url: InputUrl | None = None
    input_type: StreamInput | None = None
    latency_mode: LatencyMode | None = None
    record_enabled: bool | None = None
    auto_start: bool | None = None
    video_codec: VideoCodec | None = None
    audio_codec: AudioCodec | None = None
    bitrate_mode: BitrateMode | None = None
    keyframe_interval: Seconds | None = None
    qualities: Qualities | None = None
    destinations: Annotated[list[DestinationCreate], Field(max_length=50)] | None = None


class ListedDestination(TypedDict):
    """A destination of a stream in a list; ``status`` is ``active`` while it has the stream."""

    platform: str
    status: str


class ListedStream(TypedDict):
    """A stream in a list. ``reason``: why nothing comes of one that is fetched, or why it was given up; else empty."""

    # No class of ours is made for each: a list is long.
    id: int
    name: str
    status: StreamStatus
    reason: str
    input_url: str
    latency_mode: LatencyMode
    created_at: Timestamp
    updated_at: Timestamp
    destinations: list[ListedDestination]


class Streams(Listed):
    """A page of streams."""

    streams: list[ListedStream]


class Output(Given):
    """Where a quality is played; on air, one that can be played now: none that was asked for since then, that is larger than the
    source, or that nothing is made of yet. ``width`` and ``height`` are what it has there, 0 for sound alone and off air.
    ``bitrate`` in kbit/s: what it is encoded at, or usually is, while it is not on air; 0 for what is passed on as it comes."""

    format_type: str
    resolution: str
    width: int
    height: int
    bitrate: int
    output_path: str


class StreamDestination(Given):
    """A destination of a stream, with how it is about this one. ``rtmp_url`` is shown in full to its owner alone: a key may
    stand in it."""

    id: int
    name: str
    platform: str
    rtmp_url: str
    enabled: bool
    status: str
    reason: str


class Stream(Given):
    """A stream in full: its settings, and in ``outputs`` what they come to. ``pending`` names settings that were changed while it
    was on air, and count from its next start on. ``reason``: why nothing comes of one that is fetched, and once it is ``stopped``
    why it was given up; else empty. ``watch_path`` is a page that plays it."""

    id: int
    name: str
    status: StreamStatus
    reason: str
    input_url: str
    input_type: StreamInput
    latency_mode: LatencyMode
    record_enabled: bool
    auto_start: bool
    video_codec: VideoCodec
    audio_codec: AudioCodec
    bitrate_mode: BitrateMode
    keyframe_interval: Number
    qualities: list[Quality]
    pending: list[str]
    outputs: list[Output]
    destinations: list[StreamDestination]
    watch_path: str
    user_id: int
    created_at: Timestamp
    updated_at: Timestamp


class StreamCreated(Given):
    """That there is a new stream."""

    id: int
    name: str
    status: StreamStatus
    message: str


class OutputUrl(Given):
    """Where a stream is played."""

    format: str
    url: str


class StreamStarted(Given):
    """That a stream is on air, or will be as soon as something comes."""

    status: str
    message: str
    stream_id: int
    outputs: list[OutputUrl]


class StreamStopped(Given):
    """That a stream is off air."""

    status: str
    message: str
    stream_id: int


class StreamState(Given):
    """What a stream is doing, as measured. ``uptime`` in seconds, bit rates in kbit/s. ``peak_viewers`` is the most that
    ``current_viewers`` has been since it began: a player of HLS or DASH counts until it has asked for nothing for ten seconds (or
    three long segments)."""

    stream_id: int
    status: StreamStatus
    uptime: int
    current_viewers: int
    peak_viewers: int
    output_bitrate: int
    input_bitrate: int
    frame_rate: float
    resolution: str
    last_updated: Timestamp
