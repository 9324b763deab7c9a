"""Sound that changes on its way: what an encoder gets of it, and what a pull makes of it."""

import io
import subprocess
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from mediaserver.ingest.even_sound import EvenSound
from mediaserver.ingest.pull_container import read
from protocols.media import Codec, MediaKind, Packet, Track
from tests.mediaserver.ingest.test_pull_remux import as_flv
from tests.peers import program


def tone(rate: int, layout: str, sample_format: str, samples: int) -> av.AudioFrame:
    """A sine of 440 Hz with half of the amplitude."""
    wave = 0.5 * np.sin(2 * np.pi * 440 / rate * np.arange(samples))
    channels = 1 if layout == "mono" else 2
    if sample_format == "s16":
        values = np.repeat((wave * 32767).astype(np.int16), channels).reshape(1, -1)
    else:
        values = np.stack([wave.astype(np.float32)] * channels)
    frame = av.AudioFrame.from_ndarray(values, format=sample_format, layout=layout)
    frame.sample_rate = rate
    return frame


def test_frames_are_alike_whatever_comes_in() -> None:
    even = EvenSound("fltp", "stereo", 48_000, 1024)
    kinds = [(48_000, "stereo", "fltp"), (48_000, "mono", "fltp"), (44_100, "stereo", "s16"), (48_000, "stereo", "fltp")]
    out = [piece for kind in kinds for _ in range(10) for piece in even.feed(tone(*kind, kind[0] // 10))]
    assert {(piece.samples, piece.sample_rate, piece.layout.name, piece.format.name) for piece in out} == {
        (1024, 48_000, "stereo", "fltp")
    }
    out += even.finish()
    assert sum(piece.samples for piece in out) == pytest.approx(4 * 48_000, abs=200)
    # Nothing of it is silent, neither side.
    sound = np.hstack([piece.to_ndarray() for piece in out])
    loud = np.sqrt((sound[:, : 48_000 * 4 // 4800 * 4800 - 4800].reshape(2, -1, 4800) ** 2).mean(axis=2))
    assert loud.min() > 0.2
    assert list(even.finish()) == []


def test_a_pull_goes_on_where_sound_changes_its_channels_and_rate(tmp_path: Path) -> None:
    """As a broadcast does between programmes: MPEG-2 layer II, stereo, mono, and then another rate."""
    whole = io.BytesIO()
    for number, (channels, rate) in enumerate([(2, 48_000), (1, 48_000), (2, 32_000), (1, 44_100)]):
        part = tmp_path / f"{number}.ts"
        tone_of = ["-f", "lavfi", "-i", f"sine=frequency=440:sample_rate={rate}:duration=2", "-ac", str(channels)]
        options = ["-c:a", "mp2", "-f", "mpegts", "-output_ts_offset", str(2 * number)]
        subprocess.run([program("ffmpeg"), "-v", "error", "-nostdin", *tone_of, *options, str(part)], check=True)
        whole.write(part.read_bytes())
    whole.seek(0)
    items = list(read(whole))
    assert [item.codec for item in items if isinstance(item, Track)] == [Codec.AAC]
    times = [item.dts for item in items if isinstance(item, Packet) and item.kind is MediaKind.AUDIO]
    assert {two - one for one, two in pairwise(times)} <= {21, 22}, "the clock is never begun anew"
    with av.open(as_flv(items)) as container:
        sound = np.hstack([frame.to_ndarray() for frame in container.decode(audio=0)])
    assert sound.shape[1] / 48_000 == pytest.approx(8, abs=0.3)
    seconds = sound[0, 4_800 : 48_000 * 7 + 4_800].reshape(7, -1)
    assert np.sqrt((seconds**2).mean(axis=1)).min() > 0.02
