"""Sockets, deadlines and the beat around RTMP: on the loop that serves and on Python's own."""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import AsyncIterator
from time import monotonic
from typing import cast

import pytest

from mediaserver.config import Config, LimitsConfig, RtmpConfig
from mediaserver.engine import EngineState
from mediaserver.errors import Unavailable
from mediaserver.events import PublishEnded
from mediaserver.hub.beat import Beat, Pace
from mediaserver.ingest.rtmp import RtmpEndpoint
from mediaserver.ports import Wire
from mediaserver.transport import rtmp as rtmp_module
from mediaserver.transport.deadlines import IN_A_ROW
from mediaserver.transport.rtmp import Role, RtmpListener
from protocols.rtmp.client import ClientSession
from protocols.rtmp.limits import SessionLimits
from protocols.rtmp.message import VIDEO
from tests.mediaserver.running import GOP, HEADER, PATIENCE, Client, Running, picture, running, self_signed
from tests.peers import free_port

AT_ONCE = Config(rtmp=RtmpConfig(reconnect_grace=0))
CROWD = 24


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    return self_signed(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> float:
    """Seconds, more than a test takes, that a connection may take to flush its last words."""
    monkeypatch.setattr(rtmp_module, "CLOSING_TIME", 300.0)
    return 300.0


def beat(town: Running) -> Beat:
    return town.engine._beat


async def test_into_the_beat_and_out_again_with_a_publisher_over_tls(certificate: tuple[str, str]) -> None:
    """Publishers come until the beat reads them all, one of them over TLS, and go; nobody's packets are lost on the way."""
    rtmp = RtmpConfig(tls_port=free_port(), tls_cert=certificate[0], tls_key=certificate[1], reconnect_grace=0)
    async with running(Config(rtmp=rtmp)) as town:
        async with contextlib.AsyncExitStack() as stack:
            names = ["secret", *(f"plain{number}" for number in range(CROWD))]
            clients = [town.tls_client(name) if name == "secret" else town.client(name) for name in names]
            publishers = [await (await stack.enter_async_context(client)).publish() for client in clients]
            players = [await (await stack.enter_async_context(town.client(name))).play() for name in names[:3]]
            assert beat(town).pace is Pace.BEAT
            sent = [picture(number, keyframe=number % 25 == 0) for number in range(50)]
            for number, tag in enumerate(sent):
                for client in publishers:
                    await client.send(*([HEADER] if number == 0 else []), tag)
                if number == 0:
                    for player in players:
                        await player.receive_until(tag[2])
                if number == 25:
                    for client in publishers[3:]:
                        await client.__aexit__()
                    del publishers[3:]
                    await town.until(lambda: beat(town).pace is not Pace.BEAT)
            for player in players:
                await player.receive_until(sent[-1][2])
                assert [event.body for event in player.media if event.body[1]] == [body for _, _, body in sent]
        await town.notes.wait_for(PublishEnded, CROWD + 1)
        assert beat(town).pace is Pace.IMMEDIATE


async def test_every_byte_in_a_packet_of_its_own() -> None:
    async with running() as town:
        session = ClientSession("live", "rtmp://127.0.0.1/live")
        reader, writer = await asyncio.open_connection("127.0.0.1", town.engine.config.rtmp.port)
        session.start()
        session.publish("show")
        while not town.names():
            for byte in session.data_to_send():
                writer.write(bytes((byte,)))
                await writer.drain()
            session.receive_data(await reader.read(1 << 16))
        assert town.names() == {"show"}
        writer.close()
        await writer.wait_closed()


async def test_a_connection_that_does_not_come_to_the_point_is_closed(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with running() as town, town.client("show") as silent, town.client("show") as publisher:
        await publisher.publish()
        await silent.connect()
        (newcomer,) = (each for each in town.engine._rtmp.connections if each.role is Role.UNDECIDED)
        town.engine._rtmp.sweep(newcomer._started + 9)
        assert not newcomer.closing
        town.engine._rtmp.sweep(newcomer._started + 11)
        await silent.closed()
        assert town.names() == {"show"}
        (record,) = caplog.records
        assert record.getMessage() == "connection_refused"
        assert vars(record)["facts"]["reason"] == "neither published nor played in time"


async def test_who_dawdles_over_the_tls_handshake_has_no_more_time_than_others(certificate: tuple[str, str]) -> None:
    rtmp = RtmpConfig(tls_port=free_port(), tls_cert=certificate[0], tls_key=certificate[1], handshake_timeout=300.0)
    async with running(Config(rtmp=rtmp)) as town, contextlib.AsyncExitStack() as stack:
        listener = town.engine._rtmp
        dawdler = town.tls_client("show")
        dawdler.reader, dawdler.writer = await asyncio.open_connection("127.0.0.1", dawdler.port)
        stack.callback(dawdler.writer.transport.abort)
        # By the time that one has an answer, the dawdler has been accepted.
        await (await stack.enter_async_context(town.client("show"))).connect()
        before = set(listener.connections)
        crowd = [await stack.enter_async_context(town.client("show")) for _ in range(2 * IN_A_ROW)]
        for client in crowd:
            await client.connect()
        first = min(connection._started for connection in listener.connections - before)
        await dawdler.writer.start_tls(cast(ssl.SSLContext, dawdler.context), server_hostname="127.0.0.1")
        await dawdler.connect()
        (late,) = (connection for connection in listener.connections if connection.session.wire is Wire.RTMPS)
        assert late._started < first
        listener.sweep((late._started + first) / 2 + rtmp.handshake_timeout)
        await dawdler.closed()
        assert not any(client.reader.at_eof() for client in crowd)


async def test_whatever_fails_at_its_end_a_connection_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ValueError("a bug")

    async with running() as town:
        async with town.client("show") as client:
            await client.connect()
            monkeypatch.setattr(RtmpEndpoint, "on_closed", broken)
        await town.until(lambda: not town.engine._rtmp.connections)
        assert [str(failure["exception"]) for failure in town.failures] == ["a bug"]
        town.failures.clear()


async def test_a_publisher_that_falls_silent_is_gone_after_the_idle_timeout() -> None:
    async with running(AT_ONCE) as town, town.client("show") as publisher, town.client("show") as player:
        await publisher.publish()
        await publisher.send(*GOP)
        await player.play()
        town.engine._rtmp.sweep(monotonic() + 31)
        await publisher.closed()
        ended = await town.notes.wait_for(PublishEnded)
        assert getattr(ended, "reason", "") == "idle for too long"
        # A player has nothing to say, however long.
        await player.status("NetStream.Play.UnpublishNotify")


async def test_no_more_connections_than_allowed() -> None:
    async with running(Config(limits=LimitsConfig(max_connections=2))) as town:
        async with town.client("one") as one, town.client("two") as two:
            await one.publish()
            await two.publish()
            async with town.client("three") as three:
                three.session.start()
                await three.closed()
            assert town.names() == {"one", "two"}
            # One number for all ports.
            reader, writer = await asyncio.open_connection("127.0.0.1", town.engine.config.http.port)
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
            writer.close()
        await town.until(lambda: not town.engine._rtmp.connections)
        async with town.client("three") as three:
            await three.publish()


async def test_a_peer_that_does_not_take_the_last_words_is_cut_off(patient: float) -> None:
    lasting = Config(rtmp=RtmpConfig(reconnect_grace=0, handshake_timeout=2 * patient, idle_timeout=2 * patient))
    async with running(lasting) as town, town.client("show") as publisher, town.client("show") as player:
        await publisher.publish()
        await player.play()
        await publisher.send(HEADER, picture(0, keyframe=True, size=4_000_000), picture(1, size=4_000_000))
        await town.until(lambda: town.engine.snapshot().bytes_out > 4_000_000)
        await publisher.ask("deleteStream", 1.0, stream_id=0)
        await town.notes.wait_for(PublishEnded)
        connections = town.engine._rtmp.connections
        assert len(connections) == 2
        town.engine._rtmp.sweep(monotonic() + patient + 1)
        await town.until(lambda: len(connections) == 1)


async def test_a_port_that_is_taken_is_an_error() -> None:
    async with running() as town:
        with pytest.raises(OSError, match="in use"):
            await town.engine._rtmp.listen("127.0.0.1", town.engine.config.rtmp.port)


async def test_close_ends_everybody_and_frees_the_port() -> None:
    loop = asyncio.get_running_loop()
    listener = RtmpListener(
        lambda _: pytest.fail("nobody said anything"),
        Beat(loop, 0.1),
        SessionLimits(),
        handshake_timeout=5,
        idle_timeout=5,
        has_room=lambda: True,
    )
    port = free_port()
    await listener.listen("127.0.0.1", port)
    async with Client(f"rtmp://127.0.0.1:{port}/live/show") as client:
        client.session.start()
        client.session.publish("show")
        await client.flush()
        while not listener.connections:
            await client.read()
        closing = loop.create_task(listener.close("over"))
        await client.closed()
        await closing
        assert not listener.connections
    await listener.listen("127.0.0.1", port)
    await listener.close("over")


@contextlib.asynccontextmanager
async def somebody_who_takes_nothing(town: Running) -> AsyncIterator[Client]:
    """A player whose last words wait behind megabytes that it does not read: closing waits for it."""
    async with town.client("show") as publisher, town.client("show") as player:
        await publisher.publish()
        await player.play()
        await publisher.send(HEADER, picture(0, keyframe=True, size=4_000_000), picture(1, size=4_000_000))
        await town.until(lambda: town.engine.snapshot().bytes_out > 4_000_000)
        yield player


async def test_a_port_that_is_opened_while_others_close_stays_open_and_can_be_closed(patient: float) -> None:
    async with running(AT_ONCE) as town, somebody_who_takes_nothing(town) as player:
        listener, port = town.engine._rtmp, free_port()
        closing = town.engine.spawn(listener.close("over", patient))
        await asyncio.sleep(0)
        await listener.listen("127.0.0.1", port)
        assert not closing.done()
        async with Client(f"rtmp://127.0.0.1:{port}/live/new") as client:
            await client.publish()
            assert not closing.done()
            player.writer.transport.abort()
            await closing
            assert town.names() == {"new"}
            again = town.engine.spawn(listener.close("over"))
            await client.closed()
            await again
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)


async def test_ports_that_are_opened_while_they_close_are_open_in_the_end_and_can_be_closed() -> None:
    async with running(AT_ONCE) as town:
        engine, port = town.engine, town.engine.config.rtmp.port
        async with somebody_who_takes_nothing(town):
            async with asyncio.timeout(PATIENCE):
                await asyncio.gather(engine.close_rtmp("stopped", 0.05), engine.open_rtmp())
        assert engine.rtmp_since > 0
        async with town.client("new") as client:
            await client.publish()
            async with asyncio.timeout(PATIENCE):
                await asyncio.gather(engine.close_rtmp("stopped"), engine.open_rtmp(), engine.close_rtmp("stopped"))
        assert engine.rtmp_since == 0
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)


async def test_whoever_finishes_a_tls_handshake_after_the_port_was_closed_is_turned_away(
    certificate: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    rtmp = RtmpConfig(tls_port=free_port(), tls_cert=certificate[0], tls_key=certificate[1])
    async with running(Config(rtmp=rtmp)) as town:
        trust = ssl.create_default_context(cafile=certificate[0])
        reader, writer = await asyncio.open_connection("127.0.0.1", rtmp.tls_port)
        # Connections are taken one after the other: when this one is there, that one has been.
        _, other = await asyncio.open_connection("127.0.0.1", rtmp.tls_port, ssl=trust, server_hostname="127.0.0.1")
        await town.until(lambda: len(town.engine._rtmp.connections) == 1)
        await town.engine.close_rtmp("stopped")
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.start_tls(trust, server_hostname="127.0.0.1")
            assert await reader.read() == b""
        writer.close()
        other.close()
        await town.until(lambda: not town.engine._rtmp.connections)
        reasons = [vars(record)["facts"]["reason"] for record in caplog.records]
        assert reasons.count("the port is closed") == 1


async def test_an_engine_that_stops_opens_no_ports() -> None:
    async with running() as town:
        engine = town.engine
        await engine.close_rtmp("stopped")
        engine.state = EngineState.DRAINING
        with pytest.raises(Unavailable):
            await engine.open_rtmp()
        assert engine.rtmp_since == 0


async def test_a_keyframe_of_many_reads_arrives_whole() -> None:
    async with running() as town, town.client("show") as publisher, town.client("show") as player:
        await publisher.publish()
        await player.play()
        large = picture(0, keyframe=True, size=3_000_000)
        await asyncio.gather(publisher.send(HEADER, large), player.wait_for(lambda: len(player.media) > 1))
        assert player.media[-1].body == large[2]
        assert player.media[-1].type_id == VIDEO
