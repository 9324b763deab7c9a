"""The end of a stream in its renditions: what their encoders still hold comes before anybody is told of it."""

import asyncio
from pathlib import Path

from mediaserver.config import Config, RecordingConfig, RtmpConfig, ServerConfig
from mediaserver.events import RecordingFinished
from mediaserver.ports import Ladder, PublishGrant, PublishRequest, RecordingOrder, Rung
from tests.conftest import Serve
from tests.e2e.players import LivePlayer, Seen, complaints, watch
from tests.e2e.rtmp import RtmpClient, tags_of
from tests.media import Clips
from tests.mediaserver.running import Running, running

#: Pictures of the clip, which is sent once.
PICTURES = 150
LADDER = Ladder((Rung("144p", 144), Rung("low", 0, bitrate=32_000)))


def clip(clips: Clips) -> Path:
    return clips.get(width=320, height=256, seconds=PICTURES / 25)


def test_players_and_playlists_of_a_rung_have_the_last_picture_of_a_stream_that_ends_at_once(serve: Serve, clips: Clips) -> None:
    server = serve(transcode={"ladder": ["240p"]}, hls={"always": True, "window": 20}, rtmp={"reconnect_grace": 0.0})
    with RtmpClient(server.rtmp("show")).publish() as publisher:
        sending = publisher.pace(tags_of(clip(clips)))
        while "show@240p" not in server.live():
            next(sending)
        with LivePlayer(server.rtmp("show@240p")) as player, LivePlayer(server.url("/live/show@240p.flv")) as http:
            for _ in sending:
                pass
            publisher.goodbye()
            player.wait_end()
            http.wait_end()
    for seen in (player.seen, http.seen):
        assert seen.numbers[-1] == PICTURES - 1
        assert complaints(seen, period=PICTURES) == []
    listed = watch(server.url("/live/show@240p/index.m3u8"))
    assert listed.numbers == list(range(listed.numbers[0], PICTURES))
    assert listed.seconds_of_sound > 4


async def test_a_server_that_stops_has_recorded_the_last_picture_of_a_rung_and_the_sound_that_belongs_to_it(
    clips: Clips, tmp_path: Path
) -> None:
    config = Config(
        server=ServerConfig(data_dir=str(tmp_path)),
        rtmp=RtmpConfig(reconnect_grace=20.0),
        recording=RecordingConfig(min_free_bytes=0),
    )
    async with running(config) as town:
        record(town, "", "144p", "low")
        publisher = RtmpClient(f"rtmp://127.0.0.1:{town.engine.config.rtmp.port}/live/show")
        await asyncio.to_thread(send, publisher, clip(clips))
        assert town.names() == {"show", "show@144p", "show@low"}
    publisher.abort()
    seen = {event.recording_id: watch(Path(event.path)) for event in finished(town)}
    assert seen["source"].numbers == list(range(PICTURES))
    # It begins with a keyframe, as soon as its process runs.
    first = seen["144p"].numbers[0]
    assert seen["144p"].numbers == list(range(first, PICTURES))
    assert first % 25 == 0
    assert abs(sound_behind_pictures(seen["144p"]) - sound_behind_pictures(seen["source"])) < 0.1
    assert seen["low"].seconds_of_sound > 3
    size = {event.recording_id: event.bytes for event in finished(town)}
    assert size["low"] * 8 / seen["low"].seconds_of_sound < 48_000, "32 kbit/s, and what a file needs to say where it lies"


def record(town: Running, *renditions: str) -> None:
    """Let every publisher have the ladder, and these renditions of it recorded."""
    orders = tuple(RecordingOrder(rung or "source", rendition=rung) for rung in renditions)

    async def may_publish(request: PublishRequest) -> PublishGrant:
        return PublishGrant(request.key, ladder=LADDER, recordings=orders)

    town.door.may_publish = may_publish  # type: ignore[method-assign]


def send(publisher: RtmpClient, file: Path) -> None:
    """Publish all of ``file`` in real time. The connection stays."""
    publisher.publish()
    for _ in publisher.pace(tags_of(file)):
        pass


def finished(town: Running) -> list[RecordingFinished]:
    return [event for event in town.notes.events if isinstance(event, RecordingFinished)]


def sound_behind_pictures(seen: Seen) -> float:
    """How much longer (seconds) the sound is than until the last picture."""
    begin, length = seen.sound[-1]
    return begin + length - seen.times[-1]
