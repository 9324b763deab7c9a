"""What one RTMP connection may ask of the engine, and what it is told: through real sockets, in process."""

import asyncio
import logging
from pathlib import Path

import pytest

from mediaserver import engine as engine_module
from mediaserver.config import Config, RtmpConfig
from mediaserver.errors import Refused
from mediaserver.events import PlayEnded, PlayStarted, PublishEnded, PublishRefused, PublishStarted
from mediaserver.ports import Wire
from mediaserver.transport import rtmp
from protocols.rtmp.events import CommandFailed
from protocols.rtmp.message import AUDIO
from tests.mediaserver.running import GOP, Client, Running, picture, running, self_signed
from tests.peers import free_port

AT_ONCE = Config(rtmp=RtmpConfig(reconnect_grace=0))


async def asked(town: Running, client: Client) -> None:
    """``client`` has asked to publish, and the authorizer thinks."""
    town.door.held = asyncio.Event()
    await client.connect()
    client.session.publish(client.name)
    await client.wait_for(lambda: client.session.stream_id == 1)
    await town.door.asking.wait()


async def test_the_authorizer_is_asked_with_all_that_the_encoder_said() -> None:
    async with running() as town, town.client("show?token=t") as client:
        client.name = "show?token=t"
        await client.publish()
        (request,) = town.door.asked
        assert (request.wire, request.address, request.query) == (Wire.RTMP, "127.0.0.1", "token=t")
        assert getattr(request, "key", "") == "show"
        assert "show" not in repr(request)
        assert "token" not in repr(request)
        started = await town.notes.wait_for(PublishStarted)
        assert (started.name, started.session_id) == ("show", request.session_id)


async def test_media_behind_a_publish_that_is_not_answered_yet_is_kept() -> None:
    async with running() as town, town.client("show") as client:
        await asked(town, client)
        await client.send_early(*GOP)
        assert town.names() == set()
        assert town.door.held is not None
        town.door.held.set()
        await client.status("NetStream.Publish.Start")
        await town.until(lambda: bool(town.engine.snapshot().streams[0].tracks))
        town.door.held = None
        async with town.client("show") as player:
            await player.play()
            assert await player.receive(4) == [body for _, _, body in GOP]


async def test_a_refusal_is_told_with_its_reason_and_ends_the_connection() -> None:
    async with running() as town, town.client("show") as client:
        town.door.failure = Refused("not on a Sunday")
        await client.connect()
        client.session.publish("show")
        status = await client.status("NetStream.Publish.Rejected")
        assert (status.level, status.description) == ("error", "not on a Sunday")
        await client.closed()
        refused = await town.notes.wait_for(PublishRefused)
        assert getattr(refused, "reason", "") == "not on a Sunday"
        assert town.names() == set()


async def test_a_refused_play_is_told_with_its_reason() -> None:
    async with running() as town, town.client("show") as client:
        town.door.failure = Refused("members only")
        await client.connect()
        client.session.play("show")
        assert (await client.status("NetStream.Play.Failed")).description == "members only"
        await client.closed()


@pytest.mark.parametrize("what", ["publish", "play"])
async def test_an_authorizer_that_breaks_costs_one_connection(what: str, caplog: pytest.LogCaptureFixture) -> None:
    async with running() as town, town.client("good") as good:
        await good.publish()
        town.door.failure = ValueError("a bug")
        async with town.client("show") as client:
            await client.connect()
            client.session.publish("show") if what == "publish" else client.session.play("good")
            await client.closed()
        assert town.names() == {"good"}
        (record,) = (record for record in caplog.records if record.levelno >= logging.ERROR)
        assert record.exc_info is not None


@pytest.mark.parametrize("what", ["publish", "play"])
async def test_an_authorizer_that_takes_too_long_is_not_waited_for(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "AUTHORIZE_TIMEOUT", 0.05)
    async with running() as town, town.client("show") as client:
        town.door.held = asyncio.Event()
        await client.connect()
        client.session.publish("show") if what == "publish" else client.session.play("show")
        status = await client.status("NetStream.Publish.Rejected" if what == "publish" else "NetStream.Play.Failed")
        assert status.description == "the server could not decide in time"
        await client.closed()


async def test_who_is_kicked_while_the_authorizer_thinks_does_not_go_live() -> None:
    async with running() as town, town.client("show") as client:
        await asked(town, client)
        assert town.engine.kick(town.door.asked[0].session_id)
        await client.closed()
        assert town.door.held is not None
        town.door.held.set()
        await asyncio.sleep(0)
        assert town.names() == set()
        assert not town.notes.of(PublishStarted)


async def test_who_hangs_up_while_the_authorizer_thinks_does_not_stay_live() -> None:
    async with running(AT_ONCE) as town:
        async with town.client("show") as client:
            await asked(town, client)
            client.writer.transport.abort()
        assert town.door.held is not None
        town.door.held.set()
        await town.until(lambda: town.names() == set() and not town.engine.snapshot().sessions)
        assert len(town.notes.of(PublishStarted)) == len(town.notes.of(PublishEnded))


async def test_delete_stream_while_the_authorizer_thinks_ends_what_never_began() -> None:
    async with running(AT_ONCE) as town, town.client("show") as client:
        await asked(town, client)
        await client.ask("deleteStream", 1.0, stream_id=0)
        assert town.door.held is not None
        town.door.held.set()
        await client.ask("createStream", stream_id=0)
        await town.until(lambda: town.names() == set())
        assert len(town.notes.of(PublishStarted)) == len(town.notes.of(PublishEnded))


async def test_a_connection_publishes_one_stream() -> None:
    async with running(AT_ONCE) as town, town.client("show") as client:
        await client.publish()
        await client.ask("createStream", stream_id=0)
        await client.ask("publish", "other", "live", stream_id=2)
        assert (await client.status("NetStream.Publish.Rejected")).description == "this connection is in use already"
        await client.closed()
        ended = await town.notes.wait_for(PublishEnded)
        assert ended.name == "show"
        assert town.names() == set()


async def test_who_publishes_does_not_play() -> None:
    async with running(AT_ONCE) as town, town.client("show") as client:
        await client.publish()
        await client.ask("createStream", stream_id=0)
        await client.ask("play", "show", -2.0, stream_id=2)
        assert (await client.status("NetStream.Play.Failed")).description == "this connection is in use already"
        await client.closed()


@pytest.mark.parametrize("what", ["publish", "play"])
async def test_who_plays_and_asks_for_what_is_refused_hears_why_and_costs_the_others_nothing(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rtmp, "CLOSING_TIME", 300.0)  # for the last words that wait until they are read
    certificate, key = self_signed(tmp_path)
    secured = RtmpConfig(tls_port=free_port(), tls_cert=certificate, tls_key=key, reconnect_grace=0)
    async with (
        running(Config(rtmp=secured)) as town,
        town.client("show") as client,
        town.client("show") as viewer,
        town.tls_client("show") as neighbour,
    ):
        await client.publish()
        await client.send(*GOP)
        await viewer.play()
        await neighbour.play()
        await neighbour.receive_until(GOP[-1][2])
        (wanted,) = (
            each for each in town.engine._rtmp.connections if each.session.wire is Wire.RTMP and not each.session.publishing
        )
        number = 3
        while wanted.transport.get_write_buffer_size() < 1000:  # its last words wait behind that
            await client.send(picture(number, size=100_000))
            await neighbour.receive_until(picture(number, size=100_000)[2])
            number += 1
        await viewer.ask("createStream", stream_id=0)
        await viewer.ask(what, "other", "live" if what == "publish" else -2.0, stream_id=2)
        ended = await town.notes.wait_for(PlayEnded)
        assert "refused: " in getattr(ended, "reason", "")
        missed = [picture(number + each) for each in range(3)]
        await client.send(*missed)
        await neighbour.receive_until(missed[-1][2])
        assert [event.body for event in neighbour.media[-3:]] == [body for _, _, body in missed]
        status = await viewer.status("NetStream.Publish.Rejected" if what == "publish" else "NetStream.Play.Failed")
        assert status.level == "error"
        assert viewer.media[-1].body == picture(number - 1, size=100_000)[2]
        await viewer.closed()
        await client.ask("deleteStream", 1.0, stream_id=0)
        await neighbour.status("NetStream.Play.UnpublishNotify")
        assert (await town.notes.wait_for(PublishEnded)).name == "show"


async def test_publish_again_on_the_same_stream_is_a_return_under_the_new_name() -> None:
    async with running(AT_ONCE) as town, town.client("one") as client:
        await client.publish()
        await client.ask("publish", "two", "live")
        await town.notes.wait_for(PublishStarted, 2)
        assert town.names() == {"two"}
        assert [event.name for event in town.notes.of(PublishEnded)] == ["one"]


async def test_close_stream_ends_the_stream_and_the_connection_may_publish_again() -> None:
    async with running(AT_ONCE) as town, town.client("show") as client:
        await client.publish()
        await client.ask("closeStream")
        await client.status("NetStream.Unpublish.Success")
        await town.notes.wait_for(PublishEnded)
        await client.ask("publish", "show", "live")
        await town.notes.wait_for(PublishStarted, 2)
        assert town.names() == {"show"}


async def test_a_player_may_go_on_with_another_stream() -> None:
    async with running() as town, town.client("one") as one, town.client("two") as two:
        await one.publish()
        await two.publish()
        await one.send(*GOP)
        await two.send(*GOP)
        async with town.client("one") as player:
            await player.play()
            await player.receive(4)
            await player.ask("play", "two", -2.0)
            started = await town.notes.wait_for(PlayStarted, 2)
            assert started.name == "two"
            assert [event.name for event in town.notes.of(PlayEnded)] == ["one"]
            await player.receive(8)
            assert [session.name for session in town.engine.snapshot().sessions if not session.publishing] == ["two"]


async def test_a_player_that_pauses_gets_nothing_and_goes_on_with_a_keyframe() -> None:
    async with running() as town, town.client("show") as client, town.client("show") as player:
        await client.publish()
        await client.send(*GOP)
        await player.play()
        await player.receive(4)
        player.session.pause(paused=True)
        await player.status("NetStream.Pause.Notify")
        missed = [picture(number) for number in range(3, 6)]
        await client.send(*missed)
        await town.until(lambda: town.engine.snapshot().streams[0].bytes_in >= sum(len(body) for _, _, body in GOP + missed))
        player.session.pause(paused=False)
        await player.status("NetStream.Unpause.Notify")
        await client.send(picture(25, keyframe=True), picture(26))
        await player.wait_for(lambda: player.media[-1].body == picture(26)[2])
        behind = [event.body for event in player.media[4:] if event.body[1] == 1]
        assert behind[0][0] >> 4 == 1
        assert behind[-2:] == [picture(25, keyframe=True)[2], picture(26)[2]]


async def test_a_kicked_publisher_is_told_and_its_stream_ends_for_everybody() -> None:
    async with running() as town, town.client("show") as client, town.client("show") as player:
        await client.publish()
        await client.send(*GOP)
        await player.play()
        (session,) = (session for session in town.engine.snapshot().sessions if session.publishing)
        assert town.engine.kick(session.session_id, "time is up")
        assert (await client.status("NetStream.Publish.Rejected")).description == "time is up"
        await client.closed()
        await player.status("NetStream.Play.UnpublishNotify")
        await player.closed()
        ended = await town.notes.wait_for(PublishEnded)
        assert getattr(ended, "reason", "") == "time is up"
        assert town.names() == set()


async def test_a_kicked_player_is_told_and_the_stream_goes_on() -> None:
    async with running() as town, town.client("show") as client, town.client("show") as player:
        await client.publish()
        await player.play()
        (session,) = (session for session in town.engine.snapshot().sessions if not session.publishing)
        assert town.engine.kick(session.session_id)
        await player.status("NetStream.Play.Stop")
        await player.closed()
        assert getattr(await town.notes.wait_for(PlayEnded), "reason", "") == "sent away"
        assert town.names() == {"show"}
        assert not town.engine.kick(session.session_id)


async def test_another_application_is_refused() -> None:
    async with running() as town, town.client("show", app="other") as client:
        client.session.start()
        await client.wait_for(lambda: any(isinstance(event, CommandFailed) for event in client.events))
        (failed,) = (event for event in client.events if isinstance(event, CommandFailed))
        assert failed.name == "connect"
        assert "other" in failed.description
        await client.closed()


async def test_a_player_that_hangs_up_while_it_waits_for_its_stream_leaves_nothing_behind() -> None:
    async with running(Config(rtmp=RtmpConfig(wait_for_publisher=60))) as town:
        async with town.client("show") as player:
            await player.connect()
            player.session.play("show")
            await player.flush()
            await player.wait_for(lambda: player.session.stream_id == 1)
            await town.door.asking.wait()
            player.writer.transport.abort()
        await town.until(lambda: not town.engine._rtmp.connections)
        async with town.client("show") as client:
            await client.publish()
            await client.send(*GOP, (AUDIO, 0, b"\xaf\x00\x11\x90"))
        assert not town.notes.of(PlayStarted)
        assert not town.engine._hub._waiters
