"""The end of a stream in its renditions: what their encoders still hold comes before anybody is told of it."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

from mediaserver.config import Config, RecordingConfig, RtmpConfig, ServerConfig
from mediaserver.events import RecordingFinished
from mediaserver.ports import Ladder, PublishGrant, PublishRequest, RecordingOrder, Rung
from protocols.flv import VIDEO
from tests.conftest import Serve
from tests.e2e.players import LivePlayer, Seen, complaints, watch
from tests.e2e.rtmp import RtmpClient, Tag, tags_of
from tests.media import Clips
from tests.mediaserver.running import Running, running

#: Pictures of the clip, which is sent once, and no longer than is needed: a transcoder may take its time to start.
PICTURES = 600
#: Seconds within which renditions are there on a busy machine.
PATIENCE = 25.0
LADDER = Ladder((Rung("144p", 144), Rung("low", 0, bitrate=32_000)))


def clip(clips: Clips) -> Path:
    return clips.get(width=320, height=256, seconds=PICTURES / 25)


class Broadcast:
    """Sends a clip in real time until its end, or a keyframe at which it is ``over``: what was sent can be decoded to the last
    picture. ``pictures`` is how many that were."""

    def __init__(self, publisher: RtmpClient, file: Path) -> None:
        self.over = False
        self.pictures = 0
        self._publisher, self._tags = publisher, tags_of(file)

    def send(self) -> Iterator[Tag]:
        """Give out each tag that was sent."""
        return self._publisher.pace(self._wanted())

    def _wanted(self) -> Iterator[Tag]:
        for tag in self._tags:
            type_id, _, body = tag
            picture = type_id == VIDEO and body[1] == 1
            if picture and body[0] >> 4 == 1 and self.over:
                return
            self.pictures += picture
            yield tag


def test_players_and_playlists_of_a_rung_have_the_last_picture_of_a_stream_that_ends_at_once(serve: Serve, clips: Clips) -> None:
    server = serve(transcode={"ladder": ["240p"]}, hls={"always": True, "window": 20}, rtmp={"reconnect_grace": 0.0})
    with RtmpClient(server.rtmp("show")).publish() as publisher:
        broadcast = Broadcast(publisher, clip(clips))
        sending = broadcast.send()
        while "show@240p" not in server.live():
            next(sending)
        with LivePlayer(server.rtmp("show@240p")) as player, LivePlayer(server.url("/live/show@240p.flv")) as http:
            for _ in sending:
                broadcast.over = min(len(player.seen.numbers), len(http.seen.numbers)) > 60
            publisher.goodbye()
            player.wait_end()
            http.wait_end()
    for seen in (player.seen, http.seen):
        assert seen.numbers[-1] == broadcast.pictures - 1
        assert complaints(seen, period=PICTURES) == []
    listed = watch(server.url("/live/show@240p/index.m3u8"))
    assert listed.numbers == list(range(listed.numbers[0], broadcast.pictures))
    assert listed.seconds_of_sound > len(listed.numbers) / 25 - 0.5


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
        await asyncio.to_thread(publisher.publish)
        broadcast = Broadcast(publisher, clip(clips))
        sending = asyncio.create_task(asyncio.to_thread(lambda: list(broadcast.send())))
        await town.until(lambda: all(recorded(town, rung) > 4 for rung in ("source", "144p", "low")), PATIENCE)
        broadcast.over = True
        await sending
        assert town.names() == {"show", "show@144p", "show@low"}
    publisher.abort()
    seen = {event.recording_id: watch(Path(event.path)) for event in finished(town)}
    assert seen["source"].numbers == list(range(broadcast.pictures))
    # It begins with a keyframe, as soon as its process runs.
    first = seen["144p"].numbers[0]
    assert seen["144p"].numbers == list(range(first, broadcast.pictures))
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


def recorded(town: Running, recording_id: str) -> float:
    """Seconds that are in the files of that recording."""
    return max((each.seconds for each in town.engine.snapshot().recordings if each.recording_id == recording_id), default=0.0)


def finished(town: Running) -> list[RecordingFinished]:
    return [event for event in town.notes.events if isinstance(event, RecordingFinished)]


def sound_behind_pictures(seen: Seen) -> float:
    """How much longer (seconds) the sound is than until the last picture."""
    begin, length = seen.sound[-1]
    return begin + length - seen.times[-1]
