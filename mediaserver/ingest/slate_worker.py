"""The process that makes a slate: a few seconds of picture and sound like the source's, to be shown over and over.

A plain picture and silence, or what is in a file, with the source's codecs, size, frame rate, sample rate and channels. It sends
the tracks, the packets (lane 0), and then ``{"done": true}`` or ``{"failed": words}``.
"""

import io
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, cast

import av
import numpy as np
import numpy.typing as npt

from mediaserver.ingest.even_sound import EvenSound
from mediaserver.ingest.pull_container import LIMITS, deny, read
from mediaserver.ingest.pull_file import allowed, open_file
from mediaserver.ingest.pull_terms import SourceLost, SourceRefused
from mediaserver.ingest.upright import COLOUR_NAMES, NARROW, Filters, Upright, usual_colours
from mediaserver.worker.child import Pipe, end_with_server, main
from mediaserver.worker.frames import Frame, Note, PacketFrame, TrackFrame
from mediaserver.worker.priority import stand_back
from protocols.errors import ProtocolError
from protocols.media import Track

#: Seconds that a still picture is encoded for, and at most of a file.
STILL, LONGEST = 2, 60
#: Bytes of a whole slate.
MOST_BYTES = 24 << 20

#: FFmpeg's encoders by codec, with what makes them fast and keeps pictures in order. H.264's parameter sets have a number of
#: their own and come with every keyframe: players that overlook new ones in an init segment show source and slate all the same.
_PICTURES: dict[str, tuple[str, dict[str, str]]] = {
    "h264": (
        "libx264",
        {"preset": "veryfast", "tune": "zerolatency", "crf": "24", "x264-params": "log=-1:threads=1:sps-id=31:repeat-headers=1"},
    ),
    "hevc": ("libx265", {"preset": "ultrafast", "tune": "zerolatency", "crf": "28", "x265-params": "log-level=none:pools=1"}),
    "av1": ("libsvtav1", {"preset": "12", "crf": "45", "svtav1-params": "lp=1:pred-struct=1"}),
    "vp9": ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "crf": "35", "b": "0"}),
}
_SOUNDS = {"aac": "aac", "opus": "libopus", "mp3": "libmp3lame", "ac3": "ac3", "eac3": "eac3", "flac": "flac"}
_SURROUND = frozenset({"aac", "ac3", "eac3", "flac"})
_SOUND_BITRATE = 96_000
#: What a file may be: what a pull may, and still images.
_FORMATS = "mpegts,flv,mov,matroska,webm,avi,mpeg,png_pipe,jpeg_pipe,webp_pipe,bmp_pipe"

Plane = npt.NDArray[np.uint8]


def work(settings: Mapping[str, object], pipe: Pipe, frames: Iterator[Frame]) -> None:
    """Make the slate that ``settings`` describe (see SlateForm.settings)."""
    end_with_server(frames)  # one that encodes would not notice that nobody waits for it
    try:
        tape = io.BytesIO()
        with av.open(tape, "w", format="matroska") as output:  # carries all of the codecs
            _Kitchen(settings, output, tape).cook()
        tape.seek(0)
        for item in read(tape, formats="matroska,webm"):
            pipe.send(TrackFrame(0, item) if isinstance(item, Track) else PacketFrame(0, item))
        pipe.send(Note({"done": True}))
    except (SourceLost, SourceRefused, ProtocolError, av.FFmpegError, OSError, ValueError, MemoryError) as error:
        if isinstance(error, BrokenPipeError):
            raise
        pipe.send(Note({"failed": getattr(error, "strerror", None) or str(error) or type(error).__name__}))


class _Kitchen:
    """Encodes one slate into ``output``, which writes to ``tape``."""

    def __init__(self, settings: Mapping[str, object], output: av.container.OutputContainer, tape: io.BytesIO) -> None:
        self._output, self._tape = output, tape
        self._width, self._height = cast("int", settings["width"]) & ~1, cast("int", settings["height"]) & ~1
        self._frame_rate = cast("int", settings["frame_rate"])
        self._sample_rate, self._channels = cast("int", settings["sample_rate"]), cast("int", settings["channels"])
        self._video, self._audio = str(settings["video"]), str(settings["audio"])
        path = str(settings["path"])
        self._path = allowed(path, tuple(cast("list[str]", settings["roots"]))) if path else None

    def cook(self) -> None:
        """Pictures first, then as much sound."""
        picture = self._picture_stream() if self._width and self._height else None
        sound = self._sound_stream() if self._sample_rate else None
        self._output.start_encoding()
        stand_back()
        seconds: float = STILL
        if picture is not None:
            number = 0
            for number, frame in enumerate(self._pictures(), 1):
                frame.pts, frame.time_base = number - 1, Fraction(1, self._frame_rate)
                frame.pict_type = av.video.frame.PictureType.NONE
                self._output.mux(picture.encode(frame))
                if self._tape.tell() > MOST_BYTES or number >= LONGEST * self._frame_rate:
                    break
            seconds = number / self._frame_rate
            self._output.mux(picture.encode(None))
        if sound is not None:
            self._sounds(sound, round((seconds if picture is not None or self._path is None else LONGEST) * self._sample_rate))

    # -- pictures -----------------------------------------------------------------------------------------------------------

    def _picture_stream(self) -> av.VideoStream:
        name, options = _PICTURES.get(self._video, _PICTURES["h264"])
        stream = cast("av.VideoStream", self._output.add_stream(name, rate=self._frame_rate, options=options))
        stream.width, stream.height, stream.pix_fmt = self._width, self._height, "yuv420p"
        stream.codec_context.gop_size = STILL * self._frame_rate
        colours = usual_colours(self._height)
        stream.codec_context.color_range, stream.codec_context.colorspace = NARROW, colours
        stream.codec_context.color_primaries, stream.codec_context.color_trc = colours, colours
        return stream

    def _pictures(self) -> Iterator[av.VideoFrame]:
        count, frame = 0, None
        if self._path is not None:
            for frame in self._file_pictures(self._path):
                count += 1
                yield frame
        if count > 1:
            return
        # A still image, or none: it stands for as long as a group of pictures lasts.
        if frame is None:
            frame = av.VideoFrame.from_ndarray(card(self._width, self._height), format="yuv420p")
        for _ in range(STILL * self._frame_rate - count):
            yield frame

    def _file_pictures(self, path: Path) -> Iterator[av.VideoFrame]:
        with open_file(path) as file, _open(file) as container:
            if not container.streams.video:
                return
            stream, upright = container.streams.video[0], Upright(self._fitting)
            for frame in container.decode(video=0):
                yield from upright.feed(frame, stream.codec_context.sample_aspect_ratio or stream.sample_aspect_ratio)
            yield from upright.finish()

    def _fitting(self, frame: av.VideoFrame) -> Filters:  # noqa: ARG002
        """What brings pictures to the size, with bars where the shape is another, and to the frame rate and the colours."""
        size, name = f"{self._width}:{self._height}", COLOUR_NAMES[usual_colours(self._height)]
        fit = "force_original_aspect_ratio=decrease:force_divisible_by=2:reset_sar=1"
        return (
            f"scale={size}:{fit}:out_range=tv:out_color_matrix={name}",
            f"pad={size}:(ow-iw)/2:(oh-ih)/2",
            "setsar=1",
            f"fps={self._frame_rate}:eof_action=pass",  # or an image, said to last 1/25 s, is less than one picture
            "format=yuv420p",
        )

    # -- sound --------------------------------------------------------------------------------------------------------------

    def _sound_stream(self) -> av.AudioStream:
        name = _SOUNDS.get(self._audio, "aac")
        rate = 48_000 if name == "libopus" else self._sample_rate
        layout = "mono" if self._channels == 1 else "5.1" if self._channels == 6 and name in _SURROUND else "stereo"
        stream = cast("av.AudioStream", self._output.add_stream(name, rate=rate, layout=layout))
        stream.bit_rate = _SOUND_BITRATE
        return stream

    def _sounds(self, stream: av.AudioStream, samples: int) -> None:
        context = stream.codec_context
        context.open(strict=False)
        size = context.frame_size or 1024
        even = EvenSound(context.format.name, context.layout.name, context.sample_rate, size)
        given = 0
        for frame in self._file_sounds():
            for piece in even.feed(frame):
                given = self._mux_sound(stream, piece, given)
            if given >= samples:
                break
        while given < samples:
            given = self._mux_sound(stream, _silence(context, size), given)
        self._output.mux(stream.encode(None))

    def _file_sounds(self) -> Iterator[av.AudioFrame]:
        if self._path is not None:
            with open_file(self._path) as file, _open(file) as container:
                if container.streams.audio:
                    yield from container.decode(audio=0)

    def _mux_sound(self, stream: av.AudioStream, frame: av.AudioFrame, given: int) -> int:
        frame.pts, frame.time_base = given, Fraction(1, stream.codec_context.sample_rate)
        self._output.mux(stream.encode(frame))
        return given + frame.samples


def _open(file: BinaryIO) -> av.container.InputContainer:
    options = {**LIMITS, "format_whitelist": _FORMATS, "protocol_whitelist": "none"}
    return av.open(file, mode="r", options=options, io_open=deny, metadata_errors="replace")


def _silence(context: av.AudioCodecContext, size: int) -> av.AudioFrame:
    frame = av.AudioFrame(format=context.format.name, layout=context.layout.name, samples=size)
    for plane in frame.planes:
        plane.update(bytes(plane.buffer_size))
    frame.sample_rate = context.sample_rate
    return frame


def card(width: int, height: int) -> Plane:
    """A calm dark picture, planar YUV 4:2:0 of narrow range, shape (height * 3 / 2, width): light falls off towards the
    edges, and a ring with a gap stands in the middle, which everybody takes for a wait."""
    down, across = np.mgrid[0:height, 0:width].astype(np.float32)
    down, across = (down - height / 2) / height, (across - width / 2) / height
    distance = np.hypot(down, across)
    luma = 44 - 18 * np.clip(distance / 0.9, 0, 1)
    ring = np.clip(1.5 - np.abs(distance - 0.12) * height / max(2.0, height * 0.012), 0, 1)
    gap = (down < 0) & (np.abs(across) < 0.05)
    luma += np.where(gap, 0, 130 * ring)
    frame = np.empty((height * 3 // 2, width), np.uint8)
    frame[:height] = luma.astype(np.uint8)
    flat = frame.reshape(-1)[width * height :]
    # A little towards blue.
    flat[: flat.size // 2], flat[flat.size // 2 :] = 134, 124
    return frame


if __name__ == "__main__":
    main(work)
