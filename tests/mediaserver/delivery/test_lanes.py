"""Both lanes of the HTTP port answer alike: each test runs on a fresh connection and on one that aiohttp has."""

import asyncio
import gzip
from collections.abc import Awaitable, Callable

import pytest

from mediaserver.events import PlayEnded, PlayStarted
from mediaserver.packaging.answer import Gone, Growing, Ready, TooFar, Wait
from mediaserver.ports import Wire
from tests.mediaserver.delivery.conftest import PLAYLIST, SEGMENT, Connect, Port, Signal


async def test_a_playlist_comes_with_its_type_and_a_short_age(port: Port, connect: Connect) -> None:
    reply = await (await connect(port)).get("/live/show/index.m3u8")
    assert (reply.status, reply.body) == (200, PLAYLIST.body)
    assert reply.headers["content-type"] == "application/vnd.apple.mpegurl"
    assert reply.headers["cache-control"] == "public, max-age=1"
    assert reply.headers["server"] == "mediaserver"
    assert reply.headers["date"].endswith("GMT")
    assert reply.headers["vary"] == "Accept-Encoding"


async def test_a_connection_answers_request_after_request(port: Port, connect: Connect) -> None:
    client = await connect(port)
    for _ in range(3):
        assert (await client.get("/live/show/index.m3u8")).body == PLAYLIST.body
        assert (await client.get("/live/show/video/7.m4s")).body == SEGMENT.body
    assert len(port.doorkeeper.asked) == 1


async def test_a_segment_is_immutable_to_caches(port: Port, connect: Connect) -> None:
    reply = await (await connect(port)).get("/live/show/video/7.m4s")
    assert reply.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert reply.headers["accept-ranges"] == "bytes"


async def test_a_playlist_that_may_not_be_kept_says_so(port: Port, connect: Connect) -> None:
    port.resolver.answers["index.m3u8"] = Ready(b"#EXTM3U\n", "application/vnd.apple.mpegurl", 0.4)
    assert (await (await connect(port)).get("/live/show/index.m3u8")).headers["cache-control"] == "no-cache"


async def test_what_only_caches_of_many_may_keep_says_so(port: Port, connect: Connect) -> None:
    port.resolver.answers["index.m3u8"] = Ready(b"#EXTM3U\n", "application/vnd.apple.mpegurl", 0.0, shared_age=2.5)
    reply = await (await connect(port)).get("/live/show/index.m3u8")
    assert reply.headers["cache-control"] == "public, max-age=0, s-maxage=2"


async def test_a_range_that_is_not_there_is_kept_by_no_cache(port: Port, connect: Connect) -> None:
    client = await connect(port)
    reply = await client.get("/live/show/video/7.m4s", "Range: bytes=102400-")
    assert (reply.status, reply.headers["cache-control"]) == (416, "no-store")
    reply = await client.get("/live/show/video/7.m4s", "Range: bytes=0-9")
    assert (reply.status, reply.headers["cache-control"]) == (206, "public, max-age=31536000, immutable")


@pytest.mark.parametrize("validator", ['"x"', "Mon, 23 Nov 2026 00:00:00 GMT"])
async def test_a_range_of_what_was_had_before_is_the_whole(port: Port, connect: Connect, validator: str) -> None:
    client = await connect(port)
    for asked in ("0-9", "102400-"):
        reply = await client.get("/live/show/video/7.m4s", f"Range: bytes={asked}", f"If-Range: {validator}")
        assert (reply.status, reply.body) == (200, SEGMENT.body)


async def test_a_changed_answer_is_seen_by_the_next_request(port: Port, connect: Connect) -> None:
    client = await connect(port)
    for body in (b"one", b"two", b"three"):
        port.resolver.answers["index.m3u8"] = Ready(body, "text/plain", 1.0)
        assert (await client.get("/live/show/index.m3u8")).body == body


@pytest.mark.parametrize(
    ("accepts", "compressed"),
    [
        ("gzip", True),
        ("br, gzip;q=0.5", True),
        ("*", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("br", False),
        ("", False),
    ],
)
async def test_text_is_compressed_for_those_who_accept_it(port: Port, connect: Connect, accepts: str, compressed: bool) -> None:
    port.resolver.answers["index.m3u8"] = Ready(b"#EXTM3U\n", "text/plain", 1.0, gzipped=gzip.compress(b"#EXTM3U\n"))
    reply = await (await connect(port)).get("/live/show/index.m3u8", f"Accept-Encoding: {accepts}")
    assert (reply.headers.get("content-encoding") == "gzip") is compressed
    assert (gzip.decompress(reply.body) if compressed else reply.body) == b"#EXTM3U\n"
    assert reply.headers["vary"] == "Accept-Encoding"


@pytest.mark.parametrize("resource", ["index.m3u8", "video/7.m4s"])
async def test_head_tells_what_get_would_without_the_body(port: Port, connect: Connect, resource: str) -> None:
    client = await connect(port)
    shown = await client.get(f"/live/show/{resource}", method="HEAD")
    told = await client.get(f"/live/show/{resource}")
    assert shown.status == 200
    assert {k: v for k, v in shown.headers.items() if k != "date"} == {k: v for k, v in told.headers.items() if k != "date"}
    assert int(shown.headers["content-length"]) == len(told.body)


@pytest.mark.parametrize(
    ("asked", "status", "told", "body"),
    [
        ("bytes=0-9", 206, "bytes 0-9/102400", SEGMENT.body[:10]),
        ("bytes=102390-", 206, "bytes 102390-102399/102400", SEGMENT.body[-10:]),
        ("bytes=-5", 206, "bytes 102395-102399/102400", SEGMENT.body[-5:]),
        ("bytes=5-999999999999", 206, "bytes 5-102399/102400", SEGMENT.body[5:]),
        ("bytes=-999999999999", 206, "bytes 0-102399/102400", SEGMENT.body),
        ("bytes=102400-", 416, "bytes */102400", b""),
        ("bytes=-0", 416, "bytes */102400", b""),
        ("bytes=9-5", 200, None, SEGMENT.body),
        ("bytes=0-1,5-6", 200, None, SEGMENT.body),
        ("bytes=-", 200, None, SEGMENT.body),
        ("bytes=" + "9" * 400 + "-", 200, None, SEGMENT.body),
        ("lines=1-2", 200, None, SEGMENT.body),
    ],
)
async def test_one_range_of_a_segment(
    port: Port, connect: Connect, asked: str, status: int, told: str | None, body: bytes
) -> None:
    client = await connect(port)
    reply = await client.get("/live/show/video/7.m4s", f"Range: {asked}")
    assert (reply.status, reply.headers.get("content-range"), reply.body) == (status, told, body)
    assert (await client.get("/live/show/index.m3u8", f"Range: {asked}")).status == 200


async def test_any_page_may_read_by_default_and_credentials_are_never_allowed(port: Port, connect: Connect) -> None:
    client = await connect(port)
    for reply in (
        await client.get("/live/show/index.m3u8", "Origin: https://a.example"),
        await client.get("/live/show/index.m3u8", "Origin: https://a.example", method="OPTIONS"),
        await client.get("/live/none/index.m3u8", "Origin: https://a.example"),
    ):
        assert reply.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in reply.headers


async def test_only_listed_pages_may_read_where_they_are_listed(
    open_port: Callable[..., Awaitable[Port]], connect: Connect
) -> None:
    port = await open_port(cors_origins=("https://a.example",))
    client = await connect(port)
    good = await client.get("/live/show/index.m3u8", "Origin: https://a.example")
    bad = await client.get("/live/show/index.m3u8", "Origin: https://b.example")
    assert good.headers["access-control-allow-origin"] == "https://a.example"
    assert "access-control-allow-origin" not in bad.headers
    assert good.headers["vary"] == bad.headers["vary"] == "Accept-Encoding, Origin"
    assert (
        "access-control-allow-methods"
        not in (await client.get("/live/show/index.m3u8", "Origin: https://b.example", method="OPTIONS")).headers
    )


async def test_a_preflight_allows_what_players_send(port: Port, connect: Connect) -> None:
    reply = await (await connect(port)).get(
        "/live/show/index.m3u8", "Origin: https://a.example", "Access-Control-Request-Method: GET", method="OPTIONS"
    )
    assert reply.status == 204
    assert reply.headers["access-control-allow-methods"] == "GET, HEAD, OPTIONS"
    assert "Range" in reply.headers["access-control-allow-headers"]
    assert int(reply.headers["access-control-max-age"]) > 0


async def test_an_unknown_stream_is_a_clean_404_and_nobody_is_asked(port: Port, connect: Connect) -> None:
    client = await connect(port)
    for target in ("/live/none/index.m3u8", "/live/none.flv", "/live/none/video/1.m4s"):
        reply = await client.get(target)
        assert (reply.status, reply.body) == (404, b"there is no such thing here\n")
        assert reply.headers["cache-control"] == "public, max-age=1"
    assert port.doorkeeper.asked == []


async def test_what_is_gone_and_what_is_too_far_ahead(port: Port, connect: Connect) -> None:
    port.resolver.answers |= {"video/1.m4s": Gone(), "video.m3u8": TooFar("that is too far ahead")}
    client = await connect(port)
    assert (await client.get("/live/show/video/1.m4s")).status == 404
    reply = await client.get("/live/show/video.m3u8?_HLS_msn=99999999999999999999&_HLS_part=-1")
    assert (reply.status, reply.body) == (400, b"that is too far ahead\n")
    assert reply.headers["cache-control"] == "no-store"
    assert port.resolver.asked[-1][2] == {"_HLS_msn": "99999999999999999999", "_HLS_part": "-1"}


@pytest.mark.parametrize(
    "target",
    [
        "/live/../../etc/passwd",
        "/live/show/../../../etc/passwd",
        "/live/%2e%2e/%2e%2e/etc/passwd",
        "/live/..%2f..%2fetc%2fpasswd",
        "/live/show/..%5c..%5cboot.ini",
        "/live/show/%2e%2e%2f%2e%2e%2findex.m3u8",
        "/live/show/.%2e/show/index.m3u8",
        "/live/show/%252e%252e/index.m3u8",
        "/live/show//index.m3u8",
        "/live/show/./index.m3u8",
        "/live/show/index.m3u8/",
        "/live/show/index.m3u8%00",
        "/live/sh%0d%0aSet-Cookie:x/index.m3u8",
        "/live/%E2%80%AEshow/index.m3u8",
        "/live/show/%E2%88%95index.m3u8",
        "/live/" + "a" * 200 + "/index.m3u8",
        "/live/",
        "/live/show",
        "/live/.flv",
        "/live/show/..;/index.m3u8",
    ],
)
async def test_addresses_that_climb_find_nothing(port: Port, connect: Connect, target: str) -> None:
    client = await connect(port)
    reply = await client.get(target)
    assert reply.status == 404
    assert b"passwd" not in reply.body
    assert b"show" not in reply.body
    assert port.resolver.asked == []
    assert (await client.get("/live/show/index.m3u8")).status == 200


@pytest.mark.parametrize("target", ["/live/%/index.m3u8", "/live/show/%zz", "/live/%C0%AE%C0%AE/x", "/live/show/index.m3u8?a=%f"])
async def test_escapes_that_are_none_are_refused_and_not_reflected(port: Port, connect: Connect, target: str) -> None:
    client = await connect(port)
    reply = await client.get(target)
    assert reply.status == 400
    assert reply.headers["connection"] == "close"
    assert reply.body.startswith((b"malformed percent escape", b"percent escapes are not UTF-8"))


async def test_a_name_may_be_escaped(port: Port, connect: Connect) -> None:
    assert (await (await connect(port)).get("/live/%73how/index%2Em3u8")).body == PLAYLIST.body


async def test_a_body_with_a_request_for_media_is_refused(port: Port, connect: Connect) -> None:
    reply = await (await connect(port)).get("/live/show/index.m3u8", "Content-Length: 5")
    assert (reply.status, reply.body) == (400, b"a request for media has no body\n")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_other_methods_are_not_for_media(port: Port, connect: Connect, method: str) -> None:
    reply = await (await connect(port)).get("/live/show/index.m3u8", method=method)
    assert reply.status == 405
    assert reply.headers["allow"] == "GET, HEAD, OPTIONS"


async def test_who_may_not_play_is_told_why(port: Port, connect: Connect) -> None:
    port.resolver.names.add("private")
    client = await connect(port)
    for _ in range(2):
        reply = await client.get("/live/private/index.m3u8")
        assert (reply.status, reply.body) == (403, b"not for you\n")
        assert reply.headers["cache-control"] == "no-store"
    assert len(port.doorkeeper.asked) == 2


async def test_the_authorizer_sees_address_query_and_agent_and_no_directives(port: Port, connect: Connect) -> None:
    await (await connect(port)).get("/live/show/index.m3u8?token=se%20cret&_HLS_msn=4", "User-Agent: someone")
    (asked,) = port.doorkeeper.asked
    assert (asked.name, asked.address, asked.query, asked.agent) == ("show", "127.0.0.1", "token=se%20cret", "someone")


async def test_a_yes_is_asked_for_anew_when_it_is_old_or_for_other_credentials(port: Port, connect: Connect) -> None:
    client = await connect(port)
    await client.get("/live/show/index.m3u8")
    await client.get("/live/show/index.m3u8?token=other")
    assert len(port.doorkeeper.asked) == 2
    port.pass_time(11)
    await client.get("/live/show/index.m3u8")
    assert len(port.doorkeeper.asked) == 3


async def test_forwarded_addresses_count_only_from_trusted_proxies(
    open_port: Callable[..., Awaitable[Port]], connect: Connect
) -> None:
    async def seen(forwarded: str, *trusted: str) -> str:
        port = await open_port(trusted_proxies=trusted)
        await (await connect(port)).get("/live/show/index.m3u8", f"X-Forwarded-For: {forwarded}")
        return port.doorkeeper.asked[-1].address

    assert await seen("203.0.113.9") == "127.0.0.1"
    assert await seen("203.0.113.9", "10.0.0.0/8") == "127.0.0.1"
    assert await seen("203.0.113.9", "127.0.0.1") == "203.0.113.9"
    assert await seen("6.6.6.6, 203.0.113.9, 10.1.2.3", "127.0.0.1", "10.0.0.0/8") == "203.0.113.9"
    assert await seen("2001:db8::9", "127.0.0.1") == "2001:db8::9"
    assert await seen("<script>", "127.0.0.1") == ""


async def test_a_blocked_request_is_answered_when_what_it_waits_for_is_there(port: Port, connect: Connect) -> None:
    signal = Signal()
    port.resolver.answers["video.m3u8"] = Wait(signal, 600.0)
    client = await connect(port)
    waiting = asyncio.ensure_future(client.get("/live/show/video.m3u8?_HLS_msn=5"))
    await signal.added.wait()
    signal.fire()
    await signal.added.wait()
    assert not waiting.done()
    port.resolver.answers["video.m3u8"] = PLAYLIST
    signal.fire()
    assert (await waiting).body == PLAYLIST.body
    assert (await client.get("/live/show/index.m3u8")).status == 200


async def test_a_segment_that_grows_is_sent_as_it_grows(port: Port, connect: Connect) -> None:
    signal, made = Signal(), [b"one"]
    complete = False
    port.resolver.answers["video/8.m4s"] = Growing(lambda n: (b"".join(made)[n:], complete), "video/mp4", signal, 600.0)
    client = await connect(port)
    await client.send("GET /live/show/video/8.m4s HTTP/1.1\r\nHost: x\r\n\r\n")
    status, headers = await client.head()
    assert (status, headers["transfer-encoding"], headers["content-type"]) == (200, "chunked", "video/mp4")
    assert await client.chunk() == b"one"
    await signal.added.wait()
    made.append(b"two")
    signal.fire()
    assert await client.chunk() == b"two"
    await signal.added.wait()
    made.append(b"three")
    complete = True
    signal.fire()
    assert await client.chunk() == b"three"
    assert await client.chunk() == b""
    assert (await client.get("/live/show/index.m3u8")).status == 200


async def test_http_1_0_gets_a_growing_segment_to_the_end_of_the_connection(port: Port, connect: Connect) -> None:
    port.resolver.answers["video/8.m4s"] = Growing(lambda n: (b"whole"[n:], True), "video/mp4", Signal(), 600.0)
    client = await connect(port)
    reply = await client.get("/live/show/video/8.m4s", version="1.0")
    assert "transfer-encoding" not in reply.headers
    assert reply.body == b"whole"


async def test_head_of_a_growing_segment_has_no_length(port: Port, connect: Connect) -> None:
    port.resolver.answers["video/8.m4s"] = Growing(lambda n: (b"whole"[n:], True), "video/mp4", Signal(), 600.0)
    client = await connect(port)
    reply = await client.get("/live/show/video/8.m4s", method="HEAD")
    assert reply.status == 200
    assert "content-length" not in reply.headers
    assert (await client.get("/live/show/index.m3u8")).status == 200


async def test_a_client_that_asks_to_close_is_closed(port: Port, connect: Connect) -> None:
    client = await connect(port)
    reply = await client.get("/live/show/index.m3u8", "Connection: close")
    assert (reply.body, reply.headers["connection"]) == (PLAYLIST.body, "close")
    assert await client.closed() == b""


async def test_requests_are_counted_by_kind(port: Port, connect: Connect) -> None:
    client = await connect(port)
    for target in ("index.m3u8", "video/7.m4s", "video/7.m4s", "nothing.m4s"):
        await client.get(f"/live/show/{target}")
    requests = port.web.counters.requests
    assert (requests["playlist"], requests["segment"], requests["missing"]) == (1, 2, 1)
    assert port.web.counters.bytes_out >= 2 * len(SEGMENT.body)


async def test_a_promise_that_is_late_is_answered_with_what_there_is(port: Port, connect: Connect) -> None:
    signal = Signal()
    port.resolver.answers["video.m3u8"] = Wait(signal, 0.0, lambda: PLAYLIST)
    client = await connect(port)
    await client.send("GET /live/show/video.m3u8 HTTP/1.1\r\nHost: x\r\n\r\n")
    await port.until(lambda: bool(port.doorkeeper.asked))
    port.pass_time(1)
    await port.until(lambda: not signal.callbacks)
    reply = await client.reply()
    assert (reply.status, reply.body) == (200, PLAYLIST.body)
    assert not signal.callbacks
    assert (await client.get("/live/show/index.m3u8")).status == 200


async def test_viewers_are_counted_by_name_address_agent_and_wire(port: Port, connect: Connect) -> None:
    port.resolver.answers |= {"manifest.mpd": PLAYLIST, "audio.m3u8": PLAYLIST}
    one, two, three, four = [await connect(port) for _ in range(4)]
    for _ in range(2):
        for client, agent in ((one, "a"), (two, "a"), (three, "b")):
            for target in ("index.m3u8", "audio.m3u8", "video/7.m4s"):
                await client.get(f"/live/show/{target}", f"User-Agent: {agent}")
        await four.get("/live/show/manifest.mpd", "User-Agent: c")
        await three.get("/live/nobody/index.m3u8", "User-Agent: d")
        port.pass_time(1)
    assert port.web.viewers() == {"show": {Wire.HLS: 2, Wire.DASH: 1}}
    for _ in range(3):
        await one.get("/live/show/audio.m3u8", "User-Agent: a")
        port.pass_time(4)
    assert port.web.viewers() == {"show": {Wire.HLS: 1}}
    port.pass_time(11)
    assert port.web.viewers() == {}


async def test_a_viewer_with_a_connection_for_each_request_counts_once(port: Port, connect: Connect) -> None:
    for _ in range(3):
        client = await connect(port)
        await client.get("/live/show/index.m3u8", "Connection: close")
        assert await client.closed() == b""
        await port.until(lambda: not port.web._connections)
        port.pass_time(1)
    assert port.web.viewers() == {"show": {Wire.HLS: 1}}


async def test_a_proxy_s_connection_has_as_many_viewers_as_it_forwards(
    open_port: Callable[..., Awaitable[Port]], connect: Connect
) -> None:
    port = await open_port(trusted_proxies=("127.0.0.1",))
    client = await connect(port)
    for turn in (0, 1):
        for number in range(5):
            assert (await client.get("/live/show/index.m3u8", f"X-Forwarded-For: 10.0.0.{number}")).status == 200
        port.pass_time(1)
        assert port.web.viewers() == ({"show": {Wire.HLS: 5}} if turn else {})


async def test_a_session_token_tells_viewers_apart_and_one_from_its_own_other_protocol(port: Port, connect: Connect) -> None:
    port.resolver.answers |= {"manifest.mpd": PLAYLIST, "video.m3u8": PLAYLIST}
    one, two = await connect(port), await connect(port)
    for _ in range(2):
        await one.get("/live/show/index.m3u8?session=token-one")
        await one.get("/live/show/video.m3u8?_HLS_skip=YES&session=token-one")
        await two.get("/live/show/video.m3u8?session=token-two&_HLS_skip=YES")
        port.pass_time(1)
    assert port.web.viewers() == {"show": {Wire.HLS: 2}}
    await one.get("/live/show/manifest.mpd?session=token-one")
    port.pass_time(1)
    assert port.web.viewers() == {"show": {Wire.HLS: 1, Wire.DASH: 1}}
    started = [event for event in port.sink.events if isinstance(event, PlayStarted)]
    assert {event.token for event in started} == {"token-one", "token-two"}
    port.pass_time(20)
    ended = [event for event in port.sink.events if isinstance(event, PlayEnded)]
    assert {event.session_id for event in ended} == {event.session_id for event in started}


async def test_a_cdn_s_connection_has_as_many_viewers_as_tokens(port: Port, connect: Connect) -> None:
    port.resolver.answers["video.m3u8"] = PLAYLIST
    client = await connect(port)
    for turn in (0, 1):
        for number in range(5):
            assert (await client.get(f"/live/show/video.m3u8?session=a-token-{number}")).status == 200
        await client.get("/live/show/video.m3u8")
        port.pass_time(1)
        assert port.web.viewers() == ({"show": {Wire.HLS: 6}} if turn else {})


async def test_a_token_gives_no_leave_to_play_and_asks_for_none(port: Port, connect: Connect) -> None:
    client = await connect(port)
    for number in range(3):
        await client.get(f"/live/show/index.m3u8?ticket=1&session=token-{number}")
    assert [request.query for request in port.doorkeeper.asked] == ["ticket=1"]


async def test_the_server_s_end_is_the_end_of_sessions(port: Port, connect: Connect) -> None:
    client = await connect(port)
    for _ in range(3):
        await client.get("/live/show/index.m3u8")
        port.pass_time(1)
    await client.close()
    await port.web.close("the server is stopping")
    started, ended = [event for event in port.sink.events if isinstance(event, (PlayStarted, PlayEnded))]
    assert isinstance(started, PlayStarted)
    assert isinstance(ended, PlayEnded)
    assert (started.session_id, started.wire, ended.reason) == (ended.session_id, Wire.HLS, "the server is stopping")


async def test_nobody_watches_what_is_over(port: Port, connect: Connect) -> None:
    client = await connect(port)
    for _ in range(2):
        await client.get("/live/show/index.m3u8")
        port.pass_time(1)
    assert port.web.viewers()
    port.publisher.close("over")
    port.pass_time(1)
    assert not port.web.viewers()
    assert len(port.web._audience) == 0
