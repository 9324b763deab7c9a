"""Containers that are odd, and not unheard of."""

import io

import numpy as np
import pytest

from mediaserver.ingest import pull_container, pull_recode
from mediaserver.ingest.pull_container import read
from mediaserver.ingest.pull_terms import SourceLost, SourceRefused
from protocols.media import Codec, Packet, Track
from tests.media import Clips


def codecs_in(data: bytes) -> set[Codec]:
    """Whose tracks there are, each with packets."""
    items = list(read(io.BytesIO(data)))
    tracks = {item.kind: item.codec for item in items if isinstance(item, Track)}
    return {tracks[item.kind] for item in items if isinstance(item, Packet)}


@pytest.mark.parametrize("container", ["mkv", "mp4", "flv", "ts"])
def test_words_that_are_no_unicode_are_no_hindrance(container: str, clips: Clips) -> None:
    """As of a camera that says its name in Latin-1."""
    data = clips.get(seconds=0.5, container=container, b_frames=0).read_bytes()
    mark = b"Service01" if container == "ts" else b"Lavf"
    assert mark in data
    assert codecs_in(data.replace(mark, b"\xff" * len(mark))) == {Codec.H264, Codec.AAC}


def test_a_stream_that_nobody_knows_is_left_out(clips: Clips) -> None:
    data = clips.get(seconds=0.5, container="mkv", b_frames=0).read_bytes()
    unknown = data.replace(b"V_MPEG4/ISO/AVC", b"V_NOBODY/KNOWS!")
    assert codecs_in(unknown) == {Codec.AAC}
    with pytest.raises(SourceRefused, match="neither pictures nor sound"):
        codecs_in(unknown.replace(b"A_AAC", b"A_???"))


def test_a_stream_that_comes_later_is_found_at_the_next_try(clips: Clips, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyAV knows those that were there when it began."""

    def demux(*_: object) -> None:
        raise IndexError("list index out of range")

    class Container:
        def __init__(self, container: object) -> None:
            self.streams, self.format = container.streams, container.format  # type: ignore[attr-defined]
            self.demux = demux

    data = clips.get(seconds=0.5, container="ts", b_frames=0).read_bytes()
    with pull_container.av.open(io.BytesIO(data)) as container, pytest.raises(SourceLost, match="other streams"):
        list(pull_container.demux(Container(container)))  # type: ignore[arg-type]


def test_pictures_beyond_any_screen_are_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    tape = io.BytesIO()
    with pull_container.av.open(tape, "w", format="matroska") as output:
        stream = output.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        for _ in range(5):
            output.mux(stream.encode(pull_container.av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8))))
        output.mux(stream.encode(None))
    assert codecs_in(tape.getvalue()) == {Codec.H264}
    monkeypatch.setattr(pull_recode, "MOST_PIXELS", 64 * 47)
    with pytest.raises(SourceRefused, match="too large"):
        codecs_in(tape.getvalue())
