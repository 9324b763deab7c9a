"""The engine's door: starting, stopping, looking in."""

import asyncio
import ssl
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession, web

from mediaserver.config import Config, HlsConfig, HttpConfig, RtmpConfig
from mediaserver.engine import Engine, EngineState
from mediaserver.errors import Unavailable
from mediaserver.events import PlayEnded, PlayStarted, PublishEnded
from mediaserver.ports import Wire
from protocols.media import Codec
from protocols.rtmp.events import ReconnectRequested
from tests.mediaserver.running import GOP, PATIENCE, Doorkeeper, Notes, Running, local, nothing, running, self_signed
from tests.peers import answers, free_port


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    return self_signed(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
async def town() -> AsyncIterator[Running]:
    async with running() as town:
        yield town


async def test_before_its_start_and_after_its_end_there_is_nothing_to_see() -> None:
    engine = Engine(local(Config()), Doorkeeper(), Notes())
    with pytest.raises(Unavailable):
        engine.snapshot()
    await engine.start(web.Server(nothing))
    assert engine.snapshot().streams == ()
    await engine.stop(1)
    assert engine.state is EngineState.STOPPED
    with pytest.raises(Unavailable):
        engine.snapshot()


@pytest.mark.parametrize("taken", ["rtmp", "http"])
async def test_a_port_that_is_taken_stops_the_start_and_leaves_none_open(taken: str, town: Running) -> None:
    config = local(Config())
    theirs, ours = getattr(town.engine.config, taken), getattr(config, taken)
    engine = Engine(config.model_copy(update={taken: ours.model_copy(update={"port": theirs.port})}), Doorkeeper(), Notes())
    with pytest.raises(OSError, match="in use"):
        await engine.start(web.Server(nothing))
    assert not answers(config.rtmp.port if taken == "http" else config.http.port)


async def test_a_snapshot_tells_who_publishes_and_plays_what(town: Running) -> None:
    async with town.client("show") as publisher, town.client("show") as player:
        await publisher.publish()
        await publisher.send(*GOP)
        await player.play()
        await player.receive(4)
        snapshot = town.engine.snapshot()
        (stream,) = snapshot.streams
        assert (stream.name, stream.publishing, stream.players[Wire.RTMP]) == ("show", True, 1)
        assert (stream.tracks[0].codec, stream.tracks[0].width, stream.tracks[0].height) == (Codec.H264, 320, 192)
        roles = {session.publishing: session for session in snapshot.sessions}
        assert roles[True].bytes_in > sum(len(body) for _, _, body in GOP)
        assert roles[False].bytes_out > sum(len(body) for _, _, body in GOP)
        assert snapshot.bytes_in >= roles[True].bytes_in
        assert snapshot.bytes_out >= roles[False].bytes_out
    await town.notes.wait_for(PlayEnded)
    # What is gone still counts.
    assert town.engine.snapshot().bytes_in >= snapshot.bytes_in
    assert town.engine.snapshot().bytes_out >= snapshot.bytes_out


async def test_stop_tells_players_and_publishers_and_takes_nobody_new() -> None:
    async with running() as town:
        async with town.client("show") as publisher, town.client("show") as player:
            await publisher.publish()
            await publisher.send(*GOP)
            await player.play()
            stopping = asyncio.get_running_loop().create_task(town.engine.stop(5))
            await player.status("NetStream.Play.UnpublishNotify")
            await publisher.status("NetStream.Publish.Rejected")
            await player.closed()
            await publisher.closed()
            await stopping
        assert not answers(town.engine.config.rtmp.port)
        assert not answers(town.engine.config.http.port)
        assert getattr(await town.notes.wait_for(PublishEnded), "reason", "") == "the server is stopping"
        assert len(town.notes.of(PlayEnded)) == len(town.notes.of(PlayStarted)) == 1


async def test_a_stop_asks_those_who_understand_it_to_come_back_and_they_find_no_port_that_refuses_them() -> None:
    async with running() as town:
        async with town.client("show", properties={"capsEx": 1.0}) as publisher, town.client("other") as plain:
            await publisher.publish()
            await plain.publish()
            stopping = asyncio.get_running_loop().create_task(town.engine.stop(5))
            await publisher.wait_for(lambda: any(isinstance(event, ReconnectRequested) for event in publisher.events))
            assert not answers(town.engine.config.rtmp.port)
            await publisher.closed()
            await plain.closed()
            await stopping
        assert [status.level for status in publisher.statuses] == ["status", "status"]
        assert [status.level for status in plain.statuses] == ["status", "error"]
        assert not any(isinstance(event, ReconnectRequested) for event in plain.events)


async def test_closing_the_ports_is_an_end_and_no_wish_to_come_back() -> None:
    async with running() as town, town.client("show", properties={"capsEx": 1.0}) as publisher:
        await publisher.publish()
        await town.engine.close_rtmp("switched off")
        await publisher.closed()
        assert not any(isinstance(event, ReconnectRequested) for event in publisher.events)


async def test_a_player_of_flv_is_seen_and_can_be_sent_away(town: Running) -> None:
    async with town.client("show") as publisher, ClientSession() as session:
        await publisher.publish()
        await publisher.send(*GOP)
        async with session.get(f"http://127.0.0.1:{town.engine.config.http.port}/live/show.flv") as response:
            assert (await response.content.readexactly(3)) == b"FLV"
            (seen,) = (each for each in town.engine.snapshot().sessions if not each.publishing)
            assert seen.wire is Wire.HTTP_FLV
            assert town.engine.kick(seen.session_id, "time is up")
            async with asyncio.timeout(PATIENCE):
                await response.content.read()
        assert getattr(await town.notes.wait_for(PlayEnded), "reason", "") == "time is up"


async def test_a_task_that_fails_is_reported() -> None:
    async def work() -> None:
        raise ValueError("a bug")

    async def failing() -> None:
        async with running() as town:
            task = town.engine.spawn(work())
            await asyncio.wait((task,))
            await asyncio.sleep(0)
            (failure,) = town.failures
            assert isinstance(failure["exception"], ValueError)
            town.failures.clear()

    await failing()


@pytest.mark.parametrize("unasked", [HlsConfig(always=True), HlsConfig(dvr=60.0)], ids=["always", "dvr"])
async def test_hls_is_packaged_from_the_first_packet_on_where_it_is_asked_for(unasked: HlsConfig) -> None:
    async with running(Config(hls=unasked)) as town, town.client("show") as publisher:
        await publisher.publish()
        assert town.engine._packagers.find("show") is not None
    async with running() as town, town.client("show") as publisher:
        await publisher.publish()
        assert town.engine._packagers.find("show") is None


async def test_what_is_no_media_is_handed_to_the_pages(town: Running) -> None:
    async with ClientSession() as session, session.get(f"http://127.0.0.1:{town.engine.config.http.port}/anything") as response:
        assert response.status == 404


async def test_plain_http_on_the_port_of_https_is_told_so_and_costs_others_nothing(certificate: tuple[str, str]) -> None:
    http = HttpConfig(tls_cert=certificate[0], tls_key=certificate[1])
    async with running(Config(http=http)) as town, ClientSession() as session:
        address = f"127.0.0.1:{town.engine.config.http.port}"
        for method in ("GET", "POST"):
            async with session.request(method, f"http://{address}/watch/show") as response:
                assert response.status == 400
                assert "https://" in await response.text()
        trusting = ssl.create_default_context(cafile=certificate[0])
        async with session.get(f"https://{address}/anything", ssl=trusting) as response:
            assert response.status == 404
        reader, writer = await asyncio.open_connection("127.0.0.1", town.engine.config.http.port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        assert (await reader.readuntil(b"https://")).startswith(b"HTTP/1.1 400 ")
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        assert b"HTTP" not in await reader.read(), "it is told once, and the connection ends"
        writer.close()


async def test_tls_is_at_least_1_2(certificate: tuple[str, str]) -> None:
    rtmp = RtmpConfig(tls_port=free_port(), tls_cert=certificate[0], tls_key=certificate[1])
    http = HttpConfig(tls_cert=certificate[0], tls_key=certificate[1])
    async with running(Config(rtmp=rtmp, http=http)) as town:
        old = ssl.create_default_context(cafile=certificate[0])
        old.minimum_version, old.maximum_version = ssl.TLSVersion.MINIMUM_SUPPORTED, ssl.TLSVersion.TLSv1_2
        async with ClientSession() as session:
            url = f"https://127.0.0.1:{town.engine.config.http.port}/anything"
            async with session.get(url, ssl=old) as response:
                assert response.status == 404
        async with town.tls_client("show") as publisher:
            await publisher.publish()
            assert town.engine.snapshot().sessions[0].wire is Wire.RTMPS
