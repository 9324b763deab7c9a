"""Requests that came before, byte for byte, while their answer is known to be good: nobody is asked, nothing else changes."""

import asyncio
import gzip
from collections.abc import Awaitable, Callable

import pytest

from mediaserver.delivery.grants import GRANT_LIFE
from mediaserver.packaging.answer import Ready, Wait
from mediaserver.packaging.lease import Lease
from mediaserver.ports import Wire
from tests.mediaserver.delivery.conftest import PLAYLIST, SEGMENT, Client, Port, Signal

OpenPort = Callable[..., Awaitable[Port]]
ASK = "GET /live/show/index.m3u8 HTTP/1.1\r\nHost: x\r\n\r\n"
NEWER = Ready(b"#EXTM3U newer", "application/vnd.apple.mpegurl", 1.0)


async def leased(port: Port, *resources: str) -> tuple[Client, Lease]:
    """A connection that has asked for each once, and the lease of what it got."""
    lease = Lease(holds=True)
    port.resolver.leases = dict.fromkeys(resources, lease)
    client = await port.connect()
    for resource in resources:
        await client.get(f"/live/show/{resource}")
    port.resolver.asked.clear()
    return client, lease


async def test_nobody_is_asked_again_while_a_lease_holds(port: Port) -> None:
    client, lease = await leased(port, "index.m3u8")
    for _ in range(10):
        assert (await client.get("/live/show/index.m3u8")).body == PLAYLIST.body
    assert port.resolver.asked == []
    port.resolver.answers["index.m3u8"] = NEWER
    lease.holds = False
    assert (await client.get("/live/show/index.m3u8")).body == NEWER.body
    assert len(port.resolver.asked) == 1


async def test_what_has_no_lease_is_asked_every_time(port: Port) -> None:
    client = await port.connect()
    for number in range(1, 5):
        assert (await client.get("/live/show/index.m3u8")).body == PLAYLIST.body
        assert len(port.resolver.asked) == number


async def test_a_lease_outlives_no_second_for_dates_go_on(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    dates = iter(("Thu, 01 Jan 2026 00:00:01 GMT", "Thu, 01 Jan 2026 00:00:02 GMT"))
    monkeypatch.setattr("mediaserver.delivery.web.formatdate", lambda **_: next(dates))
    port.pass_time(1)
    client, _ = await leased(port, "index.m3u8")
    assert (await client.get("/live/show/index.m3u8")).headers["date"].endswith("00:00:01 GMT")
    port.pass_time(1)
    assert (await client.get("/live/show/index.m3u8")).headers["date"].endswith("00:00:02 GMT")
    assert len(port.resolver.asked) == 1


async def test_each_form_of_a_request_has_its_own_answer(port: Port) -> None:
    text = b"#EXTM3U\n" * 100
    port.resolver.answers["index.m3u8"] = Ready(text, "application/vnd.apple.mpegurl", 1.0, gzipped=gzip.compress(text))
    client, _ = await leased(port, "index.m3u8", "video/7.m4s")
    for _ in range(3):
        assert (await client.get("/live/show/index.m3u8")).body == text
        zipped = await client.get("/live/show/index.m3u8", "Accept-Encoding: gzip")
        assert (gzip.decompress(zipped.body), zipped.headers["content-encoding"]) == (text, "gzip")
        assert zipped.headers["vary"] == "Accept-Encoding"
        head = await client.get("/live/show/index.m3u8", method="HEAD")
        assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(len(text)))
        part = await client.get("/live/show/video/7.m4s", "Range: bytes=1-9")
        assert (part.status, part.body) == (206, SEGMENT.body[1:10])
        assert (await client.get("/live/show/video/7.m4s", "Range: bytes=999999-")).status == 416
        page = await client.get("/live/show/index.m3u8", "Origin: https://page.example")
        assert page.headers["access-control-allow-origin"] == "*"
        assert (await client.get("/live/show/index.m3u8", method="OPTIONS")).status == 204


async def test_a_page_is_told_what_it_may_read(open_port: OpenPort) -> None:
    port = await open_port(cors_origins=("https://one.example",))
    client, _ = await leased(port, "index.m3u8")
    for _ in range(3):
        mine = await client.get("/live/show/index.m3u8", "Origin: https://one.example")
        assert mine.headers["access-control-allow-origin"] == "https://one.example"
        assert (
            "access-control-allow-origin"
            not in (await client.get("/live/show/index.m3u8", "Origin: https://two.example")).headers
        )


async def test_answers_that_are_repeated_count_in_full(port: Port) -> None:
    client, _ = await leased(port, "index.m3u8", "manifest.mpd")
    port.resolver.answers["manifest.mpd"] = PLAYLIST
    before = dict(port.web.counters.requests), port.web.counters.bytes_out
    replies = [await client.get("/live/show/index.m3u8") for _ in range(5)]
    assert port.web.counters.requests["playlist"] == before[0]["playlist"] + 5
    assert port.web.counters.bytes_out - before[1] > sum(len(reply.body) for reply in replies)


async def test_viewers_whose_answers_are_repeated_are_viewers(port: Port) -> None:
    client, _ = await leased(port, "index.m3u8")
    other = Client(*await asyncio.open_connection("127.0.0.1", port.number, local_addr=("127.0.0.2", 0)))
    port.clients.append(other)
    for _ in range(3):
        for asker in (client, other):
            assert (await asker.get("/live/show/index.m3u8")).status == 200
        port.pass_time(4)
    # From the second time on the other one was given what the first had asked for.
    assert len(port.resolver.asked) == 3
    assert port.web.viewers() == {"show": {Wire.HLS: 2}}


async def test_a_connection_that_repeats_is_not_idle(port: Port) -> None:
    client, _ = await leased(port, "index.m3u8")
    for _ in range(3):
        port.pass_time(60)
        await client.get("/live/show/index.m3u8")
        await client.get("/live/show/index.m3u8")
    assert (await client.get("/live/show/index.m3u8")).status == 200
    port.pass_time(76)
    assert await client.closed() == b""


async def test_a_lease_is_no_leave_to_play(open_port: OpenPort) -> None:
    port = await open_port(trusted_proxies=("127.0.0.1",))
    client, _ = await leased(port, "index.m3u8")
    assert len(port.doorkeeper.asked) == 1
    assert (await client.get("/live/show/index.m3u8")).status == 200
    port.pass_time(GRANT_LIFE)
    assert (await client.get("/live/show/index.m3u8")).status == 200
    assert len(port.doorkeeper.asked) == 2
    # Somebody else behind the same proxy, on the same connection; then on one that somebody with leave has used.
    await client.get("/live/show/index.m3u8", "X-Forwarded-For: 10.0.0.1")
    port.pass_time(GRANT_LIFE - 1)
    other = await port.connect()
    await other.get("/live/show/index.m3u8", "X-Forwarded-For: 10.0.0.2")
    port.pass_time(2)
    await other.get("/live/show/index.m3u8", "X-Forwarded-For: 10.0.0.1")
    assert [request.address for request in port.doorkeeper.asked[2:]] == ["10.0.0.1", "10.0.0.2", "10.0.0.1"]


async def test_what_comes_late_is_no_answer_to_the_next_one_who_asks(port: Port) -> None:
    signal = Signal()
    port.resolver.answers["video.m3u8"] = Wait(signal, 0.0, lambda: PLAYLIST)
    port.resolver.leases["video.m3u8"] = Lease(holds=True)
    client = await port.connect()
    for _ in range(3):
        await client.send(ASK.replace("index", "video"))
        await port.until(lambda: bool(signal.callbacks))
        port.pass_time(1)
        assert (await client.reply()).body == PLAYLIST.body


async def test_who_is_woken_sees_what_is_new_whatever_was_promised(port: Port) -> None:
    """The lease ends only after all were woken, so what a woken player asks for behind that is looked up."""
    signal = Signal()
    client, lease = await leased(port, "index.m3u8")
    port.resolver.answers["video.m3u8"] = Wait(signal, 6.0)
    await client.send(ASK.replace("index", "video") + ASK)
    await signal.added.wait()
    port.resolver.answers |= {"video.m3u8": NEWER, "index.m3u8": NEWER}
    assert lease.holds
    signal.fire()
    assert [(await client.reply()).body for _ in range(2)] == [NEWER.body] * 2


async def test_a_large_answer_is_repeated_whole(port: Port) -> None:
    port.resolver.answers["video/9.m4s"] = Ready(bytes(range(256)) * 1000, "video/mp4", 60.0, immutable=True)
    client, _ = await leased(port, "video/9.m4s")
    for _ in range(3):
        for _ in range(3):
            assert (await client.get("/live/show/video/9.m4s")).body == bytes(range(256)) * 1000
        port.pass_time(1)
    assert len(port.resolver.asked) == 2
