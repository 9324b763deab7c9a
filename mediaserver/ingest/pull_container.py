"""What FFmpeg's demuxers read: files, MPEG-2 TS, Matroska, MP4, RTSP, opened within limits. Runs in a worker process."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import av

from mediaserver.ingest.pull_order import in_order
from mediaserver.ingest.pull_recode import RecodedPictures, RecodedSound, UprightPictures
from mediaserver.ingest.pull_remux import CARRIED, AnyPacket, Copied, Lane, codec_of
from mediaserver.ingest.pull_terms import SourceLost, SourceRefused
from protocols.media import MediaKind, Packet, Track

av.logging.set_level(None)

#: What a demuxer may take to find out what it has: streams, bytes, and microseconds of media.
LIMITS = {"max_streams": "32", "probesize": str(2 << 20), "analyzeduration": str(3_000_000), "max_probe_packets": "1000"}
#: Demuxers that open nothing else by themselves.
FORMATS = "mpegts,flv,mov,matroska,webm,mp3,aac,ogg,wav,avi,flac,mpeg"
#: Those of containers that can say that a picture is to be turned, as telephones do.
_TURNING = frozenset({"mov", "matroska"})

_Stream: TypeAlias = av.VideoStream | av.AudioStream
_ATTACHED = av.stream.Disposition.attached_pic


def deny(url: str, flags: int, options: Mapping[str, str]) -> Any:  # noqa: ARG001
    """A container that wants to open something else does not get it."""
    raise PermissionError("a container refers to something outside of itself")


def read(
    source: Any,
    *,
    formats: str = FORMATS,
    name: str | None = None,
    span: int = 0,
    slack: int = 0,
    patience: float = math.inf,
) -> Iterator[Track | Packet]:
    """Everything in ``source`` (an object with ``read``) as tracks and packets, timestamps in ms on its own clock.

    As the container has it where ``span`` is 0; else in the order of their times, as far as it keeps one kind no more than
    ``span`` ms before the other, give or take ``slack`` ms, and as nothing has to wait ``patience`` seconds for it.

    Raises SourceLost for what cannot be read, SourceRefused where there is nothing in it.
    """
    options = {**LIMITS, "format_whitelist": formats, "protocol_whitelist": "none"}
    try:
        with av.open(source, format=name, options=options, io_open=deny, metadata_errors="replace") as container:
            yield from demux(container, span, slack, patience)
    except av.FFmpegError as error:
        raise unreadable(error) from None


def unreadable(error: av.FFmpegError) -> SourceLost:
    """``error`` without the address that may be in it."""
    return SourceLost(f"it cannot be read: {error.strerror or type(error).__name__}")


def demux(
    container: av.container.InputContainer, span: int = 0, slack: int = 0, patience: float = math.inf
) -> Iterator[Track | Packet]:
    """Likewise, of what has been opened."""
    chosen = list(_lanes(container))
    if not chosen:
        raise SourceRefused("the source has neither pictures nor sound that can be decoded")
    items = _items(container, chosen)
    if not span or len(chosen) < 2:
        return items
    kinds = [MediaKind.VIDEO if isinstance(stream, av.VideoStream) else MediaKind.AUDIO for stream, _ in chosen]
    return in_order(items, kinds, span, slack, patience)


def _items(container: av.container.InputContainer, chosen: list[tuple[_Stream, Lane]]) -> Iterator[Track | Packet]:
    lanes = {stream.index: lane for stream, lane in chosen}
    started = not any(isinstance(stream, av.VideoStream) for stream, _ in chosen)
    for packet in _packets(container, [stream for stream, _ in chosen]):
        if packet.size:
            for item in lanes[packet.stream_index].feed(packet):
                # What comes before the first keyframe nobody can show.
                if not started and isinstance(item, Packet) and item.kind is MediaKind.VIDEO:
                    if not item.keyframe:
                        continue
                    started = True
                yield item
    for lane in lanes.values():
        yield from lane.finish()


def _packets(container: av.container.InputContainer, streams: list[_Stream]) -> Iterator[AnyPacket]:
    try:
        yield from container.demux(streams)
    except IndexError:  # PyAV's, of a stream that was not there when it began
        raise SourceLost("the source has other streams than it had") from None


def _lanes(container: av.container.InputContainer) -> Iterator[tuple[_Stream, Lane]]:
    """The first stream of pictures and the first of sound, each with what becomes of it."""
    for picture in container.streams.video:
        if _is_known(picture) and not picture.disposition & _ATTACHED:
            yield picture, _picture_lane(picture, container)
            break
    for sound in container.streams.audio:
        if _is_known(sound) and sound.codec_context.sample_rate:
            codec = codec_of(sound)
            yield sound, Copied(codec, sound) if codec is not None and codec in CARRIED else RecodedSound(sound)
            break


def _picture_lane(picture: av.VideoStream, container: av.container.InputContainer) -> Lane:
    codec = codec_of(picture)
    if codec is None or codec not in CARRIED:
        return RecodedPictures(picture)
    return UprightPictures(codec, picture) if _TURNING & {*container.format.name.split(",")} else Copied(codec, picture)


def _is_known(stream: _Stream) -> bool:
    """Whether FFmpeg knows the codec; it has no context otherwise, whatever the stub says."""
    return getattr(stream, "codec_context", None) is not None
