"""What a transcoder's process makes of sound whose channels or rate change in mid-stream, which packets alone tell."""

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

import av
import numpy as np
import pytest

from mediaserver.transcode.sound import Sound
from mediaserver.worker.frames import Frame, TrackFrame
from protocols import codec, flv
from protocols.codec import AudioParameters
from protocols.media import Codec, MediaKind, Packet, Track
from tests.mediaserver.transcode.material import decoded, sound

LANE = 5
ENCODERS = {Codec.AC3: "ac3", Codec.MP3: "libmp3lame"}
#: Seconds of each piece, and the tone's height and width.
PIECE, HERTZ, AMPLITUDE = 2.0, 440, 0.2


def coded(of: Codec, pieces: Sequence[tuple[str, int]]) -> list[Packet]:
    """A tone on the front left (or only) speaker, one piece after the other, each in another (layout, rate)."""
    packets: list[Packet] = []
    start = 0.0
    for layout, rate in pieces:
        encoder = av.CodecContext.create(ENCODERS[of], "w")
        assert isinstance(encoder, av.AudioCodecContext)
        encoder.sample_rate, encoder.layout, encoder.format = rate, layout, "fltp"
        encoder.time_base, encoder.bit_rate = Fraction(1, rate), 192_000
        channels = encoder.layout.nb_channels
        wave = np.zeros((channels, round(PIECE * rate)), np.float32)
        wave[0] = AMPLITUDE * np.sin(2 * math.pi * HERTZ / rate * np.arange(wave.shape[1]))
        frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        made = [bytes(packet) for packet in (*encoder.encode(frame), *encoder.encode(None))]
        length = 1000 * encoder.frame_size / rate
        for number, data in enumerate(made):
            body = flv.audio_frame(of, data)
            packets.append(Packet(MediaKind.AUDIO, round(start + number * length), True, body, len(body) - len(data)))
        start += len(made) * length
    return packets


def encoded(of: Codec, packets: Sequence[Packet]) -> list[Frame]:
    """What is made of them."""
    made: list[Frame] = []
    work = Sound(made.append)
    work.on_plan({LANE: 0}, Codec.AAC)
    work.on_track(Track(of, b"", b""))
    for packet in packets:
        work.on_packet(packet)
    work.drain()
    return made


def layouts(made: Sequence[Frame]) -> list[tuple[int, int]]:
    """(channels, rate) of each track that was told of."""
    told = [codec.parameters(frame.track) for frame in made if isinstance(frame, TrackFrame)]
    return [(each.channels, each.sample_rate) for each in told if isinstance(each, AudioParameters)]


def loudness(made: Sequence[Frame], start: float, end: float) -> float:
    """Mean level of the front left (or only) speaker from ``start`` to ``end`` (s)."""
    heard = np.concatenate([frame.to_ndarray()[0] for frame in decoded(made)])
    rate = layouts(made)[0][1]
    return float(np.sqrt((heard[int(start * rate) : int(end * rate)] ** 2).mean()))


@pytest.mark.parametrize(
    ("of", "pieces"),
    [
        (Codec.AC3, [("5.1", 48000), ("stereo", 48000), ("5.1", 48000)]),
        (Codec.MP3, [("stereo", 44100), ("mono", 44100), ("stereo", 44100)]),
        (Codec.MP3, [("stereo", 48000), ("mono", 44100), ("stereo", 32000)]),
    ],
)
def test_fewer_channels_or_samples_are_heard_in_what_there_is_without_a_break(of: Codec, pieces: list[tuple[str, int]]) -> None:
    packets = coded(of, pieces)
    made = encoded(of, packets)
    layout, rate = pieces[0]
    assert layouts(made) == [(av.AudioLayout(layout).nb_channels, rate)], "players are told of nothing new"
    stamps = [packet.dts for packet in sound(made)]
    assert abs(stamps[-1] - packets[-1].dts) < 80
    assert all(15 <= two - one <= 29 for one, two in pairwise(stamps[2:])), "no gap, no overlap"
    for number, (layout, _) in enumerate(pieces):
        # A mono sound is as strong from two speakers as from one.
        wanted = AMPLITUDE / math.sqrt(2) * (math.sqrt(0.5) if layout == "mono" else 1.0)
        assert loudness(made, number * PIECE + 0.5, number * PIECE + 1.5) == pytest.approx(wanted, rel=0.15)


@pytest.mark.parametrize(
    ("of", "pieces", "told"),
    [
        (Codec.AC3, [("stereo", 48000), ("5.1", 48000), ("stereo", 48000), ("5.1", 48000)], [(2, 48000), (6, 48000)]),
        (Codec.MP3, [("mono", 48000), ("stereo", 48000), ("mono", 48000)], [(1, 48000), (2, 48000)]),
        (Codec.MP3, [("stereo", 44100), ("mono", 48000), ("stereo", 44100)], [(2, 44100), (2, 48000)]),
    ],
)
def test_more_channels_or_samples_are_told_of_once_and_nothing_is_lost_from_then_on(
    of: Codec, pieces: list[tuple[str, int]], told: list[tuple[int, int]]
) -> None:
    packets = coded(of, pieces)
    made = encoded(of, packets)
    assert layouts(made) == told
    stamps = [packet.dts for packet in sound(made)]
    assert abs(stamps[-1] - packets[-1].dts) < 80
    assert stamps == sorted(stamps)
    assert all(two - one <= 50 for one, two in pairwise(stamps)), "no gap"


def test_a_new_time_has_parameters_of_its_own() -> None:
    packets = coded(Codec.AC3, [("5.1", 48000), ("stereo", 48000)])
    next(packet for packet in packets if packet.dts >= PIECE * 1000 + 32).discontinuity = True
    made = encoded(Codec.AC3, packets)
    assert layouts(made) == [(6, 48000), (2, 48000)]
    assert sum(packet.discontinuity for packet in sound(made)) == 1
