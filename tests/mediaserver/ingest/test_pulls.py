"""What a pull says yes and no to, and when it tries again; what it fetches is seen in the end-to-end tests."""

import socket

import pytest

from mediaserver.config import Config, PullConfig, RtmpConfig, ServerConfig
from mediaserver.errors import NameTaken, Refused
from mediaserver.events import PublishEnded, PublisherLeft, PublishStarted, PullChanged
from mediaserver.ports import InputType, PublishGrant, PullSource
from tests.mediaserver.running import GOP, running

SILENT = PullSource(InputType.RTMP, "rtmp://127.0.0.1:1/live/a")


async def test_what_is_refused_at_once_leaves_nothing_behind() -> None:
    async with running(Config(pull=PullConfig(max_jobs=1))) as town:
        for source, name, reason in (
            (PullSource(InputType.FILE, "a.mp4"), "show", "pull.file_roots is empty"),
            (PullSource(InputType.HTTP, "ftp://host/a"), "show", "http:// or https://"),
            (SILENT, "../show", "cannot have this name"),
        ):
            with pytest.raises(Refused, match=reason):
                town.engine.start_pull(source, PublishGrant(name))
        assert town.engine.snapshot().pulls == ()
        session = town.engine.start_pull(SILENT, PublishGrant("show"))
        with pytest.raises(Refused, match=r"pull\.max_jobs"):
            town.engine.start_pull(SILENT, PublishGrant("other"))
        assert town.engine.kick(session)
        assert not town.engine.kick(session)
        assert town.engine.snapshot().pulls == ()
        town.engine.start_pull(SILENT, PublishGrant("show"))


async def test_a_name_is_pulled_or_pushed_by_one_at_a_time() -> None:
    async with running() as town, town.client("show") as client:
        await (await client.publish()).send(*GOP)
        with pytest.raises(NameTaken):
            town.engine.start_pull(SILENT, PublishGrant("show"))
        town.engine.start_pull(SILENT, PublishGrant("other"))
        with pytest.raises(NameTaken):
            town.engine.start_pull(SILENT, PublishGrant("other"))


async def test_a_pull_that_never_came_does_not_end_the_stream_of_another() -> None:
    """One that is to take over from an encoder that is away, and has a mistake in its address."""
    async with running(Config(rtmp=RtmpConfig(reconnect_grace=300.0))) as town:
        async with town.client("show") as client:
            await (await client.publish()).send(*GOP)
        await town.notes.wait_for(PublisherLeft)
        town.engine.start_pull(PullSource(InputType.RTMP, "rtmp://127.0.0.1/nothing"), PublishGrant("show"))
        told = await town.notes.wait_for(PullChanged)
        assert isinstance(told, PullChanged)
        assert "needs an application and a name" in told.reason
        assert told.failed
        assert "show" in town.names()
        assert town.engine.kick(town.engine.start_pull(SILENT, PublishGrant("show")))
        assert "show" in town.names()
        assert not town.notes.of(PublishEnded)


@pytest.mark.parametrize(
    ("input_type", "url"),
    [
        (InputType.RTMP, "rtmp://localhost:{}/live/a"),
        (InputType.RTMP, "rtmp://[::ffff:127.0.0.1]:{}/live/a"),
        (InputType.RTSP, "rtsp://2130706433:{}/a"),
        (InputType.HTTP, "http://0x7f.1:{}/a.flv"),
        (InputType.HLS, "http://0177.0.0.1:{}/a.m3u8"),
        (InputType.SRT, "srt://127.1:{}"),
    ],
)
async def test_this_machine_is_not_pulled_from_unless_the_configuration_says_so(input_type: InputType, url: str) -> None:
    """By no type, and nobody there hears of it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        async with running() as town:
            town.engine.start_pull(PullSource(input_type, url.format(server.getsockname()[1])), PublishGrant("show"))
            told = await town.notes.wait_for(PullChanged)
            assert isinstance(told, PullChanged)
            assert "not a public address" in told.reason
            # It would be no other if it were tried again.
            assert (told.over, told.failed) == (True, True)
            with pytest.raises(BlockingIOError):
                server.accept()


async def test_a_lost_source_is_tried_again_and_the_snapshot_says_why() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        config = Config(pull=PullConfig(longest_retry=0.1, timeout=60.0))
        config = config.model_copy(update={"server": config.server.model_copy(update={"allow_private_targets": True})})
        async with running(config) as town:
            url = f"rtmp://127.0.0.1:{nobody.getsockname()[1]}/live/secret"
            session = town.engine.start_pull(PullSource(InputType.RTMP, url), PublishGrant("show"))
            await town.until(lambda: town.engine.snapshot().pulls[0].attempts >= 3)
            (pull,) = town.engine.snapshot().pulls
            assert (pull.session_id, pull.name, pull.connected) == (session, "show", False)
            told = town.notes.of(PullChanged)
            # Three times the same is said once.
            assert len(told) == 1
            assert "cannot be reached: Connection refused" in told[0].reason  # type: ignore[attr-defined]
            assert told[0].failed  # type: ignore[attr-defined]
            assert "secret" not in str(town.notes.events) + str(pull)


async def test_a_publisher_that_takes_the_name_over_ends_the_pull() -> None:
    config = Config(rtmp=RtmpConfig(takeover=True), pull=PullConfig(timeout=60.0))
    config = config.model_copy(update={"server": config.server.model_copy(update={"allow_private_targets": True})})
    async with running(config) as town, town.client("source") as client, town.client("show") as other:
        await (await client.publish()).send(*GOP)
        url = f"rtmp://127.0.0.1:{town.engine.config.rtmp.port}/live/source"
        town.engine.start_pull(PullSource(InputType.RTMP, url), PublishGrant("show"))
        await town.notes.wait_for(PublishStarted, 2)
        await (await other.publish()).send(*GOP)
        told = await town.notes.wait_for(PullChanged, 2)
        assert isinstance(told, PullChanged)
        assert told.reason == "taken over by another publisher"
        assert not told.failed
        assert town.engine.snapshot().pulls == ()
        assert not town.notes.of(PublishEnded)
        assert "show" in town.names()


async def test_what_is_pulled_counts_among_all_that_comes_in_while_it_runs_and_afterwards() -> None:
    config = Config(server=ServerConfig(allow_private_targets=True), pull=PullConfig(timeout=60.0))
    async with running(config) as town, running(config) as other, other.client("source") as client:
        await (await client.publish()).send(*GOP)
        assert town.engine.snapshot().bytes_in == 0
        url = f"rtmp://127.0.0.1:{other.engine.config.rtmp.port}/live/source"
        session = town.engine.start_pull(PullSource(InputType.RTMP, url), PublishGrant("show"))
        size = sum(len(body) for _, _, body in GOP[1:])
        await town.until(lambda: town.engine.snapshot().bytes_in == size)
        assert town.engine.kick(session)
        await town.until(lambda: not town.engine._pulls._pulls)
        assert town.engine.snapshot().bytes_in == size
