"""FLV between us and libavformat, in both directions, with packets from real encoders."""

import io
from typing import Any

import av
import pytest

from protocols import flv
from protocols.flv import AUDIO, VIDEO, FlvReader, TagReader
from protocols.media import Codec, MediaKind, Packet, Track
from protocols.mp4.fragment import timescale
from protocols.timebase import rescale
from tests.protocols.mp4.encoded import ENCODERS, Encoded, encoded

#: Codecs whose configuration the first packet completes: in FLV they have none, or less.
INCOMPLETE = (Codec.AV1, Codec.VP9, Codec.MP3, Codec.AC3, Codec.EAC3)


def muxed(clip: Encoded) -> bytes:
    """The clip as libavformat writes it to FLV."""
    target = io.BytesIO()
    with av.open(io.BytesIO(clip.file), options={"ignore_editlist": "1"}) as source, av.open(target, "w", format="flv") as file:
        stream: Any = file.add_stream_from_template(source.streams[0], opaque=True)
        for packet in source.demux(source.streams[0]):
            if packet.size:
                packet.stream = stream
                file.mux(packet)
    return target.getvalue()


def written(clip: Encoded) -> bytes:
    """The clip as we write it to FLV."""
    track, scale = clip.track, timescale(clip.track)
    video = track.kind is MediaKind.VIDEO
    tags = [flv.file_header(not video, video)]
    if track.codec not in (Codec.MP3, Codec.AC3, Codec.EAC3):
        body = (
            flv.video_sequence_header(track.codec, track.config)
            if video
            else flv.audio_sequence_header(track.codec, track.config)
        )
        tags.append(flv.write_tag(VIDEO if video else AUDIO, 0, body))
    time = 0
    for sample in clip.samples:
        cts = rescale(sample.composition_offset, scale, 1000)
        body = (
            flv.video_frame(track.codec, sample.keyframe, cts, sample.data)
            if video
            else flv.audio_frame(track.codec, sample.data)
        )
        tags.append(flv.write_tag(VIDEO if video else AUDIO, rescale(time, scale, 1000), body))
        time += sample.duration
    return b"".join(tags)


def read(file: bytes) -> tuple[list[Track], list[Packet], TagReader]:
    """What our reader makes of a file."""
    reader, tracks, packets = TagReader(), [], []
    for type_id, timestamp, body in FlvReader().receive_data(file):
        word = reader.read(type_id, timestamp, body)
        if isinstance(word, Track):
            tracks.append(word)
            word = None if word.body else reader.read(type_id, timestamp, body)
        if isinstance(word, Packet):
            packets.append(word)
    return tracks, packets, reader


@pytest.mark.parametrize("codec", ENCODERS)
def test_what_libavformat_writes_we_read(codec):
    clip = encoded(codec)
    tracks, packets, reader = read(muxed(clip))
    assert [track.codec for track in tracks] == [codec]
    assert codec in INCOMPLETE or tracks[0].config == clip.track.config
    assert [packet.payload for packet in packets] == [sample.data for sample in clip.samples]
    assert [packet.keyframe for packet in packets] == [sample.keyframe for sample in clip.samples]
    scale = timescale(clip.track)
    start, time = packets[0].dts, 0
    for packet, sample in zip(packets, clip.samples, strict=True):
        assert abs(packet.dts - start - time * 1000 / scale) <= 1
        assert codec not in (Codec.H264, Codec.HEVC) or abs(packet.cts - sample.composition_offset * 1000 / scale) <= 1
        time += sample.duration
    assert reader.ignored == 0


@pytest.mark.parametrize("codec", ENCODERS)
def test_what_we_write_libavformat_reads(codec):
    clip = encoded(codec)
    with av.open(io.BytesIO(written(clip)), format="flv") as container:
        packets = [packet for packet in container.demux() if packet.size]
        [stream] = container.streams
    assert stream.codec_context.codec.id == av.codec.Codec(codec.value, "r").id
    assert [bytes(packet) for packet in packets] == [sample.data for sample in clip.samples]
    if codec.kind is MediaKind.VIDEO:
        assert [packet.is_keyframe for packet in packets] == [sample.keyframe for sample in clip.samples]


@pytest.mark.parametrize(
    "codec", [Codec.H264, Codec.HEVC, Codec.VP9, Codec.AAC, Codec.OPUS, Codec.FLAC, Codec.AC3, Codec.EAC3, Codec.MP3]
)
def test_what_we_write_decodes(codec):
    clip = encoded(codec)
    with av.open(io.BytesIO(written(clip)), format="flv") as container:
        stream = container.streams[0]
        stream.codec_context.thread_count = 1
        frames = list(container.decode(stream))
    with av.open(io.BytesIO(clip.file), options={"ignore_editlist": "1"}) as container:
        stream = container.streams[0]
        stream.codec_context.thread_count = 1
        expected = list(container.decode(stream))
    assert len(frames) == len(expected)
    assert all((frame.to_ndarray() == other.to_ndarray()).all() for frame, other in zip(frames, expected, strict=True))
