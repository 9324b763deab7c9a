"""What is told of a stream is what is made of it."""

from typing import Any

from mediaserver.snapshot import RungSnapshot
from tests.control.conftest import OpenPanel
from tests.control.engine import stream
from tests.control.panel import Person
from tests.control.streams.conftest import Stage
from tests.control.streams.test_conductor import made


async def told(person: Person, number: int) -> dict[str, int]:
    outputs: list[dict[str, Any]] = (await person.get(f"/api/streams/{number}")).json["outputs"]
    return {output["resolution"]: output["bitrate"] for output in outputs}


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
    assert await told(admin, number) == {"1080p": 0, "720p": 2760, "480p": 0, "audio": 96, "source": 0}
