"""The worker that writes one recording as a plain MP4: ``python -m mediaserver.recording.remux_worker``, see ``remux``.

It is told ``file`` and ``target`` in its settings, tells how far it is with Notes, and at last that it is ``done``, or why not.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import av

from mediaserver.recording.sprites import FORMATS
from mediaserver.worker.child import Pipe, main
from mediaserver.worker.frames import Frame, Note

#: What MP4 carries as it is (ISO/IEC 14496-12 and -14, and what is registered at mp4ra.org), by FFmpeg's names.
CARRIED = frozenset({"h264", "hevc", "av1", "vp9", "aac", "mp3", "opus", "flac", "ac3", "eac3"})
#: Packets between two words of how far it is.
PROGRESS = 500


class CannotCarry(Exception):
    """The recording would have to be encoded anew; it says why."""


def work(settings: Mapping[str, object], pipe: Pipe, _frames: Iterator[Frame]) -> None:
    """Write the movie, and say how it went."""
    av.logging.set_level(None)
    try:
        # A server that is gone is found out by telling it something.
        remux(Path(str(settings["file"])), Path(str(settings["target"])), lambda: pipe.send(Note({})))
    except (av.FFmpegError, OSError, ValueError, MemoryError, CannotCarry) as error:
        if isinstance(error, BrokenPipeError):
            raise
        words = str(error) if isinstance(error, CannotCarry) else getattr(error, "strerror", None) or str(error)
        pipe.send(Note({"failure": words or type(error).__name__}))
    else:
        pipe.send(Note({"done": True}))


def remux(file: Path, target: Path, progress: Callable[[], None]) -> None:
    """Write the packets of ``file`` to ``target`` as an MP4 whose tables come first.

    Raises CannotCarry, av.FFmpegError (it is not what its name says; the disk is full).
    """
    # Its own format and nothing but a file: a list of addresses under another name is not followed.
    only_files = {"protocol_whitelist": "file"}
    with av.open(f"file:{file}", format=FORMATS[file.suffix.lower()], options=only_files) as source:
        tracks = [stream for stream in source.streams if stream.type in ("video", "audio")]
        if not tracks:
            raise CannotCarry("there is neither picture nor sound in it")
        for track in tracks:
            codec = track.codec_context.codec.canonical_name if track.codec_context is not None else "an unknown codec"
            if codec not in CARRIED:
                raise CannotCarry(f"{codec} has no place in MP4, and nothing is encoded anew")
        with av.open(f"file:{target}", "w", format="mp4", options={"movflags": "faststart"}) as output:
            streams = {track.index: output.add_stream_from_template(track, opaque=True) for track in tracks}
            _copy(source, output, streams, progress)


class _Track:
    """One track on its way: its packets from 0 on, each with a time of decoding."""

    def __init__(self, stream: Any, begin: float) -> None:
        self._stream = stream
        self._begin = begin
        self._early: list[Any] = []  # whose times of decoding are not told, which is so at the beginning of Matroska
        self._last: int | None = None

    def take(self, packet: Any) -> Iterator[Any]:
        """What is ready to be written with one packet more."""
        shift = round(self._begin / packet.time_base)
        packet.pts = None if packet.pts is None else packet.pts - shift
        packet.dts = None if packet.dts is None else packet.dts - shift
        if packet.dts is None and self._last is None:
            self._early.append(packet)
            return
        if packet.dts is None:
            packet.dts = (self._last or 0) + 1
        early, self._early = self._early, []
        for place, each in enumerate(early):
            each.dts = packet.dts - (len(early) - place) * max(each.duration or 1, 1)
        for each in (*early, packet):
            self._last = each.dts
            each.stream = self._stream
            yield each

    def rest(self) -> Iterator[Any]:
        """What was left waiting: of a track that never told."""
        early, self._early = self._early, []
        for each in early:
            each.dts = each.pts
            yield from self.take(each)


def _copy(source: Any, output: Any, streams: Mapping[int, Any], progress: Callable[[], None]) -> None:
    tracks = {index: _Track(stream, (source.start_time or 0) / av.time_base) for index, stream in streams.items()}
    count = 0
    for packet in source.demux([source.streams[index] for index in streams]):
        if not packet.size:
            continue
        for ready in tracks[packet.stream.index].take(packet):
            output.mux(ready)
        count += 1
        if count % PROGRESS == 0:
            progress()
    for track in tracks.values():
        for ready in track.rest():
            output.mux(ready)


if __name__ == "__main__":
    main(work)
