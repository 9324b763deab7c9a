"""What is told of a stream is what is made of it."""

from typing import Any

import pytest

from mediaserver.snapshot import RungSnapshot, TrackSnapshot
from protocols.media import Codec
from tests.control.conftest import OpenPanel
from tests.control.engine import stream
from tests.control.panel import Person
from tests.control.streams.conftest import Stage
from tests.control.streams.test_conductor import made


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    return sqlite_url


async def told(person: Person, number: int) -> dict[str, int]:
    outputs: list[dict[str, Any]] = (await person.get(f"/api/streams/{number}")).json["outputs"]
    return {output["resolution"]: output["bitrate"] for output in outputs}


async def played(person: Person, number: int) -> dict[str, tuple[int, int]]:
    """What it says can be played, with its size."""
    outputs: list[dict[str, Any]] = (await person.get(f"/api/streams/{number}")).json["outputs"]
    assert [output["output_path"] for output in outputs] == [
        f"/static/streams/{kind}/stream_{number}{end}.{'m3u8' if kind == 'hls' else 'mpd'}"
        for name in dict.fromkeys(output["resolution"] for output in outputs)
        for end in ["" if name == "source" else f"_{name}"]
        for kind in ("hls", "dash")
    ]
    return {output["resolution"]: (output["width"], output["height"]) for output in outputs}


async def test_the_bit_rate_of_a_quality_is_the_one_that_it_is_encoded_at(engine: Stage, panel: OpenPanel) -> None:
    here = await panel()
    admin = await here.log_in()
    fields = {"name": "x", "input_url": "rtmp://localhost/live/k", "video_codec": "hevc"}
    number = await made(admin, "streams", **fields, qualities=["1080p", "720p", "480p", "audio"])
    # For pictures of 16:9 and 30 frames a second.
    assert await told(admin, number) == {"1080p": 3600, "720p": 1820, "480p": 920, "audio": 128, "source": 0}
    rungs = (
        RungSnapshot("1080p", 1920, 1080, 0, "copy", running=True, reason="the source is like it already"),
        RungSnapshot("720p", 1280, 720, 2_760_000, "libx265", running=True, reason=""),
        RungSnapshot("480p", 0, 0, 0, "", running=False, reason="larger than the source"),
        RungSnapshot("audio", 0, 0, 96_000, "aac", running=True, reason=""),
    )
    engine.show(stream(f"stream_{number}", rungs=rungs))
    here.resident.on_air.forget()
    assert await told(admin, number) == {"1080p": 0, "720p": 2760, "audio": 96, "source": 0}


async def test_on_air_its_outputs_are_what_can_be_played(engine: Stage, panel: OpenPanel) -> None:
    here = await panel()
    admin = await here.log_in()
    fields = {"name": "x", "input_url": "rtmp://localhost/live/k", "qualities": ["1080p", "360p", "240p"]}
    number = await made(admin, "streams", **fields)
    before = {"1080p": (0, 0), "360p": (0, 0), "240p": (0, 0), "source": (0, 0)}
    assert await played(admin, number) == before

    def show(*rungs: RungSnapshot, publishing: bool = True) -> None:
        tracks = (TrackSnapshot(Codec.H264, 480, 360), TrackSnapshot(Codec.AAC))
        engine.show(stream(f"stream_{number}", rungs=rungs, tracks=tracks, publishing=publishing))
        here.resident.on_air.forget()

    larger = RungSnapshot("1080p", 0, 0, 0, "", running=False, reason="larger than the source (480x360)")
    copied = RungSnapshot("360p", 480, 360, 0, "copy", running=True, reason="the source is like it already")
    show()
    assert await played(admin, number) == {"source": (480, 360)}
    show(larger, copied, RungSnapshot("240p", 320, 240, 300_000, "libx264", running=False, reason=""))
    assert await played(admin, number) == {"360p": (480, 360), "source": (480, 360)}
    show(larger, copied, RungSnapshot("240p", 320, 240, 300_000, "libx264", running=True, reason=""))
    assert await played(admin, number) == {"360p": (480, 360), "240p": (320, 240), "source": (480, 360)}
    engine.show()
    here.resident.on_air.forget()
    assert await played(admin, number) == before


async def pending(person: Person, number: int, **changed: Any) -> list[str]:
    """What a change leaves for the next start; what is told later is the same."""
    answer = await person.put(f"/api/streams/{number}", json=changed)
    assert answer.status == 200, answer
    told_later = (await person.get(f"/api/streams/{number}")).json
    assert {name: answer.json[name] for name in changed} == changed
    assert told_later["pending"] == answer.json["pending"]
    return sorted(told_later["pending"])


async def test_what_counts_from_the_next_start_is_told_as_that(engine: Stage, panel: OpenPanel) -> None:
    here = await panel()
    admin = await here.log_in()
    number, other = [await made(admin, "streams", name="x", input_url=f"rtmp://localhost/live/k{n}") for n in range(2)]
    assert await pending(admin, number, latency_mode="high", qualities=["480p"]) == []
    on_air = RungSnapshot("480p", 854, 480, 1_420_000, "libx264", running=True, reason="")
    engine.show(stream(f"stream_{number}", rungs=(on_air,)), stream(f"stream_{other}"))
    here.resident.on_air.forget()
    assert await pending(admin, number, name="Other", record_enabled=True, auto_start=False, destinations=[]) == []
    assert await pending(admin, number, latency_mode="low") == ["latency_mode"]
    assert await pending(admin, number, qualities=["240p"], video_codec="h264") == ["latency_mode", "qualities"]
    assert set(await played(admin, number)) == {"480p", "source"}
    assert await pending(admin, number, latency_mode="high") == ["qualities"]
    assert await pending(admin, other, bitrate_mode="cbr", keyframe_interval=2) == ["bitrate_mode", "keyframe_interval"]
    # Another time on air begins with all of it.
    engine.show(stream(f"stream_{number}", since=2000.0), stream(f"stream_{other}"))
    here.resident.on_air.forget()
    assert await pending(admin, number) == []
    assert await pending(admin, number, audio_codec="aac", latency_mode="normal") == ["latency_mode"]
    assert await pending(admin, other) == ["bitrate_mode", "keyframe_interval"]
    engine.show(stream(f"stream_{number}", since=2000.0))
    here.resident.on_air.forget()
    assert await pending(admin, other) == []
