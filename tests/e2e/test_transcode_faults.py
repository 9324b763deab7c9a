"""What goes wrong while a ladder is made: players of every rung, and of the source, go on."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable
from itertools import pairwise

import pytest

from mediaserver.config import Config, RtmpConfig, TranscodeConfig
from mediaserver.events import PublishEnded, TranscodeChanged
from mediaserver.ports import EncoderPolicy, Ladder, PublishGrant, PublishRequest, Rung
from mediaserver.snapshot import RungSnapshot
from mediaserver.transcode import load
from tests.e2e.players import LivePlayer, complaints
from tests.media import Clips
from tests.mediaserver.running import Running, running
from tests.mediaserver.transcode import material  # noqa: F401 - registers encoders that fail
from tests.peers import Peers

PATIENCE = 40.0
SECONDS, PERIOD = 30, 750
LADDER = Ladder((Rung("240p", 240), Rung("144p", 144), Rung("audio", 0)))


async def until(question: Callable[[], object], what: str) -> None:
    try:
        async with asyncio.timeout(PATIENCE):
            while not question():  # noqa: ASYNC110 - players live in threads
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"not within {PATIENCE} s: {what}") from None


class Town:
    """An engine whose publishers get a ladder."""

    def __init__(self, running: Running, ladder: Ladder) -> None:
        self.running = running
        self.ladder = ladder
        running.door.may_publish = self.may_publish  # type: ignore[method-assign]

    async def may_publish(self, request: PublishRequest) -> PublishGrant:
        return PublishGrant(request.key, ladder=self.ladder)

    def url(self, name: str) -> str:
        return f"rtmp://127.0.0.1:{self.running.engine.config.rtmp.port}/live/{name}"

    def rungs(self) -> dict[str, RungSnapshot]:
        return {
            rung.name: rung for stream in self.running.engine.snapshot().streams if stream.name == "show" for rung in stream.rungs
        }

    def pid(self) -> int:
        (transcoder,) = self.running.engine._transcoders._transcoders
        return transcoder.pid

    def reasons(self) -> list[str]:
        return [event.reason for event in self.running.notes.of(TranscodeChanged)]  # type: ignore[attr-defined]

    @contextlib.asynccontextmanager
    async def player(self, name: str) -> AsyncIterator[LivePlayer]:
        await until(lambda: name in self.running.names(), f"{name} to be live: {self.reasons()}")
        player = LivePlayer(self.url(name))
        player.__enter__()
        try:
            await until(lambda: player.seen.numbers or player.seen.sound, f"something of {name}")
            yield player
        finally:
            await asyncio.to_thread(player.__exit__)

    async def more(self, player: LivePlayer, pictures: int) -> None:
        wanted = len(player.seen.numbers) + pictures
        await until(lambda: len(player.seen.numbers) >= wanted or not player.playing, "more pictures")
        assert len(player.seen.numbers) >= wanted, f"the player ended: {player.error}; {self.reasons()}"


@pytest.fixture(autouse=True)
def all_the_time_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A transcoder is given every picture, however late a busy machine makes it: what is lost is lost to what is tried."""
    monkeypatch.setattr(load, "MOST_LAG", 60_000)


@contextlib.asynccontextmanager
async def town(ladder: Ladder = LADDER, **transcode: object) -> AsyncIterator[Town]:
    config = Config(
        rtmp=RtmpConfig(reconnect_grace=20.0), transcode=TranscodeConfig.model_validate({"preset": "ultrafast", **transcode})
    )
    async with running(config) as started:
        yield Town(started, ladder)


def push(peers: Peers, clips: Clips, url: str, **what: object) -> object:
    return peers.ffmpeg_push(clips.get(**{"width": 426, "height": 240, "seconds": SECONDS, **what}), url, loop=False)


async def test_a_process_that_is_killed_is_started_again_and_players_go_on(clips: Clips, peers: Peers) -> None:
    async with town() as here:
        push(peers, clips, here.url("show"))
        async with here.player("show@144p") as small, here.player("show@240p") as copy, here.player("show") as original:
            await here.more(small, 25)
            before = here.pid()
            os.kill(before, signal.SIGKILL)
            await here.more(small, 50)
            assert here.pid() not in (0, before)
            await here.more(original, 1)
        assert complaints(original.seen, period=PERIOD) == [], "the source"
        assert complaints(copy.seen, period=PERIOD) == [], "a rung that is copied"
        gaps = [(one, two) for one, two in pairwise(small.seen.numbers) if two != one + 1]
        assert len(gaps) == 1
        assert gaps[0][1] % 25 == 0, "it goes on with a keyframe"
        assert any("is started again" in reason for reason in here.reasons())


async def test_one_that_dies_too_often_leaves_what_can_be_copied(clips: Clips, peers: Peers) -> None:
    async with town(max_deaths=1) as here:
        push(peers, clips, here.url("show"))
        async with here.player("show@144p") as small, here.player("show@240p") as copy, here.player("show@audio") as sound:
            for death in (1, 2):
                await until(here.pid, f"life {death}")
                os.kill(here.pid(), signal.SIGKILL)
                await until(lambda death=death: len([r for r in here.reasons() if "died" in r]) == death, "the death to be told")
            await until(lambda: not small.playing, "its players to be told")
            await here.more(copy, 25)
            heard = sound.seen.seconds_of_sound
            await until(lambda: sound.seen.seconds_of_sound > heard + 0.5, "sound")
        assert complaints(copy.seen, period=PERIOD) == []
        assert {name: rung.running for name, rung in here.rungs().items()} == {"240p": True, "144p": False, "audio": True}
        assert "died 2 times" in here.reasons()[-1]


async def test_an_encoder_that_fails_in_mid_stream_is_replaced_without_a_break(clips: Clips, peers: Peers) -> None:
    async with town(Ladder((Rung("144p", 144, encoder="fails_at_100"),))) as here:
        push(peers, clips, here.url("show"))
        async with here.player("show@144p") as small, here.player("show") as original:
            await until(lambda: any("libx264 goes on" in reason for reason in here.reasons()), "the failure to be told")
            await here.more(small, 50)
        assert complaints(original.seen, period=PERIOD) == []
        lost = [two - one - 1 for one, two in pairwise(small.seen.numbers) if two != one + 1]
        assert sum(lost) <= 3, "pictures between two that the failed one had given out already"
        assert (here.rungs()["144p"].encoder, here.rungs()["144p"].running) == ("libx264", True)
        assert "fails_at_100 failed: out of order" in here.rungs()["144p"].reason


@pytest.mark.parametrize("policy", [EncoderPolicy.DROP_RUNG, EncoderPolicy.PASSTHROUGH, EncoderPolicy.FAIL])
async def test_the_policy_says_what_else_may_happen(clips: Clips, peers: Peers, policy: EncoderPolicy) -> None:
    rungs = (Rung("240p", 240), Rung("200p", 200, encoder="fails_at_100"), Rung("144p", 144))
    async with town(Ladder(rungs, policy=policy)) as here:
        push(peers, clips, here.url("show"))
        async with here.player("show@200p") as doomed:
            await until(lambda: not doomed.playing, "the end of that rung")
        if policy is EncoderPolicy.FAIL:
            ended = await here.running.notes.wait_for(PublishEnded)
            assert "fails_at_100 failed" in ended.reason  # type: ignore[attr-defined]
            return
        expected = {"240p": True, "200p": False, "144p": policy is EncoderPolicy.DROP_RUNG}
        assert {name: rung.running for name, rung in here.rungs().items()} == expected
        async with here.player("show@240p" if policy is EncoderPolicy.PASSTHROUGH else "show@144p") as left:
            await here.more(left, 30)


async def test_a_publisher_that_comes_back_finds_its_ladder_and_players_still_there(clips: Clips, peers: Peers) -> None:
    async with town() as here:
        first = push(peers, clips, here.url("show"))
        async with here.player("show@144p") as small:
            await here.more(small, 25)
            await asyncio.to_thread(first.stop)  # type: ignore[attr-defined]
            await until(lambda: not here.running.engine.snapshot().sessions[0].publishing, "it to leave")
            before = len(small.seen.numbers)
            push(peers, clips, here.url("show"))
            await until(lambda: 0 in small.seen.numbers[before:], "the clip's first picture again")
            await here.more(small, 50)
        place = small.seen.numbers.index(0, before)
        assert small.seen.numbers[place:] == list(range(len(small.seen.numbers) - place))
        times = small.seen.times
        assert times == sorted(times)


async def test_sound_that_is_not_aac_is_aac_in_every_rung(clips: Clips, peers: Peers) -> None:
    async with town() as here:
        push(peers, clips, here.url("show"), audio="mp3")
        async with here.player("show@144p") as small, here.player("show@240p") as copy, here.player("show@audio") as sound:
            await here.more(small, 50)
            await until(lambda: sound.seen.seconds_of_sound > 2, "sound")
        assert small.seen.codecs == copy.seen.codecs == ["h264", "aac"]
        assert sound.seen.codecs == ["aac"]
        for seen in (small.seen, copy.seen):
            assert complaints(seen, period=PERIOD, least=1.5) == []


async def test_more_streams_than_may_be_transcoded_go_on_without(clips: Clips, peers: Peers) -> None:
    async with town(max_jobs=1) as here:
        push(peers, clips, here.url("show"))
        await until(lambda: "show@144p" in here.running.names(), "the first")
        push(peers, clips, here.url("other"))
        await until(lambda: "other@240p" in here.running.names(), "what is copied")
        await until(lambda: any("transcode.max_jobs" in reason for reason in here.reasons()), "it to be told")
        assert "other@144p" not in here.running.names()
        here.running.engine._hub.end("show", "over")
        await until(lambda: "other@144p" in here.running.names(), "its turn")


async def test_the_process_is_gone_when_the_stream_is(clips: Clips, peers: Peers) -> None:
    async with town() as here:
        push(peers, clips, here.url("show"))
        await until(lambda: "show@144p" in here.running.names(), "the rung")
        pid = here.pid()
        here.running.engine.kick(here.running.engine.snapshot().sessions[0].session_id)
        here.running.engine._hub.end("show", "over")
        await until(lambda: not os.path.exists(f"/proc/{pid}"), "the process to end")
        assert here.running.names() == set()


async def test_what_does_not_keep_up_sheds_its_top_rung_and_gets_it_back(
    clips: Clips, peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "MOST_LAG", 2_500)
    monkeypatch.setattr(load, "FIRST_PATIENCE", 2.0)
    monkeypatch.setattr(load, "MEMORY", 5.0)
    async with town(Ladder((Rung("200p", 200), Rung("144p", 144)))) as here:
        peers.ffmpeg_push(clips.get(width=426, height=240, seconds=SECONDS), here.url("show"))
        async with here.player("show@144p") as small, here.player("show") as original:
            await here.more(small, 25)
            os.kill(here.pid(), signal.SIGSTOP)
            await until(lambda: "200p is shed for want of time" in here.reasons(), "the top rung to be shed")
            assert here.rungs()["200p"].reason == "shed for want of time"
            os.kill(here.pid(), signal.SIGCONT)
            await here.more(small, 50)
            await until(lambda: "200p is restored" in here.reasons(), "it to be restored")
            async with here.player("show@200p") as large:
                await here.more(large, 30)
            await here.more(original, 1)
        assert large.seen.sizes == [(356, 200)]
        gaps = [(one, two) for one, two in pairwise(small.seen.numbers) if two != one + 1]
        assert all(after % 25 == 0 for _, after in gaps), "each gap ends with a keyframe"
