"""Relays through the engine's door, to a target that does what the test wants."""

import asyncio
import logging
import ssl
from pathlib import Path

import pytest

from mediaserver.config import Config, RelayConfig, RtmpConfig, ServerConfig
from mediaserver.errors import Refused
from mediaserver.events import RelayChanged
from mediaserver.ports import PublishGrant, RelayTarget
from mediaserver.relay import lookout, lookups, push, relays, retry
from mediaserver.relay.push import Ending, Outcome
from mediaserver.relay.relay import Relay
from mediaserver.snapshot import RelayLevel, RelaySnapshot, RelayState
from mediaserver.transport.targets import Target
from protocols.flv import AUDIO
from protocols.media import Codec, MediaKind
from protocols.rtmp.enhanced import PacketType, header
from protocols.rtmp.events import PublishRequested
from tests.e2e.rtmp import Tag
from tests.mediaserver.relay.target import TargetServer, Visit, hang_up, refuse_key, target_server
from tests.mediaserver.running import GOP, HEADER, PATIENCE, Client, Doorkeeper, Running, picture, running, self_signed

KEY = "canary-key-7d41"
TOKEN = "canary-token-90ce"
FAST = {"first_retry": 0.1, "longest_retry": 0.2}
SOUND: list[Tag] = [(AUDIO, 0, b"\xaf\x00\x11\x90"), (AUDIO, 0, b"\xaf\x01\x21\x10\x05")]


def config(**relay: float | str) -> Config:
    """Relays that come back fast, of streams that are away for as long as a test likes."""
    away = RtmpConfig(reconnect_grace=300.0)
    return Config(server=ServerConfig(allow_private_targets=True), relay=RelayConfig(**(FAST | relay)), rtmp=away)


def url(server: TargetServer, key: str = KEY, scheme: str = "rtmp") -> str:
    return f"{scheme}://127.0.0.1:{server.port}/live/{key}"


def relay_of(town: Running, relay_id: str = "one") -> RelaySnapshot:
    return next(relay for relay in town.engine.snapshot().relays if relay.relay_id == relay_id)


def told(town: Running, relay_id: str = "one") -> list[RelayChanged]:
    return [event for event in town.notes.of(RelayChanged) if isinstance(event, RelayChanged) and event.relay_id == relay_id]


def states(town: Running, relay_id: str = "one") -> list[RelayState]:
    return [event.state for event in told(town, relay_id)]


def only_relay(town: Running) -> Relay:
    (relay,) = town.engine._relays._relays.values()
    return relay


def present(relay: Relay) -> push.Push:
    """Its connection, which there is."""
    assert relay._push is not None
    return relay._push


async def until_state(town: Running, state: RelayState, relay_id: str = "one") -> RelaySnapshot:
    await town.until(lambda: relay_of(town, relay_id).state is state)
    return relay_of(town, relay_id)


async def until_media(server: TargetServer, count: int, visit: int = 0) -> list[bytes]:
    await server.until(lambda: len(server.visits) > visit and len(server.visits[visit].media) >= count)
    return [event.body for event in server.visits[visit].media]


def key_of(body: bytes) -> bool:
    return body[0] == 0x17 and body[1] == 1


async def test_a_target_gets_a_description_headers_and_everything_from_a_keyframe_on() -> None:
    async with target_server() as server, running(config()) as town, town.client("show") as encoder:
        town.engine.start_relay("show", RelayTarget("one", url(server)))
        assert relay_of(town).state is RelayState.WAITING
        await encoder.publish()
        await encoder.send(*GOP)
        bodies = await until_media(server, 4)
        assert bodies == [body for _, _, body in GOP]
        assert [event.timestamp for event in server.visits[0].media] == [0, 0, 40, 80]
        (_, name, described) = server.visits[0].data[0]
        assert name == "onMetaData"
        assert isinstance(described, dict)
        assert (described["width"], described["height"]) == (320, 192)
        snapshot = await until_state(town, RelayState.LIVE)
        assert (snapshot.address, snapshot.level) == (f"rtmp://127.0.0.1:{server.port}/live", RelayLevel.CONNECTED)
        assert snapshot.attempts == 1
        assert states(town) == [RelayState.WAITING, RelayState.CONNECTING, RelayState.LIVE]


async def test_a_relay_that_was_started_waits_for_the_next_publish() -> None:
    async with target_server() as server, running(config()) as town:
        town.engine.start_relay("show", RelayTarget("one", url(server)))
        for number in range(2):
            async with town.client("show") as encoder:
                await encoder.publish()
                await encoder.send(*GOP)
                await until_media(server, 4, number)
            town.engine._hub.end("show", "over")
            await server.until(lambda number=number: server.visits[number].over)  # type: ignore[misc]
            assert server.visits[number].goodbyes
            assert (await until_state(town, RelayState.WAITING)).reason == "waiting for the stream"
        assert town.engine.stop_relay("show", "one")
        assert town.engine.snapshot().relays == ()
        assert states(town)[-1] is RelayState.STOPPED
        assert not town.engine.stop_relay("show", "one")


class Generous(Doorkeeper):
    """Grants relays with every publish."""

    def __init__(self, *relays: RelayTarget) -> None:
        super().__init__()
        self.relays = relays

    async def may_publish(self, request):  # type: ignore[no-untyped-def]
        return PublishGrant(request.key, relays=self.relays)


async def granted(town: Running, *relays: RelayTarget) -> Client:
    """A publisher whose grant asks for these relays."""
    town.door.__class__ = Generous
    town.door.relays = relays  # type: ignore[attr-defined]
    encoder = town.client("show")
    await encoder.__aenter__()
    await encoder.publish()
    await encoder.send(*GOP)
    return encoder


async def test_a_relay_of_a_grant_keeps_its_connection_while_the_publisher_is_away_and_ends_with_the_stream() -> None:
    async with target_server() as server, running(config()) as town:
        encoder = await granted(town, RelayTarget("one", url(server)))
        await until_media(server, 4)
        await encoder.__aexit__()
        await town.until(lambda: not town.engine.snapshot().streams[0].publishing)
        assert relay_of(town).state is RelayState.LIVE
        encoder = await granted(town, RelayTarget("one", url(server)))
        await until_media(server, 7)
        stamps = [event.timestamp for event in server.visits[0].media]
        assert stamps == sorted(stamps)
        assert len(server.visits) == 1
        town.engine._hub.end("show", "over")
        await town.until(lambda: town.engine.snapshot().relays == ())
        assert states(town)[-1] is RelayState.STOPPED
        await server.until(lambda: server.visits[0].over)
        assert server.visits[0].goodbyes
        await encoder.__aexit__()


async def test_it_comes_back_with_headers_a_keyframe_and_a_clock_that_goes_on() -> None:
    async with target_server() as server, running(config()) as town, town.client("show") as encoder:
        town.engine.start_relay("show", RelayTarget("one", url(server)))
        await encoder.publish()
        await encoder.send(*GOP)
        await until_media(server, 4)
        server.visits[0].writer.transport.abort()
        await until_media(server, 4, 1)
        (lost,) = (event.reason for event in told(town) if event.state is RelayState.BACKING_OFF)
        assert "reset" in lost or "closed" in lost
        await encoder.send(picture(3))
        bodies = await until_media(server, 5, 1)
        assert bodies[0] == HEADER[2]
        assert key_of(bodies[1])
        first, second = ([event.timestamp for event in visit.media] for visit in server.visits)
        # What is sent once more follows what was sent before, in steps of a millisecond, until the clock has caught up.
        assert second == [80, 81, 82, 83, 120]
        assert first[-1] == 80
        assert relay_of(town).attempts == 2


@pytest.mark.parametrize(
    ("code", "said"), [("NetStream.Publish.Rejected", "no"), ("NetStream.Publish.BadName", "Invalid stream key")]
)
async def test_a_target_that_refuses_the_key_is_not_asked_again(code: str, said: str) -> None:
    async with target_server() as server, running(config()) as town, town.client("show") as encoder:
        server.on_publish = lambda visit, request: visit.session.refuse_publish(request, code, f"{said} {request.key}, {TOKEN}")
        town.engine.start_relay("show", RelayTarget("one", url(server, f"{KEY}?token={TOKEN}")))
        await encoder.publish()
        await encoder.send(*GOP)
        snapshot = await until_state(town, RelayState.FAILED)
        assert snapshot.reason == f"the target refused the key: {said} …, … ({code})"
        task = only_relay(town).task
        assert task is not None
        await asyncio.wait_for(task, PATIENCE)  # nobody is left who could ask
        assert (relay_of(town).attempts, len(server.visits)) == (1, 1)
        assert server.visits[0].keys == [f"{KEY}?token={TOKEN}"]
        # The next publish is another matter.
        server.on_publish = None
        town.engine._hub.end("show", "over")
        async with town.client("show") as again:
            await again.publish()
            await again.send(*GOP)
            await until_media(server, 4, 1)


async def test_a_target_that_refuses_to_connect_is_not_asked_again() -> None:
    async with target_server() as server, running(config()) as town, town.client("show") as encoder:
        server.on_connect = lambda visit: visit.session.refuse_connect("no such app")
        town.engine.start_relay("show", RelayTarget("one", url(server)))
        await encoder.publish()
        await encoder.send(*GOP)
        snapshot = await until_state(town, RelayState.FAILED)
        assert snapshot.reason == "the target refused to connect: no such app (NetConnection.Connect.InvalidApp)"
        assert len(server.visits) == 1


async def test_a_target_that_closes_when_it_sees_the_key_is_asked_five_times() -> None:
    async with target_server() as server, running(config()) as town, town.client("show") as encoder:
        server.on_publish = hang_up
        town.engine.start_relay("show", RelayTarget("one", url(server)))
        await encoder.publish()
        await encoder.send(*GOP)
        snapshot = await until_state(town, RelayState.FAILED)
        assert "when it was given the key, 5 times in a row" in snapshot.reason
        assert len(server.visits) == 5


async def test_a_name_that_is_taken_after_a_loss_is_our_own_ghost() -> None:
    async with target_server() as server, running(config()) as town, town.client("show") as encoder:
        town.engine.start_relay("show", RelayTarget("one", url(server)))
        await encoder.publish()
        await encoder.send(*GOP)
        await until_media(server, 4)
        server.on_publish = lambda visit, request: visit.session.refuse_publish(request, "NetStream.Publish.BadName", "taken")
        server.visits[0].writer.transport.abort()
        await server.until(lambda: len(server.visits) >= 3)
        server.on_publish = None
        await until_state(town, RelayState.LIVE)
        assert RelayState.FAILED not in states(town)


@pytest.mark.parametrize(
    ("code", "said"), [("NetStream.Publish.BadName", "no"), ("NetStream.Publish.Failed", "Stream already publishing")]
)
async def test_a_name_that_is_taken_at_the_first_try_is_waited_for(code: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An encoder that pushed there itself until now is often believed to be still there."""
    async with target_server() as server, running(config()) as town, town.client("show") as encoder:
        server.on_publish = lambda visit, request: visit.session.refuse_publish(request, code, said)
        town.engine.start_relay("show", RelayTarget("one", url(server)))
        await encoder.publish()
        await encoder.send(*GOP)
        await server.until(lambda: len(server.visits) >= 3)
        assert f"refused the key: {said} ({code}); next try" in (await until_state(town, RelayState.BACKING_OFF)).reason
        server.on_publish = None
        await until_state(town, RelayState.LIVE)
        assert RelayState.FAILED not in states(town)
        # But not for ever.
        monkeypatch.setattr(retry, "GHOST", 0.3)
        server.on_publish = lambda visit, request: visit.session.refuse_publish(request, code, said)
        server.visits[-1].writer.transport.abort()
        assert (await until_state(town, RelayState.FAILED)).reason == f"the target refused the key: {said} ({code}), for 0.3 s"


async def test_acknowledgements_make_the_next_level() -> None:
    async with target_server() as server, running(config()) as town, town.client("show") as encoder:
        town.engine.start_relay("show", RelayTarget("one", url(server)))
        await encoder.publish()
        await encoder.send(*GOP)
        await until_media(server, 4)
        assert (await until_state(town, RelayState.LIVE)).level is RelayLevel.CONNECTED
        await encoder.send(*(picture(number, size=100_000) for number in range(3, 40)))
        await until_media(server, 41)
        await town.until(lambda: relay_of(town).level is RelayLevel.ACKNOWLEDGED)
        assert server.visits[0].session.bytes_received > 2_500_000


async def test_a_target_that_never_acknowledges_is_believed_when_it_has_taken_a_window() -> None:
    async with target_server() as server, running(config()) as town, town.client("show") as encoder:
        server.acknowledges = False
        town.engine.start_relay("show", RelayTarget("one", url(server)))
        await encoder.publish()
        await encoder.send(*GOP)
        await encoder.send(*(picture(number, size=100_000) for number in range(3, 20)))
        await until_media(server, 21)
        present(only_relay(town)).look(asyncio.get_running_loop().time(), PATIENCE)
        assert relay_of(town).level is RelayLevel.CONNECTED
        await encoder.send(*(picture(number, size=100_000) for number in range(20, 40)))
        await town.until(lambda: relay_of(town).level is RelayLevel.ACKNOWLEDGED)


async def test_a_target_that_takes_nothing_is_given_up_and_what_waits_for_it_is_bounded() -> None:
    limits = config(stall_timeout=300.0, max_backlog_bytes=1 << 20)
    async with target_server() as server, target_server() as good, running(limits) as town, town.client("show") as encoder:
        server.read.clear()
        for name, there in (("one", server), ("two", good)):
            there.plain = True
            town.engine.start_relay("show", RelayTarget(name, url(there)))
        await encoder.publish()
        await encoder.send(*GOP)
        await until_media(good, 4)
        server.read.set()
        await until_media(server, 4)
        server.read.clear()
        worst = 0
        for number in range(3, 120):
            await encoder.send(picture(number, keyframe=number % 25 == 0, size=100_000))
            await town.until(lambda number=number: len(good.visits[0].media) >= number + 2)  # type: ignore[misc]
            worst = max(worst, relay_of(town).backlog)
        assert relay_of(town).dropped_packets
        assert worst <= (1 << 20) + (1 << 19)
        assert relay_of(town, "two").dropped_packets == 0
        stalled = present(town.engine._relays._relays["show", "one"])
        stalled.look(asyncio.get_running_loop().time(), 300.0)
        # It may be this machine that stood still.
        stalled.look(stalled._moved[1] + 1000.0, 300.0)
        assert not stalled.stalled
        since = stalled._moved[1]
        while (now := stalled._looked + 1.0) <= since + 300.0:
            stalled.look(now, 300.0)
        assert not stalled.stalled
        stalled.look(now, 300.0)
        await town.until(lambda: RelayState.BACKING_OFF in states(town))
        assert "has taken nothing for 300 s" in next(e.reason for e in told(town) if e.state is RelayState.BACKING_OFF)
        # When it reads again, the connection that waits for an answer to the handshake gets one.
        server.read.set()
        await town.until(lambda: relay_of(town).state is RelayState.LIVE)
        assert states(town, "two") == [RelayState.WAITING, RelayState.CONNECTING, RelayState.LIVE]


async def test_what_waits_from_the_start_stays_where_it_can_be_dropped() -> None:
    """A GOP of large pictures is not handed to the connection at once."""
    size, count = 400_000, 18

    async with target_server() as server, running(config()) as town, town.client("show") as encoder:

        def let_in(visit: Visit, request: PublishRequested) -> None:
            visit.session.accept_publish(request)
            server.read.clear()

        server.on_publish = let_in
        await encoder.publish()
        await encoder.send(HEADER, *(picture(number, keyframe=not number, size=size) for number in range(count)))
        await town.until(lambda: town.engine.snapshot().streams[0].bytes_in > count * size)
        town.engine.start_relay("show", RelayTarget("one", url(server)))
        await until_state(town, RelayState.LIVE)
        (relay,) = town.engine._relays._relays.values()
        await town.until(lambda: relay._push is not None and not relay._push.connection.writable)
        waiting = present(relay)
        assert waiting.connection.buffered < 2 * size
        assert waiting.backlog.nbytes > count * size // 4
        assert waiting.waiting_bytes == waiting.backlog.nbytes + waiting.connection.buffered


async def test_a_wish_to_reconnect_is_followed_before_the_old_connection_is_broken() -> None:
    async with target_server() as server, target_server() as other, running(config()) as town, town.client("show") as encoder:
        town.engine.start_relay("show", RelayTarget("one", url(server)))
        await encoder.publish()
        await encoder.send(*GOP)
        await until_media(server, 4)
        visit = server.visits[0]
        gone_when_other_connected: list[bool] = []

        def let_in(there: Visit) -> None:
            gone_when_other_connected.append(visit.over)
            there.session.accept_connect()

        other.on_connect = let_in
        assert visit.session.request_reconnect(f"rtmp://127.0.0.1:{other.port}/moved", "bye")
        visit.writer.write(visit.session.data_to_send())
        bodies = await until_media(other, 4)
        assert gone_when_other_connected == [False]
        assert other.visits[0].keys == [KEY]
        assert key_of(bodies[1])
        await server.until(lambda: visit.over)
        assert visit.goodbyes
        assert RelayState.BACKING_OFF not in states(town)
        # The way back after a loss is the address that was given.
        other.visits[0].writer.transport.abort()
        await until_media(server, 4, 1)


async def test_a_target_that_says_nothing_where_the_stream_was_asked_for_is_judged_by_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And not by how long the connection lasted that was left for it."""
    judged: list[tuple[Outcome, float]] = []
    verdict, moved = retry.Retry.verdict, retry.Retry.moved

    def noted(self: retry.Retry, ending: Ending, now: float) -> str:
        judged.append((ending.outcome, self._lasted))
        return verdict(self, ending, now)

    def impatient(self: retry.Retry) -> None:
        moved(self)
        relay = only_relay(town)
        relay._config = relay._config.model_copy(update={"connect_timeout": 0.1})

    monkeypatch.setattr(retry.Retry, "verdict", noted)
    monkeypatch.setattr(retry.Retry, "moved", impatient)
    async with target_server() as server, target_server() as other, running(config()) as town, town.client("show") as encoder:
        other.on_publish = lambda *_: None
        town.engine.start_relay("show", RelayTarget("one", url(server)))
        await encoder.publish()
        await encoder.send(*GOP)
        await until_media(server, 4)
        assert server.visits[0].session.request_reconnect(f"rtmp://127.0.0.1:{other.port}/moved", "bye")
        server.visits[0].writer.write(server.visits[0].session.data_to_send())
        await town.until(lambda: bool(judged))
        assert other.visits
        assert judged[0] == (Outcome.LOST, 0.0)


@pytest.mark.parametrize("where", ["http://127.0.0.1/x", "rtmp://127.0.0.1:{own}/live", "rtmp://127.0.0.1:1/closed"])
async def test_a_wish_to_reconnect_to_nowhere_leaves_the_connection_as_it_is(where: str) -> None:
    async with target_server() as server, running(config()) as town, town.client("show") as encoder:
        town.engine.start_relay("show", RelayTarget("one", url(server)))
        await encoder.publish()
        await encoder.send(*GOP)
        await until_media(server, 4)
        visit = server.visits[0]
        assert visit.session.request_reconnect(where.format(own=town.engine.config.rtmp.port), "bye")
        visit.writer.write(visit.session.data_to_send())
        await town.until(lambda: "does not work" in relay_of(town).reason)
        await encoder.send(picture(3))
        await until_media(server, 5)
        assert relay_of(town).state is RelayState.LIVE


async def test_rtmps_needs_a_certificate_that_is_trusted(tmp_path: Path) -> None:
    certificate, key = await asyncio.to_thread(self_signed, tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    for trusted in (True, False):
        settings = config(tls_ca=certificate if trusted else "")
        async with target_server(context) as server, running(settings) as town, town.client("show") as encoder:
            town.engine.start_relay("show", RelayTarget("one", url(server, scheme="rtmps")))
            await encoder.publish()
            await encoder.send(*GOP)
            if trusted:
                await until_media(server, 4)
                continue
            snapshot = await until_state(town, RelayState.BACKING_OFF)
            assert snapshot.reason.startswith("its certificate cannot be trusted: self")
            assert not any(visit.keys for visit in server.visits)


async def test_our_own_ports_are_no_target() -> None:
    named = ServerConfig(allow_private_targets=True, public_url="https://media.example")
    async with running(config().model_copy(update={"server": named})) as town, town.client("show") as encoder:
        port = town.engine.config.rtmp.port
        for host in ("127.0.0.1", "127.8.8.8", "0.0.0.0", "[::1]", "[::ffff:127.0.0.1]"):
            with pytest.raises(Refused, match="own"):
                town.engine.start_relay("show", RelayTarget("one", f"rtmp://{host}:{port}/live/other"))
        with pytest.raises(Refused, match="own"):
            town.engine.start_relay("show", RelayTarget("one", f"rtmp://media.example:{port}/live/other"))
        town.engine.start_relay("show", RelayTarget("one", f"rtmp://localhost:{port}/live/other"))
        await encoder.publish()
        await encoder.send(*GOP)
        assert "own" in (await until_state(town, RelayState.FAILED)).reason


async def test_private_addresses_are_no_target_unless_allowed() -> None:
    async with running(Config(relay=RelayConfig(**FAST))) as town, town.client("show") as encoder:
        for host in ("127.0.0.1", "10.1.2.3", "169.254.169.254", "[::1]"):
            with pytest.raises(Refused, match="not a public one"):
                town.engine.start_relay("show", RelayTarget("one", f"rtmp://{host}:9/live/key"))
        town.engine.start_relay("show", RelayTarget("one", "rtmp://localhost:9/live/key"))
        await encoder.publish()
        await encoder.send(*GOP)
        assert "not a public one" in (await until_state(town, RelayState.FAILED)).reason


async def test_what_a_grant_asks_for_in_vain_is_shown_with_the_reason_while_the_stream_lives() -> None:
    async with running(Config(relay=RelayConfig(**FAST))) as town, town.client("show") as encoder:
        await encoder.publish()
        await encoder.send(*GOP)
        for relays in ((RelayTarget("one", "rtmp://127.0.0.1:9/live/secret"), RelayTarget("two", "http://secret")), ()):
            town.engine.regrant(PublishGrant("show", relays=relays))
            shown = {relay.relay_id: relay for relay in town.engine.snapshot().relays}
            assert shown.keys() == {target.id for target in relays}
            assert all(relay.state is RelayState.FAILED and relay.reason for relay in shown.values())
            assert "secret" not in repr(shown)
        town.engine.regrant(PublishGrant("show", relays=(RelayTarget("one", "rtmp://127.0.0.1:9/live/secret"),)))
        assert "not a public one" in relay_of(town).reason
        town.engine.end("show", "over")
        await town.until(lambda: not town.engine.snapshot().relays)


async def test_a_codec_that_the_target_does_not_take_is_not_sent_to_it() -> None:
    hevc = (9, 0, header(PacketType.SEQUENCE_START, Codec.HEVC) + bytes(30))
    frame = (9, 0, header(PacketType.CODED_FRAMES_X, Codec.HEVC) + bytes(30))
    async with target_server() as plain, target_server() as able, running(config()) as town, town.client("show") as encoder:
        plain.plain = True
        town.engine.start_relay("show", RelayTarget("plain", url(plain)))
        town.engine.start_relay("show", RelayTarget("able", url(able)))
        await encoder.publish()
        await encoder.send(hevc, frame)
        snapshot = await until_state(town, RelayState.FAILED, "plain")
        assert snapshot.reason == (
            "the stream's video is hevc and the target did not say that it takes more than H.264, AAC and MP3"
        )
        assert plain.visits[0].keys == []
        assert await until_media(able, 2) == [hevc[2], frame[2]]


async def test_sound_alone_flows_too() -> None:
    async with target_server() as server, running(config()) as town, town.client("show") as encoder:
        town.engine.start_relay("show", RelayTarget("one", url(server)))
        await encoder.publish()
        await encoder.send(SOUND[0], *((AUDIO, number * 100, SOUND[1][2]) for number in range(15)))
        bodies = await until_media(server, 10)
        assert bodies[0] == SOUND[0][2]


async def test_a_canary_key_is_seen_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with target_server() as server, running(config()) as town, town.client("show") as encoder:
        server.on_publish = refuse_key
        target = RelayTarget("one", url(server, f"{KEY}?token={TOKEN}"))
        town.engine.start_relay("show", target)
        town.engine.start_relay("show", RelayTarget("two", f"rtmp://127.0.0.1:{server.port}/live?t={TOKEN}/{KEY}"))
        await encoder.publish()
        await encoder.send(*GOP)
        await until_state(town, RelayState.FAILED)
        await until_state(town, RelayState.FAILED, "two")
        relays = [vars(type("R", (), {"r": relay})) for relay in town.engine._relays._relays.values()]
        seen = repr((target, town.engine.snapshot(), town.notes.events, relays)) + caplog.text
        for relay in town.engine._relays._relays.values():
            seen += repr(relay._address)
        assert KEY not in seen
        assert TOKEN not in seen
        assert "who is …?" in seen


async def test_a_rendition_is_relayed_when_it_is_there_and_waited_for_when_it_is_not() -> None:
    async with target_server() as server, running(config()) as town, town.client("show") as encoder:
        await encoder.publish()
        await encoder.send(*GOP)
        town.engine.start_relay("show", RelayTarget("one", url(server), rendition="720p"))
        assert relay_of(town).reason == "waiting for the rendition 720p"
        hub = town.engine._hub
        await town.until(lambda: bool(town.engine.snapshot().streams[0].tracks))
        for visit in range(2):
            source = hub.find("show")
            assert source is not None
            rendition = hub.add_rendition(source, "720p")
            assert rendition is not None
            rendition.write_track(source.tracks[MediaKind.VIDEO])
            for packet in source.gop:
                rendition.pass_on(packet)
            assert len(await until_media(server, 4, visit)) == 4
            hub.remove_rendition(rendition)
            await until_state(town, RelayState.WAITING)
            await server.until(lambda visit=visit: server.visits[visit].over)  # type: ignore[misc]
        assert relay_of(town).reason == "waiting for the rendition 720p"


async def test_the_relay_of_a_rendition_has_its_last_pictures_though_they_come_behind_the_end_of_its_stream() -> None:
    async with target_server() as server, running(config()) as town:
        encoder = await granted(town, RelayTarget("one", url(server), rendition="720p"))
        hub = town.engine._hub
        source = hub.streams["show"]
        rendition = hub.add_rendition(source, "720p")
        assert rendition is not None
        rendition.trails = True
        await town.until(lambda: len(list(source.gop)) == len(GOP) - 1)
        rendition.write_track(source.tracks[MediaKind.VIDEO])
        *packets, last = source.gop
        for packet in packets:
            rendition.pass_on(packet)
        await until_media(server, 1 + len(packets))
        hub.end("show", "over")
        town.engine._relays.sweep(asyncio.get_running_loop().time())
        rendition.pass_on(last)
        rendition.follow()
        assert (await until_media(server, 2 + len(packets)))[-1] == last.body
        await server.until(lambda: bool(server.visits[0].over))
        assert server.visits[0].goodbyes
        await town.until(lambda: all(relay.state is RelayState.STOPPED for relay in town.engine.snapshot().relays))
        assert RelayState.WAITING not in states(town)[1:]
        await encoder.__aexit__()


async def test_the_relay_of_a_grant_to_a_rendition_that_never_comes_ends_with_the_stream() -> None:
    async with target_server() as server, running(config()) as town:
        encoder = await granted(town, RelayTarget("one", url(server), rendition="720p"), RelayTarget("bad", "ftp://nowhere"))
        await until_state(town, RelayState.WAITING)
        assert states(town, "bad") == [RelayState.FAILED]
        town.engine._hub.end("show", "over")
        await town.until(lambda: town.engine.snapshot().relays == ())
        assert server.visits == []
        await encoder.__aexit__()


class Platform:
    """Says what it is told to."""

    def __init__(self) -> None:
        self.answer: bool | None = None
        self.fails = False

    async def is_live(self, target: RelayTarget) -> bool | None:
        if self.fails:
            raise RuntimeError(target.url)
        return self.answer


async def test_a_platform_that_can_be_asked_confirms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relays, "CONFIRM_INTERVAL", 0.0)
    platform = Platform()
    async with target_server() as server, running(config()) as town, town.client("show") as encoder:
        town.engine._relays._confirmer = platform
        town.engine.start_relay("show", RelayTarget("one", url(server)))
        await encoder.publish()
        await encoder.send(*GOP, *(picture(number, size=100_000) for number in range(3, 40)))
        await town.until(lambda: relay_of(town).level is RelayLevel.ACKNOWLEDGED)
        platform.answer = True
        await town.until(lambda: relay_of(town).level is RelayLevel.CONFIRMED)
        platform.fails = True
        await town.until(lambda: relay_of(town).level is RelayLevel.ACKNOWLEDGED)


@pytest.mark.parametrize("greeting", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b""])
async def test_a_target_that_is_no_rtmp_server_is_tried_again_with_care(greeting: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("LOOK_INTERVAL", 0.1), ("LOOK_TIMEOUT", PATIENCE), ("HUNG", 300.0)):
        monkeypatch.setattr(lookout, name, seconds)
    visits = 0

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal visits
        visits += 1
        writer.write(greeting)
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, running(config(first_retry=30.0, longest_retry=30.0)) as town, town.client("show") as encoder:
        town.engine.start_relay("show", RelayTarget("one", f"rtmp://127.0.0.1:{port}/live/{KEY}"))
        await encoder.publish()
        await encoder.send(*GOP)
        snapshot = await until_state(town, RelayState.BACKING_OFF)
        # Of one who says nothing it is chance whether he hears us first.
        words = ("not RTMP",) if greeting else ("the connection was reset", "the target closed the connection")
        assert any(each in snapshot.reason for each in words)
        # It is looked after in either case, and that is no try.
        await town.until(lambda: visits > 3)
        assert relay_of(town).attempts == 1


async def test_a_name_that_leads_nowhere_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(host: str, port: int, *, allow_private: bool) -> tuple[Target, ...]:
        raise Refused("cannot be resolved")

    monkeypatch.setattr(lookups, "resolve", nobody)  # a name server may take its time
    async with running(config()) as town, town.client("show") as encoder:
        town.engine.start_relay("show", RelayTarget("one", f"rtmp://nobody.invalid/live/{KEY}"))
        await encoder.publish()
        await encoder.send(*GOP)
        assert "cannot be resolved" in (await until_state(town, RelayState.BACKING_OFF)).reason
        await town.until(lambda: relay_of(town).attempts > 1)


async def test_a_target_that_ends_the_stream_is_given_it_again() -> None:
    async with target_server() as server, running(config()) as town, town.client("show") as encoder:
        town.engine.start_relay("show", RelayTarget("one", url(server)))
        await encoder.publish()
        await encoder.send(*GOP)
        await until_media(server, 4)
        visit = server.visits[0]
        assert visit.session.end_publish(1, "NetStream.Publish.Denied", f"{KEY} is too long")
        visit.writer.write(visit.session.data_to_send())
        await encoder.send(picture(3))
        await until_media(server, 4, 1)
        reasons = [event.reason for event in town.notes.of(RelayChanged) if isinstance(event, RelayChanged)]
        assert any("the target ended the stream: … is too long (NetStream.Publish.Denied)" in reason for reason in reasons)


async def test_a_codec_that_changes_to_one_the_target_does_not_take_fails_with_words() -> None:
    async with target_server() as server, running(config()) as town, town.client("show") as encoder:
        server.plain = True
        town.engine.start_relay("show", RelayTarget("one", url(server)))
        await encoder.publish()
        await encoder.send(*GOP)
        await until_media(server, 4)
        await encoder.send((9, 200, header(PacketType.SEQUENCE_START, Codec.HEVC) + bytes(30)))
        assert "hevc" in (await until_state(town, RelayState.FAILED)).reason
        assert server.visits[0].goodbyes or not server.visits[0].over


async def test_the_engine_stops_with_a_target_that_hangs() -> None:
    async with target_server() as server:
        async with running(config(stall_timeout=60.0)) as town, town.client("show") as encoder:
            town.engine.start_relay("show", RelayTarget("one", url(server)))
            await encoder.publish()
            await encoder.send(*GOP)
            await until_media(server, 4)
            server.read.clear()
            # How much the kernel takes for itself is its own affair.
            number = 3
            while relay_of(town).backlog <= 1 << 20:
                await encoder.send(picture(number, size=200_000))
                number += 1
        assert states(town)[-1] is RelayState.STOPPED


async def test_a_relay_that_is_started_again_takes_the_place_of_the_first() -> None:
    async with target_server() as server, target_server() as other, running(config()) as town, town.client("show") as encoder:
        await encoder.publish()
        await encoder.send(*GOP)
        town.engine.start_relay("show", RelayTarget("one", url(server)))
        await until_media(server, 4)
        town.engine.start_relay("show", RelayTarget("one", url(other)))
        await until_media(other, 4)
        await server.until(lambda: server.visits[0].over)
        assert len(town.engine.snapshot().relays) == 1


async def test_a_stream_has_so_many_relays_and_no_more() -> None:
    async with running(config()) as town:
        for number in range(relays.MOST_RELAYS):
            town.engine.start_relay("show", RelayTarget(str(number), f"rtmp://192.0.2.1/live/{KEY}"))
        with pytest.raises(Refused, match="100 relays"):
            town.engine.start_relay("show", RelayTarget("more", f"rtmp://192.0.2.1/live/{KEY}"))
        town.engine.start_relay("show", RelayTarget("0", f"rtmp://192.0.2.1/live/{KEY}"))
        town.engine.start_relay("other", RelayTarget("more", f"rtmp://192.0.2.1/live/{KEY}"))


async def test_many_bad_targets_touch_nobody_else() -> None:
    """One good target beside those that refuse, hang up, say nothing, are not there, or lead nowhere."""
    async with target_server() as good, target_server() as no, target_server() as silent, running(config()) as town:
        no.on_publish = hang_up
        silent.read.clear()
        targets = {
            "good": url(good), "no": url(no), "silent": url(silent), "gone": "rtmp://127.0.0.1:1/live/key",
            "nowhere": "rtmp://nobody.invalid/live/key", "tls": url(silent, scheme="rtmps"),
        }  # fmt: skip
        for name, where in targets.items():
            town.engine.start_relay("show", RelayTarget(name, where))
        async with town.client("show") as encoder, town.client("show") as player:
            await encoder.publish()
            await encoder.send(*GOP)
            await player.play()
            for number in range(3, 100):
                await encoder.send(picture(number, keyframe=number % 25 == 0))
                await asyncio.sleep(0.01)
            await player.receive_until(picture(99)[2])
            bodies = await until_media(good, 101)
        assert bodies[1:] == [picture(number, keyframe=number % 25 == 0)[2] for number in range(100)]
        assert states(town, "good") == [RelayState.WAITING, RelayState.CONNECTING, RelayState.LIVE]
        assert {relay.relay_id for relay in town.engine.snapshot().relays if relay.state is RelayState.LIVE} == {"good"}


async def test_coming_back_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push, "SECOND_THOUGHTS", 0.0)
    async with target_server() as server, running(config(first_retry=0.1, longest_retry=0.1)) as town:
        town.engine.start_relay("show", RelayTarget("one", url(server)))
        async with town.client("show") as encoder:
            await encoder.publish()
            await encoder.send(*GOP)
            engine = town.engine
            stream = engine._hub.streams["show"]

            def left() -> tuple[int, int, int]:
                return len(stream.subscribers), len(engine._tasks), len(engine._relays._services.dialler._connections)

            await until_media(server, 4)
            before = left()
            for visit in range(20):
                await until_media(server, 4, visit)
                # What is on its way out may take a moment.
                await town.until(lambda: left() == before)
                server.visits[visit].writer.transport.abort()
