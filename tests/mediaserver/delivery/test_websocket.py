"""FLV over WebSocket: the handshake, frames in every piece, and a real client."""

import random
import struct
from collections.abc import Awaitable, Callable

import aiohttp
import pytest

from mediaserver.delivery.httpflv import MAX_CHATTER
from mediaserver.delivery.websocket import MAX_MESSAGE, FrameReader, Opcode, WebSocketError, close_code, frame
from mediaserver.ports import Wire
from protocols.flv import FlvReader, TagReader
from tests.media import Clips
from tests.mediaserver.delivery.conftest import Client, Connect, Port
from tests.mediaserver.delivery.test_httpflv import feed, tags_of

# RFC 6455, 1.3.
KEY, ACCEPT = "dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
HANDSHAKE = ("Upgrade: websocket", "Connection: keep-alive, Upgrade", f"Sec-WebSocket-Key: {KEY}", "Sec-WebSocket-Version: 13")


def masked(first: int, payload: bytes, mask: bytes = b"\x37\xfa\x21\x3d") -> bytes:
    size = len(payload)
    length = (
        bytes([0x80 | size]) if size < 126 else struct.pack("!BH", 0xFE, size) if size < 65536 else struct.pack("!BQ", 0xFF, size)
    )
    return bytes([first]) + length + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(payload))


async def read_frame(client: Client) -> tuple[int, bytes]:
    first, size = await client.reader.readexactly(2)
    assert not size & 0x80
    if size > 125:
        size = int.from_bytes(await client.reader.readexactly(2 if size == 126 else 8), "big")
    return first, await client.reader.readexactly(size)


async def join(client: Client) -> None:
    reply = await client.get("/live/show.flv", *HANDSHAKE)
    assert (reply.status, reply.headers["sec-websocket-accept"]) == (101, ACCEPT)
    assert reply.headers["upgrade"] == "websocket"
    assert await read_frame(client) == (0x82, b"FLV\x01\x05\x00\x00\x00\x09\x00\x00\x00\x00")


def test_frames_out_in_all_three_sizes() -> None:
    assert frame(Opcode.BINARY, b"abc") == b"\x82\x03abc"
    assert frame(Opcode.BINARY, bytes(126)) == b"\x82\x7e\x00\x7e" + bytes(126)
    assert frame(Opcode.BINARY, bytes(65536)) == b"\x82\x7f" + (65536).to_bytes(8, "big") + bytes(65536)


def test_frames_in_at_every_split() -> None:
    data = (
        masked(0x89, b"Hello")
        + masked(0x82, bytes(300))
        + masked(0x01, b"a")
        + masked(0x8A, b"")
        + masked(0x80, b"b")
        + masked(0x88, b"\x03\xe8")
    )
    expected = [(Opcode.PING, b"Hello"), (Opcode.PONG, b""), (Opcode.CLOSE, b"\x03\xe8")]
    for split in range(len(data)):
        reader = FrameReader()
        assert reader.receive(data[:split]) + reader.receive(data[split:]) == expected
    reader = FrameReader()
    assert [found for byte in data for found in reader.receive(bytes([byte]))] == expected


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x89\x00", 1002),
        (masked(0xC9, b""), 1002),
        (masked(0x83, b""), 1002),
        (masked(0x09, b""), 1002),
        (masked(0x89, bytes(126)), 1002),
        (masked(0x80, b""), 1002),
        (masked(0x02, b"") + masked(0x82, b""), 1002),
        (masked(0x82, bytes(MAX_MESSAGE + 1)), 1009),
        (b"\x82\xff" + b"\xff" * 8, 1009),
        (masked(0x02, bytes(MAX_MESSAGE)) + masked(0x00, b"x"), 1009),
    ],
)
def test_what_the_protocol_forbids_is_an_error(data: bytes, code: int) -> None:
    with pytest.raises(WebSocketError) as caught:
        FrameReader().receive(data)
    assert caught.value.code == code


def test_any_bytes_give_frames_or_an_error() -> None:
    chance = random.Random(7)
    for _ in range(3000):
        reader = FrameReader()
        try:
            for _ in range(4):
                reader.receive(chance.randbytes(chance.randrange(40)))
                assert len(reader._buffer) <= MAX_MESSAGE + 200
        except WebSocketError:
            pass


@pytest.mark.parametrize(
    ("payload", "code"), [(b"", 1000), (b"\x03\xe9", 1001), (b"\x03", 1002), (b"\x03\xed", 1002), (b"\x0f\xa0x", 4000)]
)
def test_a_goodbye_is_answered_with_its_own_code_if_that_is_one(payload: bytes, code: int) -> None:
    assert close_code(payload) == code


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ((*HANDSHAKE[:3], "Sec-WebSocket-Version: 8"), 426),
        (HANDSHAKE[:3], 426),
        ((*HANDSHAKE[:2], HANDSHAKE[3]), 400),
        ((*HANDSHAKE[:2], "Sec-WebSocket-Key: short", HANDSHAKE[3]), 400),
        ((HANDSHAKE[0], *HANDSHAKE[2:]), 400),
    ],
)
async def test_a_handshake_that_is_none(port: Port, connect: Connect, fields: tuple[str, ...], status: int) -> None:
    client = await connect(port)
    reply = await client.get("/live/show.flv", *fields)
    assert reply.status == status
    assert len(port.web.players) == 0


async def test_only_listed_pages_and_our_own_may_open_one(open_port: Callable[..., Awaitable[Port]], connect: Connect) -> None:
    port = await open_port(cors_origins=("https://a.example",))
    for origin, status in (("https://b.example", 403), ("https://a.example", 101), ("http://x", 101)):
        reply = await (await connect(port)).get("/live/show.flv", *HANDSHAKE, f"Origin: {origin}")
        assert reply.status == status


@pytest.mark.parametrize("origin", ["http://[", "http://[::1", "http://[x]", "//]"])
async def test_an_origin_that_is_none_is_not_our_own(
    open_port: Callable[..., Awaitable[Port]], connect: Connect, origin: str
) -> None:
    port = await open_port(cors_origins=("https://a.example",))
    assert (await (await connect(port)).get("/live/show.flv", *HANDSHAKE, f"Origin: {origin}")).status == 403


async def test_what_is_not_live_is_a_404(port: Port, connect: Connect) -> None:
    assert (await (await connect(port)).get("/live/none.flv", *HANDSHAKE)).status == 404


async def test_a_ping_is_answered_and_a_goodbye_returned(port: Port, connect: Connect) -> None:
    client = await connect(port)
    await join(client)
    await client.send(masked(0x89, b"are you there"))
    assert await read_frame(client) == (0x8A, b"are you there")
    await client.send(masked(0x88, b"\x03\xe9") + masked(0x89, b"late"))
    assert await read_frame(client) == (0x88, b"\x03\xe9")
    assert await client.closed() == b""
    await port.until(lambda: len(port.web.players) == 0)


async def test_a_player_that_talks_too_much_is_cut_off(port: Port, connect: Connect) -> None:
    client = await connect(port)
    await join(client)
    client.writer.write(masked(0x8A, b"") * (MAX_CHATTER // 6 + 1))
    await port.until(lambda: len(port.web.players) == 0)


async def test_a_player_may_say_a_little_for_as_long_as_it_plays(port: Port, connect: Connect) -> None:
    client = await connect(port)
    await join(client)
    for _ in range(4):
        await client.send(masked(0x8A, b"") * (MAX_CHATTER // 12) + masked(0x89, b"still there"))
        assert await read_frame(client) == (0x8A, b"still there")
        port.pass_time(60)
    assert len(port.web.players) == 1


async def test_an_unmasked_frame_ends_the_connection_with_1002(port: Port, connect: Connect) -> None:
    client = await connect(port)
    await join(client)
    await client.send(b"\x89\x00")
    assert await read_frame(client) == (0x88, b"\x03\xea")
    assert await client.closed() == b""


async def test_a_real_client_gets_the_whole_stream_in_binary_messages(port: Port, clips: Clips) -> None:
    tags = tags_of(clips.get(seconds=1))
    feed(port, tags[:10], reader := TagReader())
    async with aiohttp.ClientSession() as session, session.ws_connect(f"http://127.0.0.1:{port.number}/live/show.flv") as socket:
        flv, got = FlvReader(), []
        feed(port, tags[10:], reader)
        port.publisher.close("over")
        async for message in socket:
            assert message.type is aiohttp.WSMsgType.BINARY
            got += flv.receive_data(message.data)
        assert socket.close_code == 1000
    assert [body for _, _, body in got[3:]] == [body for _, _, body in tags[3:]]
    assert port.doorkeeper.asked[-1].wire is Wire.WS_FLV
