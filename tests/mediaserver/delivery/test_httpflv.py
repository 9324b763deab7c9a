"""FLV over HTTP: byte by byte, in both lanes, and in front of ffmpeg."""

import asyncio
from pathlib import Path

import pytest

from mediaserver.events import PlayEnded, PlayStarted
from mediaserver.hub.session import Session
from mediaserver.ports import PublishGrant, Wire
from protocols.flv import FlvReader, TagReader, read_metadata
from protocols.media import Packet, Track
from tests.media import Clips
from tests.mediaserver.delivery.conftest import Client, Connect, Port
from tests.peers import program

Tag = tuple[int, int, bytes]


def tags_of(file: Path) -> list[Tag]:
    """The tags of a file but for its end-of-sequence, which is not passed on."""
    return [tag for tag in FlvReader().receive_data(file.read_bytes()) if tag[2][:2] != b"\x17\x02"]


def feed(port: Port, tags: list[Tag], reader: TagReader) -> None:
    """What an ingest does with a publisher's tags."""
    for type_id, timestamp, body in tags:
        if type_id == 18:
            metadata = read_metadata(body)
            assert metadata is not None
            port.publisher.write_metadata(metadata)
            continue
        item = reader.read(type_id, timestamp, body)
        if isinstance(item, Packet):
            port.publisher.write(item)
        elif isinstance(item, Track):
            port.publisher.write_track(item)


async def play(client: Client, version: str = "1.1") -> dict[str, str]:
    await client.send(f"GET /live/show.flv HTTP/{version}\r\nHost: x\r\n\r\n")
    status, headers = await client.head()
    assert status == 200
    return headers


async def read_tags(client: Client, reader: FlvReader, count: int) -> list[Tag]:
    tags: list[Tag] = []
    async with asyncio.timeout(30):
        while len(tags) < count and (data := await client.chunk()):
            tags += reader.receive_data(data)
    return tags


async def whole(client: Client) -> bytes:
    body = b""
    while chunk := await client.chunk():
        body += chunk
    return body


async def test_a_player_gets_the_picture_at_once_and_then_everything(port: Port, connect: Connect, clips: Clips) -> None:
    tags = tags_of(clips.get(seconds=2, gop=25))
    keys = [n for n, (type_id, _, body) in enumerate(tags) if type_id == 9 and body[:2] == b"\x17\x01"]
    reader = TagReader()
    feed(port, tags[: keys[1] + 5], reader)
    client = await connect(port)
    headers = await play(client)
    assert headers["content-type"] == "video/x-flv"
    assert headers["connection"] == "close"
    assert headers["cache-control"] == "no-store"
    assert "content-length" not in headers
    assert headers["transfer-encoding"] == "chunked"
    assert await client.chunk() == b"FLV\x01\x05\x00\x00\x00\x09\x00\x00\x00\x00"
    expected = [tag for tag in tags if tag[0] == 18 or tag[2][1:2] == b"\x00"] + tags[keys[1] :]
    flv = FlvReader()
    first = await read_tags(client, flv, 3)
    feed(port, tags[keys[1] + 5 :], reader)
    got = first + await read_tags(client, flv, len(expected) - len(first))
    assert [(t, b) for t, _, b in got] == [(t, b) for t, _, b in sorted(expected[:3], key=lambda t: -t[0])] + [
        (t, b) for t, _, b in expected[3:]
    ]
    times = [time for _, time, _ in got[3:]]
    assert [time - times[0] for time in times] == [time - expected[3][1] for _, time, _ in expected[3:]]


async def test_every_previous_tag_size_is_right(port: Port, clips: Clips) -> None:
    feed(port, tags_of(clips.get(seconds=1)), TagReader())
    client = await port.connect()
    await play(client)
    port.publisher.close("over")
    body = await whole(client)
    at = 13
    while at < len(body):
        size = 11 + int.from_bytes(body[at + 1 : at + 4], "big")
        assert int.from_bytes(body[at + size : at + size + 4], "big") == size
        at += size + 4
    assert at == len(body)


@pytest.mark.parametrize(("video", "audio", "flags"), [("h264", "aac", 5), ("h264", "", 1), ("", "aac", 4)])
async def test_the_header_tells_what_there_is(port: Port, clips: Clips, video: str, audio: str, flags: int) -> None:
    feed(port, tags_of(clips.get(seconds=1, video=video, audio=audio)), TagReader())
    client = await port.connect()
    await play(client)
    assert (await client.chunk())[4] == flags


async def test_a_player_that_comes_before_the_first_picture_waits_for_it(port: Port, clips: Clips) -> None:
    client = await port.connect()
    await play(client)
    assert (await client.chunk())[4] == 5
    tags = tags_of(clips.get(seconds=1))
    feed(port, tags, TagReader())
    assert len(await read_tags(client, FlvReader(), 20)) >= 20


async def test_the_end_of_the_stream_is_the_end_of_the_answer(port: Port, connect: Connect, clips: Clips) -> None:
    feed(port, tags_of(clips.get(seconds=1)), TagReader())
    client = await connect(port)
    await play(client)
    port.publisher.close("over")
    assert (await whole(client)).startswith(b"FLV")
    assert await client.closed() == b""
    await port.until(lambda: len(port.web.players) == 0)
    started, ended = [event for event in port.sink.events if isinstance(event, (PlayStarted, PlayEnded))]
    assert isinstance(started, PlayStarted)
    assert isinstance(ended, PlayEnded)
    assert (started.name, started.wire, started.address) == ("show", Wire.HTTP_FLV, "127.0.0.1")
    assert (ended.session_id, ended.reason) == (started.session_id, "the stream has ended")
    assert ended.bytes_out > 10_000
    assert port.doorkeeper.asked[-1].session_id == started.session_id


async def test_http_1_0_gets_the_same_without_chunks(port: Port, connect: Connect, clips: Clips) -> None:
    feed(port, tags_of(clips.get(seconds=1)), TagReader())
    chunked, plain = await connect(port), await connect(port)
    await play(chunked)
    assert "transfer-encoding" not in await play(plain, "1.0")
    port.publisher.close("over")
    assert await plain.closed() == await whole(chunked)


async def test_a_player_that_leaves_is_forgotten(port: Port, connect: Connect, clips: Clips) -> None:
    feed(port, tags_of(clips.get(seconds=1)), TagReader())
    client = await connect(port)
    await play(client)
    assert len(port.web.players.sessions()) == 1
    await client.close()
    await port.until(lambda: len(port.web.players) == 0)
    assert port.publisher.stream.subscribers == ()
    assert not port.web._connections
    assert not port.web._handed


async def test_what_is_not_live_is_a_404_and_head_tells_the_type(port: Port, connect: Connect) -> None:
    client = await connect(port)
    assert (await client.get("/live/none.flv")).status == 404
    reply = await client.get("/live/show.flv", method="HEAD")
    assert (reply.status, reply.headers["content-type"]) == (200, "video/x-flv")


async def test_a_stream_that_ends_while_the_authorizer_thinks_is_a_404_that_says_so(port: Port, connect: Connect) -> None:
    port.doorkeeper.held = asyncio.Event()
    client = await connect(port)
    asking = asyncio.create_task(client.get("/live/show.flv"))
    await port.until(lambda: len(port.doorkeeper.asked) == 1)
    port.hub.end("show", "over")
    port.doorkeeper.held.set()
    missing = await asking
    assert (missing.status, missing.body) == (404, b"no stream of this name is live\n")


async def test_who_may_not_play_gets_nothing(port: Port, connect: Connect) -> None:
    port.hub.publish(PublishGrant("private"), Session(Wire.INTERNAL, "test"), lambda reason: None)
    reply = await (await connect(port)).get("/live/private.flv?token=x")
    assert (reply.status, reply.body) == (403, b"not for you\n")
    assert port.doorkeeper.asked[-1].query == "token=x"


async def test_a_player_that_talks_too_much_is_cut_off(port: Port, clips: Clips) -> None:
    feed(port, tags_of(clips.get(seconds=1)), TagReader())
    client = await port.connect()
    await play(client)
    client.writer.write(bytes(100_000))
    await port.until(lambda: len(port.web.players) == 0)


async def test_a_player_can_be_kicked(port: Port, connect: Connect, clips: Clips) -> None:
    feed(port, tags_of(clips.get(seconds=1)), TagReader())
    client = await connect(port)
    await play(client)
    (session,) = port.web.players.sessions()
    assert port.web.players.kick(session.id, "enough")
    await client.closed()
    await port.until(lambda: len(port.web.players) == 0)
    assert not port.web.players.kick(session.id, "enough")


async def test_nothing_comes_behind_the_end_of_a_player_that_is_kicked(port: Port, connect: Connect, clips: Clips) -> None:
    tags = tags_of(clips.get(seconds=1))
    reader = TagReader()
    feed(port, tags[:-3], reader)
    client = await connect(port)
    await play(client)
    flv = FlvReader()
    await read_tags(client, flv, len(tags) - 3)
    (player,) = port.web.players._players.values()
    group = player.player.group
    assert group is not None
    for at in (-3, -2):  # then it stands in the row, and is written to directly
        feed(port, [tags[at]], reader)
        await read_tags(client, flv, 1)
    feed(port, tags[-1:], reader)
    player.close("enough")
    for _ in group.flush():
        pass
    assert (await client.closed()).endswith(b"0\r\n\r\n")


async def test_a_player_that_does_not_take_the_end_is_cut_off(port: Port, clips: Clips) -> None:
    tags = tags_of(clips.get(seconds=1))
    client = await port.connect()
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]
    await client.send("GET /live/show.flv HTTP/1.1\r\nHost: x\r\n\r\n")
    await port.until(lambda: len(port.web.players) == 1)
    reader = TagReader()
    feed(port, tags, reader)
    (player,) = port.web.players._players.values()
    key = next(body for type_id, _, body in tags if type_id == 9 and body[:2] == b"\x17\x01")
    for n in range(2000):
        feed(port, [(9, 10_000 + n * 40, key[:5] + bytes(40_000))], reader)
        await asyncio.sleep(0)
        if player._transport.get_write_buffer_size() > 0:
            break
    assert player._transport.get_write_buffer_size() > 0
    port.publisher.close("over")
    port.pass_time(1)
    port.pass_time(31)
    await port.until(lambda: len(port.web.players) == 0)


async def test_ffmpeg_decodes_every_frame(port: Port, clips: Clips) -> None:
    tags = tags_of(clips.get(seconds=2))
    reader = TagReader()
    feed(port, tags, reader)
    command = [program("ffmpeg"), "-v", "error", "-nostdin", "-i", f"http://127.0.0.1:{port.number}/live/show.flv"]
    ffmpeg = await asyncio.create_subprocess_exec(
        *command, "-f", "framecrc", "-", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    await port.until(lambda: len(port.web.players) == 1)
    later = [(type_id, time + 2000, body) for type_id, time, body in tags if type_id != 18]
    feed(port, later, reader)
    port.publisher.close("over")
    async with asyncio.timeout(90):
        output, errors = await ffmpeg.communicate()
    assert errors == b""
    frames = [line.split(b",")[0] for line in output.splitlines() if not line.startswith(b"#")]
    # The last GOP of the first two seconds from the cache, then all of the next two.
    assert frames.count(b"0") == 75
    assert frames.count(b"1") > 100
