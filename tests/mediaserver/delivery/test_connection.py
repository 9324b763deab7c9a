"""The fast lane's own duties: what is no HTTP, limits, deadlines, pipelining, and handing connections over."""

import asyncio
import contextlib
import gc
import os
import socket
import ssl
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest

from mediaserver.delivery.prepared import MAX_KEPT
from mediaserver.delivery.request import without_session
from mediaserver.delivery.response import Headers
from mediaserver.packaging.answer import Growing, Ready, Wait
from mediaserver.ports import PlayGrant, PlayRequest
from tests.mediaserver.delivery.conftest import PLAYLIST, SEGMENT, Connect, Port, Signal
from tests.mediaserver.running import skip_where_writelines_pauses_nobody

OpenPort = Callable[..., Awaitable[Port]]
ASK = "GET /live/show/index.m3u8 HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    "noise",
    [
        b"\x03\x00\x00\x00\x00" + bytes(1532),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
        os.urandom(2000).replace(b"\r", b"") + b"\x00",
        b"get /live/show/index.m3u8 HTTP/1.1\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /live/show/index.m3u8\r\n\r\n",
        b"GET  /live/show/index.m3u8 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /live/show/index.m3u8 HTTP/1.1 \r\nHost: x\r\n\r\n",
        b"GET /live/show/index.m3u8 HTTP/2.0\r\nHost: x\r\n\r\n",
        b"GET /live/show/index.m3u8 HTTP/0.9\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /live/sh\xc3\xb6w/index.m3u8 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /live/show/index.m3u8 HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET /live/show/index.m3u8 HTTP/1.1\r\nHost: x\r\n folded: y\r\n\r\n",
        b"GET /live/show/index.m3u8 HTTP/1.1\r\nHost: x\nA: b\r\n\r\n",
        b"GET /live/show/index.m3u8 HTTP/1.1\r\nHost: x\r\nA: \x00\r\n\r\n",
        b"GET /live/show/index.m3u8 HTTP/1.1\r\nHost: x\r\n: y\r\n\r\n",
        b"GET /live/show/index.m3u8 HTTP/1.1\r\n\r\n",
        b"GET /live/show/index.m3u8 HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"GET /live/show/index.m3u8 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /live/show/index.m3u8 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"GET /live/show/index.m3u8 HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"GET /live/show/index.m3u8 HTTP/1.1\r\nHost: x\r\nContent-Length: 0x10\r\n\r\n",
    ],
)
async def test_what_is_no_request_is_refused_and_closed_at_once(port: Port, noise: bytes) -> None:
    client = await port.connect()
    await client.send(noise)
    said = await client.closed()
    assert said.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 505 "))
    assert b"Connection: close\r\n" in said
    assert port.web.counters.requests["malformed"] == 1
    assert port.resolver.asked == []


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /live/show/index.m3u8?" + b"a" * 5000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"GET /live/show/index.m3u8 HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 200 + b"\r\n", 431),
        (b"GET /live/show/index.m3u8 HTTP/1.1\r\nHost: x\r\nA: " + b"b" * 20_000 + b"\r\n\r\n", 431),
        (b"GET /live/show/index.m3u8 HTTP/1.1\r\nHost: x\r\nA: " + b"b" * 40_000, 431),
        (b"GET /" + b"a" * 40_000, 431),
        (b"GET /live/show/index.m3u8?" + b"a&" * 100 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    ],
)
async def test_heads_beyond_the_limits_are_refused(port: Port, head: bytes, status: int) -> None:
    client = await port.connect()
    await client.send(head)
    assert (await client.closed()).startswith(f"HTTP/1.1 {status} ".encode())


async def test_a_head_may_come_in_single_bytes_and_after_empty_lines(port: Port) -> None:
    client = await port.connect()
    for byte in "\r\n" + ASK:
        await client.send(byte)
        await asyncio.sleep(0)
    assert (await client.reply()).body == PLAYLIST.body


async def test_pipelined_requests_are_answered_in_order(port: Port) -> None:
    client = await port.connect()
    await client.send((ASK + ASK.replace("index.m3u8", "video/7.m4s") + ASK.replace("show", "none")) * 40)
    for _ in range(40):
        assert (await client.reply()).body == PLAYLIST.body
        assert (await client.reply()).body == SEGMENT.body
        assert (await client.reply()).status == 404


async def test_what_is_pipelined_behind_a_wait_waits(port: Port) -> None:
    signal = Signal()
    port.resolver.answers["video.m3u8"] = Wait(signal, 6.0)
    client = await port.connect()
    await client.send(ASK.replace("index", "video") + ASK)
    await signal.added.wait()
    port.resolver.answers["video.m3u8"] = Ready(b"late", "text/plain", 1.0)
    signal.fire()
    assert (await client.reply()).body == b"late"
    assert (await client.reply()).body == PLAYLIST.body


async def test_a_peer_that_floods_while_it_waits_is_held_back(port: Port) -> None:
    signal = Signal()
    port.resolver.answers["video.m3u8"] = Wait(signal, 6.0)
    client = await port.connect()
    await client.send(ASK.replace("index", "video"))
    await signal.added.wait()
    count, padded = 1500, ASK.replace("Host: x", "Host: x\r\nX-Padding: " + "x" * 1000)
    flood = asyncio.ensure_future(client.send(padded * count))
    (connection,) = port.web._connections
    await port.until(lambda: connection._held)
    assert len(connection._buffer) < 1 << 20
    port.resolver.answers["video.m3u8"] = PLAYLIST
    signal.fire()
    for _ in range(count + 1):
        assert (await client.reply()).status == 200
    await flood


async def test_five_hundred_blocked_players_cost_one_render(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    signal = Signal()
    port.resolver.answers["video.m3u8"] = Wait(signal, 6.0)
    clients = [await port.connect() for _ in range(500)]
    for client in clients:
        await client.send(ASK.replace("index", "video"))
    await port.until(lambda: len(signal.callbacks) == 500)
    rendered: list[str] = []
    original = port.web.cors.headers

    def headers(origin: str) -> Headers:
        rendered.append(origin)
        return original(origin)

    monkeypatch.setattr(port.web.cors, "headers", headers)
    port.resolver.answers["video.m3u8"] = SEGMENT
    signal.fire()
    for client in clients:
        assert (await client.reply()).body == SEGMENT.body
    assert len(rendered) == 1


async def test_a_player_that_leaves_while_it_waits_is_forgotten(port: Port) -> None:
    signal = Signal()
    port.resolver.answers |= {
        "video.m3u8": Wait(signal, 6.0),
        "video/8.m4s": Growing(lambda n: (b"", False), "video/mp4", signal, 6),
    }
    for target in ("video.m3u8", "video/8.m4s"):
        client = await port.connect()
        await client.send(ASK.replace("index.m3u8", target))
        await signal.added.wait()
        await client.close()
        await port.until(lambda: not signal.callbacks)
        signal.added.clear()
    assert not port.web._connections


async def test_a_player_that_leaves_while_the_authorizer_thinks_is_forgotten(port: Port) -> None:
    port.doorkeeper.held = asyncio.Event()
    client = await port.connect()
    await client.send(ASK)
    await port.until(lambda: len(port.doorkeeper.asked) == 1)
    await client.close()
    await port.until(lambda: not port.web._connections)


@pytest.mark.parametrize("target", ["show/index.m3u8", "show.flv"])
async def test_an_authorizer_that_breaks_down_is_a_500_and_leaves_nothing(
    port: Port, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, target: str
) -> None:
    async def break_down(request: PlayRequest) -> PlayGrant:
        raise KeyError("no such table")

    monkeypatch.setattr(port.doorkeeper, "may_play", break_down)
    client = await port.connect()
    await client.send(ASK.replace("show/index.m3u8", target) + ASK)
    said = await client.closed()
    assert said.startswith(b"HTTP/1.1 500 ")
    assert said.count(b"HTTP/1.1") == 1
    assert b"no such table" not in said
    assert "no such table" in caplog.text
    await port.until(lambda: not port.web._connections)


async def test_a_player_that_cannot_join_leaves_nothing(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    def break_down(*arguments: object) -> None:
        raise KeyError("no such stream")

    monkeypatch.setattr(port.fanout, "join", break_down)
    client = await port.connect()
    await client.send(ASK.replace("show/index.m3u8", "show.flv"))
    await client.closed()
    await port.until(lambda: not port.web._connections and not len(port.web.players))


@pytest.mark.parametrize("target", ["show/index.m3u8", "show.flv"])
async def test_an_authorizer_that_hangs_does_not_keep_the_connection(
    port: Port, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    asked, let_go = asyncio.Event(), asyncio.Event()

    async def hang(request: PlayRequest) -> PlayGrant:
        asked.set()
        while not let_go.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await let_go.wait()
        return PlayGrant(request.name)

    monkeypatch.setattr(port.doorkeeper, "may_play", hang)
    client = await port.connect()
    port.pass_time(8)
    await client.send(ASK.replace("show/index.m3u8", target))
    await asked.wait()
    port.pass_time(9)
    assert len(port.web._connections) == 1
    port.pass_time(2)
    assert (await client.closed()).startswith(b"HTTP/1.1 503 ")
    await port.until(lambda: not port.web._connections)
    let_go.set()
    await asyncio.sleep(0)
    assert len(port.web.players) == 0


async def test_names_that_do_not_exist_leave_nothing_behind(port: Port) -> None:
    client = await port.connect()
    for n in range(500):
        assert (await client.get(f"/live/nobody{n}/index.m3u8")).status == 404
    assert len(port.web.prepared) == 0
    assert port.doorkeeper.asked == []


async def test_what_is_remembered_of_requests_is_bounded(port: Port) -> None:
    client = await port.connect()
    for n in range(MAX_KEPT + 50):
        assert (await client.get(f"/live/show/index.m3u8?_HLS_msn={n}")).status == 200
    assert len(port.web.prepared) == MAX_KEPT
    assert len(port.doorkeeper.asked) == 1


async def test_viewers_with_tokens_share_what_is_remembered(port: Port) -> None:
    port.resolver.answers |= {"video.m3u8": PLAYLIST, "manifest.mpd": PLAYLIST}
    client = await port.connect()
    for n in range(100):
        for target in (
            "video.m3u8?session=a-token-{}&_HLS_msn=7",
            "manifest.mpd?session=a-token-{}",
            "index.m3u8?session=a-token-{}",
        ):
            assert (await client.get("/live/show/" + target.format(n))).body == PLAYLIST.body
    assert len(port.web.prepared) == 2
    # The list of lists is each viewer's own.
    assert {query.get("session", "") for _, resource, query in port.resolver.asked if resource != "index.m3u8"} == {""}
    assert {query["session"] for _, resource, query in port.resolver.asked if resource == "index.m3u8"} >= {
        "a-token-0",
        "a-token-99",
    }


@pytest.mark.parametrize(
    ("address", "bare", "session"),
    [
        ("video.m3u8?session=abcdefgh", "video.m3u8", "abcdefgh"),
        ("video.m3u8?session=abcdefgh&_HLS_msn=7", "video.m3u8?_HLS_msn=7", "abcdefgh"),
        ("video.m3u8?_HLS_msn=7&session=abcdefgh", "video.m3u8?_HLS_msn=7", "abcdefgh"),
        ("video.m3u8?a=b&session=abcdefgh&c=d", "video.m3u8?a=b&c=d", "abcdefgh"),
        ("video.m3u8?session=short", "video.m3u8?session=short", ""),
        ("video.m3u8?session=abcdefgh%20", "video.m3u8?session=abcdefgh%20", ""),
        ("video.m3u8?mysession=abcdefgh", "video.m3u8?mysession=abcdefgh", ""),
        ("index.m3u8?session=abcdefgh", "index.m3u8?session=abcdefgh", ""),
        ("video.m3u8", "video.m3u8", ""),
    ],
)
def test_a_head_without_its_session_is_everybody_s(address: str, bare: str, session: str) -> None:
    head = "GET /live/show/{} HTTP/1.1\r\nHost: x\r\nReferer: http://x/?session=not-this-one \r\n\r\n"
    assert without_session(head.format(address).encode()) == (head.format(bare).encode(), session)


def hot_descriptors(port: Port) -> list[int]:
    return [hot.fd for hot in port.web.bodies._bodies.values() if hot.fd >= 0]


async def test_large_bodies_are_let_go_of(port: Port) -> None:
    client = await port.connect()
    port.resolver.answers["video/9.m4s"] = Ready(b"x" * 100_000, "video/mp4", 60.0, immutable=True)
    for _ in range(3):
        assert (await client.get("/live/show/video/9.m4s")).body == b"x" * 100_000
    await port.until(lambda: bool(hot_descriptors(port)))
    (fd,) = hot_descriptors(port)
    assert os.fstat(fd).st_size == 100_000
    assert (await client.get("/live/show/video/9.m4s")).body == b"x" * 100_000
    body = port.resolver.answers.pop("video/9.m4s").body  # type: ignore[union-attr]
    port.pass_time(6)
    gc.collect()
    assert not [holder for holder in gc.get_referrers(body) if type(holder).__name__ in ("Prepared", "Ready", "_Body")]
    assert (port.web.bodies._open, port.web.bodies._bytes) == (0, 0)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


async def test_a_hot_body_reaches_a_slow_reader_whole(port: Port) -> None:
    body = os.urandom(16 << 20)
    port.resolver.answers["video/9.m4s"] = Ready(body, "video/mp4", 60.0, immutable=True)
    clients = [await port.connect() for _ in range(2)]
    for client in clients:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await client.send((ASK.replace("index.m3u8", "video/9.m4s") + ASK) * 2)
    # By the second time that each of them is given it, it is hot.
    await port.until(lambda: port.web.counters.requests["segment"] >= 2)
    for client in clients:
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        for _ in range(2):
            assert (await client.reply()).body == body
            assert (await client.reply()).body == PLAYLIST.body


# -- deadlines --------------------------------------------------------------------------------------------------------


async def test_a_connection_that_says_nothing_is_closed(port: Port) -> None:
    client = await port.connect()
    await port.until(lambda: len(port.web._connections) == 1)
    port.pass_time(9)
    assert not client.reader.at_eof()
    port.pass_time(2)
    assert await client.closed() == b""
    assert port.web.counters.timeouts == 1


async def test_a_head_that_drips_is_timed_out_from_its_first_byte(port: Port) -> None:
    client = await port.connect()
    await client.send(ASK)
    await client.reply()
    port.pass_time(60)
    await client.send("GET /li")
    (connection,) = port.web._connections
    await port.until(lambda: bool(connection._buffer))
    for byte in "ve/show/i":
        port.pass_time(1)
        before = len(connection._buffer)
        await client.send(byte)
        await port.until(lambda: len(connection._buffer) > before)  # noqa: B023 - looked at at once
    port.pass_time(2)
    assert (await client.closed()).startswith(b"HTTP/1.1 408 ")


async def test_an_idle_connection_is_kept_for_a_while(port: Port) -> None:
    client = await port.connect()
    for _ in range(3):
        assert (await client.get("/live/show/index.m3u8")).status == 200
        port.pass_time(60)
    port.pass_time(16)
    assert await client.closed() == b""


@pytest.mark.parametrize("target", ["video/7.m4s", "video/8.m4s"])
async def test_a_player_that_does_not_read_is_cut_off(port: Port, target: str) -> None:
    skip_where_writelines_pauses_nobody()
    body = bytes(24 << 20)
    port.resolver.answers["video/7.m4s"] = Ready(body, "video/mp4", 60.0, immutable=True)
    port.resolver.answers["video/8.m4s"] = Growing(lambda n: (body[n:], True), "video/mp4", Signal(), 600.0)
    client = await port.connect()
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]
    await client.send(ASK.replace("index.m3u8", target) + ASK)
    await port.until(lambda: port.web.counters.requests["segment"] == 1)
    (connection,) = port.web._connections
    await port.until(lambda: connection._transport.get_write_buffer_size() > 0)
    port.pass_time(1)
    port.pass_time(20)
    assert len(port.web._connections) == 1
    port.pass_time(11)
    await port.until(lambda: not port.web._connections)
    assert port.web.counters.timeouts == 1
    assert port.web.counters.requests["playlist"] == 0


async def test_a_player_that_reads_slowly_is_not_cut_off(port: Port) -> None:
    port.resolver.answers["video/7.m4s"] = Ready(bytes(64 << 20), "video/mp4", 60.0, immutable=True)
    client = await port.connect()
    await client.send(ASK.replace("index.m3u8", "video/7.m4s"))
    _, headers = await client.head()
    left = int(headers["content-length"])
    while left:
        left -= len(await client.reader.readexactly(min(left, 4 << 20)))
        port.pass_time(7)
    assert (await client.get("/live/show/index.m3u8")).status == 200


async def test_what_was_promised_and_does_not_come_is_a_503(port: Port) -> None:
    signal = Signal()
    port.resolver.answers["video.m3u8"] = Wait(signal, 6.0)
    client = await port.connect()
    await client.send(ASK.replace("index", "video"))
    await signal.added.wait()
    port.pass_time(5)
    signal.fire()
    await signal.added.wait()
    port.pass_time(2)
    reply = await client.reply()
    assert (reply.status, reply.headers["retry-after"]) == (503, "1")
    assert not signal.callbacks
    assert (await client.get("/live/show/index.m3u8")).status == 200


async def test_a_segment_that_stops_growing_is_visibly_cut(port: Port) -> None:
    signal = Signal()
    port.resolver.answers["video/8.m4s"] = Growing(lambda n: (b"half"[n:], False), "video/mp4", signal, 6.0)
    client = await port.connect()
    await client.send(ASK.replace("index.m3u8", "video/8.m4s"))
    await client.head()
    assert await client.chunk() == b"half"
    port.pass_time(7)
    assert await client.closed() == b""


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="TCP_USER_TIMEOUT is missing")
async def test_the_kernel_misses_a_client_that_vanished_and_a_player_of_flv_sooner(open_port: OpenPort) -> None:
    port = await open_port(send_timeout=20.0)
    client = await port.connect()
    await port.until(lambda: bool(port.web._connections))
    (connection,) = port.web._connections
    peer = connection._transport.get_extra_info("socket")
    assert peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 20_000
    client.writer.write(b"GET /live/show.flv HTTP/1.1\r\nHost: x\r\n\r\n")
    await port.until(lambda: len(port.web.players) == 1)
    assert peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 10_000


async def test_no_more_connections_than_are_allowed(open_port: OpenPort) -> None:
    port = await open_port(max_connections=2)
    for _ in range(2):
        assert (await (await port.connect()).get("/live/show/index.m3u8")).status == 200
    assert await (await port.connect()).closed() == b""


async def test_stopping_closes_idle_connections_and_waits_for_answers(port: Port) -> None:
    signal = Signal()
    port.resolver.answers["video.m3u8"] = Wait(signal, 6.0)
    idle, busy = await port.connect(), await port.connect()
    await idle.get("/live/show/index.m3u8")
    await busy.send(ASK.replace("index", "video"))
    await signal.added.wait()
    closing = asyncio.ensure_future(port.web.close("stop"))
    assert await idle.closed() == b""
    port.resolver.answers["video.m3u8"] = PLAYLIST
    signal.fire()
    assert (await busy.reply()).body == PLAYLIST.body
    assert await busy.closed() == b""
    await closing


# -- the other lane -----------------------------------------------------------------------------------------------------


async def test_a_request_with_a_body_is_handed_over_with_what_was_read(port: Port) -> None:
    client = await port.connect()
    await client.send(ASK + "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhal")
    assert (await client.reply()).body == PLAYLIST.body
    await client.send("f-half" + "x" + ASK)
    assert (await client.reply()).body == b"half-halfx"
    assert (await client.reply()).body == PLAYLIST.body
    assert port.web.counters.requests["other"] == 1


async def test_a_page_that_is_not_there_is_aiohttp_s_to_answer(port: Port) -> None:
    assert (await (await port.connect()).get("/nothing")).status == 404


@pytest.mark.parametrize(
    "nonsense",
    [
        "GET / HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n",
        "POST /echo HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        "G<b>T / HTTP/1.1\r\n\r\n",
    ],
)
async def test_aiohttp_s_own_refusals_do_not_say_what_it_is(connect: Connect, port: Port, nonsense: str) -> None:
    client = await connect(port)
    await client.send(nonsense)
    status, headers = await client.head()
    assert status == 400
    assert headers["server"] == "mediaserver"
    assert "text/html" not in headers.get("content-type", "")
    assert b"ython" not in await client.closed()


async def test_aiohttp_s_own_client_gets_pages_and_media_on_one_connection(port: Port) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session:
        for _ in range(2):
            for target, body in (
                ("live/show/index.m3u8", PLAYLIST.body),
                ("", b"a page"),
                ("live/show/video/7.m4s", SEGMENT.body),
            ):
                async with session.get(
                    f"http://127.0.0.1:{port.number}/{target}", headers={"Accept-Encoding": "identity"}
                ) as reply:
                    assert (reply.status, await reply.read()) == (200, body)


async def test_a_handed_over_connection_that_does_not_read_is_cut_off(port: Port) -> None:
    port.resolver.answers["video/7.m4s"] = Ready(bytes(24 << 20), "video/mp4", 60.0, immutable=True)
    client = await port.connect()
    await client.get("/")
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]
    await client.send(ASK.replace("index.m3u8", "video/7.m4s"))
    (transport,) = port.web._handed
    await port.until(lambda: transport.get_write_buffer_size() > 0)
    port.pass_time(1)
    port.pass_time(31)
    await port.until(lambda: not port.web._handed)
    assert port.web.counters.timeouts == 1


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A folder with a certificate c.pem and its key k.pem."""
    subject = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command = ["openssl", "req", *subject, "-keyout", "k.pem", "-out", "c.pem"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    return tmp_path


async def test_the_same_over_tls(port: Port, certificate: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "c.pem", certificate / "k.pem")
    number = await port.web.listen("127.0.0.1", 0, context)
    trusting = ssl.create_default_context(cafile=str(certificate / "c.pem"))
    trusting.check_hostname = False
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting)) as session:
        for target, body in (("live/show/video/7.m4s", SEGMENT.body), ("", b"a page"), ("live/show/index.m3u8", PLAYLIST.body)):
            async with session.get(f"https://127.0.0.1:{number}/{target}", headers={"Accept-Encoding": "identity"}) as reply:
                assert (reply.status, await reply.read()) == (200, body)
