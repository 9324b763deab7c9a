"""Which rungs are made of a source, and which are not while time is short."""

from mediaserver.hub.hub import Hub, HubLimits
from mediaserver.hub.session import Session
from mediaserver.ports import Ladder, PublishGrant, Rung, Wire
from mediaserver.transcode.ladder import Source
from mediaserver.transcode.plan import AUDIO_LANE
from mediaserver.transcode.rungs import Rungs
from protocols.media import Codec
from tests.mediaserver.running import Notes

HD = Source(Codec.H264, 1280, 720, Codec.AAC, 30.0)
LADDER = Ladder((Rung("480p", 480), Rung("360p", 360), Rung("low", 0, bitrate=32_000), Rung("audio", 0)))


def rungs(source: Source = HD, ladder: Ladder = LADDER) -> Rungs:
    hub = Hub(HubLimits(10.0, True, 1 << 20, 10_000, 10), Notes())
    publisher = hub.publish(PublishGrant("show"), Session(Wire.INTERNAL, "test"), lambda _: None)
    made = Rungs(hub, publisher.stream, ladder)
    made.fit(source)
    return made


def encoded(made: Rungs) -> list[str]:
    return [fitted.rung.name for fitted in made.encoded()]


async def test_a_rung_that_is_shed_is_made_again_where_another_source_lets_it_be_copied() -> None:
    made = rungs()
    made.shed.append("480p")
    made.settle()
    assert encoded(made) == ["360p"]
    made.fit(Source(Codec.H264, 854, 480, Codec.AAC, 30.0))
    assert made.shed == [], "nothing is left to restore"
    assert {rung.name: rung.encoder for rung in made.snapshots({})} | {"360p": ""} == {
        "480p": "copy",
        "360p": "",
        "low": "aac",
        "audio": "copy",
    }


async def test_a_rung_that_is_shed_stays_so_while_it_would_be_encoded() -> None:
    made = rungs()
    made.shed.append("480p")
    made.fit(Source(Codec.H264, 1920, 1080, Codec.AAC, 30.0))
    assert (made.shed, encoded(made)) == (["480p"], ["360p"])


async def test_sound_is_encoded_for_those_that_cannot_have_the_source_s() -> None:
    made = rungs()
    assert made.sounds == {3: 32_000}
    made.fit(Source(Codec.H264, 1280, 720, Codec.OPUS, 30.0))
    assert made.sounds == {3: 32_000, AUDIO_LANE: 0}
    made.fit(Source(Codec.H264, 1280, 720, None, 30.0))
    assert made.sounds == {}


async def test_once_given_up_what_is_copied_goes_on() -> None:
    made = rungs()
    made.give_up("no process could be started")
    assert (encoded(made), made.sounds, made.needs_process) == ([], {}, False)
    made.fit(Source(Codec.H264, 854, 480, Codec.AAC, 30.0))
    assert not made.needs_process
