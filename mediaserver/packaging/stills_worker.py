"""The worker that makes still images: ``python -m mediaserver.packaging.stills_worker``, see ``stills``.

A Note says that it is there. An order is a Note with the ``widths`` that are wanted, a track and a keyframe; the answer is a Blob
for each width, numbered by it, and a Note that says why if there are none.
"""

from collections.abc import Iterator, Mapping, Sequence

import av

from mediaserver.worker import jpeg
from mediaserver.worker.child import Pipe, main
from mediaserver.worker.frames import Blob, Frame, Note, PacketFrame, TrackFrame
from protocols.media import Codec, Packet, Track

#: The largest picture that is decoded: a few bytes may claim to be any size.
_MAX_PIXELS = 8192 * 8192
#: Where FFmpeg's own decoder is not the one of its codec's name.
_DECODERS = {Codec.AV1: "libdav1d", Codec.H263: "flv"}


def work(_settings: Mapping[str, object], pipe: Pipe, frames: Iterator[Frame]) -> None:
    """Serve orders until the server closes the socket."""
    av.logging.set_level(None)
    pipe.send(Note({}))
    widths: Sequence[int] = ()
    track: Track | None = None
    for frame in frames:
        match frame:
            case Note(values):
                widths = _numbers(values.get("widths"))
            case TrackFrame(_, declared):
                track = declared
            case PacketFrame(_, packet) if track is not None:
                _serve(pipe, track, packet, widths)
            case _:
                raise ValueError(f"not an order: {frame!r}")


def _serve(pipe: Pipe, track: Track, packet: Packet, widths: Sequence[int]) -> None:
    try:
        images = _images(track, packet, widths)
    except (av.FFmpegError, ValueError, MemoryError) as error:
        pipe.send(Note({"failure": f"{type(error).__name__}: {getattr(error, 'strerror', None) or error}"}))
        return
    for width, image in images.items():
        pipe.send(Blob(width, image))
    pipe.send(Note({"failure": ""}))


def _images(track: Track, packet: Packet, widths: Sequence[int]) -> dict[int, bytes]:
    context = av.CodecContext.create(_DECODERS.get(track.codec, track.codec.value), "r")
    if not isinstance(context, av.VideoCodecContext):
        raise TypeError(f"{track.codec.value} is no picture")
    context.extradata = track.config or None
    context.thread_count = 1
    context.options = {"max_pixels": str(_MAX_PIXELS)}
    # One access unit and the end of the stream: the decoder has nothing to wait for.
    decoded = [*context.decode(av.Packet(packet.payload)), *context.decode(None)]
    if not decoded or decoded[0].is_corrupt:
        raise ValueError("the keyframe gives no whole picture")
    aspect = context.sample_aspect_ratio
    if decoded[0].rotation % 180 and aspect:
        aspect = 1 / aspect
    frame = jpeg.upright(decoded[0])
    return {width: jpeg.encode(jpeg.scaled(frame, width, aspect)) for width in widths}


def _numbers(values: object) -> list[int]:
    return [number for number in values if isinstance(number, int)] if isinstance(values, list) else []


if __name__ == "__main__":
    main(work)
