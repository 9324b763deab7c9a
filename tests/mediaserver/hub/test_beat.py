import asyncio
from collections.abc import Callable, Iterator

import pytest

from mediaserver.hub import beat as beat_module
from mediaserver.hub.beat import MANY_PUBLISHERS, SECONDS_PER_PLAYER, SHORTEST, Beat, Pace

#: Seconds to wait for what is sure to come.
PATIENCE = 30.0
#: An interval, in seconds, that no test waits for, and so many players that it is the ceiling.
NEVER, EVERYBODY = 3600.0, round(3600 / SECONDS_PER_PLAYER)


@pytest.fixture
def one_beat(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind the first beat of a ``crowd`` with a ceiling of NEVER there comes no other."""
    monkeypatch.setattr(beat_module, "SECONDS_PER_PUBLISHER", NEVER)


class Reader:
    def __init__(self, beat: Beat, writer: "Writer | None" = None, fails: bool = False) -> None:
        self.beat = beat
        self.in_beat = False
        self.reads = 0
        self.writer = writer
        self.fails = fails
        self.more = 0
        self.on_read: Callable[[], object] = lambda: None
        self.woken = asyncio.Event()
        self.done = asyncio.Event()

    def enter_beat(self) -> None:
        self.in_beat = True

    def leave_beat(self) -> None:
        self.in_beat = False

    def read(self) -> bool:
        self.reads += 1
        if self.writer is not None:
            self.beat.mark(self.writer)
        self.on_read()
        self.woken.set()
        if self.fails:
            raise RuntimeError("broken")
        self.more -= 1
        if self.more == 0:
            self.done.set()
        return self.more > 0


class Writer:
    def __init__(self) -> None:
        self.flushes = 0
        self.flushed = asyncio.Event()

    def flush(self) -> Iterator[None]:
        self.flushes += 1
        self.flushed.set()
        yield


def beat(ceiling: float = 0.1) -> Beat:
    return Beat(asyncio.get_running_loop(), ceiling)


def crowd(paced: Beat) -> list[Reader]:
    """So many publishers that the beat reads them all."""
    readers = [Reader(paced) for _ in range(MANY_PUBLISHERS)]
    for reader in readers:
        paced.add_reader(reader)
    return readers


async def test_without_load_a_writer_is_flushed_in_the_same_turn_of_the_loop() -> None:
    paced, writer = beat(), Writer()
    paced.mark(writer)
    assert writer.flushes == 0
    await asyncio.sleep(0)
    assert writer.flushes == 1
    assert paced.interval == 0


async def test_the_interval_grows_with_the_connections_up_to_the_ceiling() -> None:
    paced = beat(0.05)
    paced.add_players(100)
    assert paced.interval == 100 * SECONDS_PER_PLAYER
    paced.add_players(10_000)
    assert paced.interval == 0.05
    paced.add_players(-10_100)
    assert paced.interval == 0
    paced.close()


async def test_one_connection_around_the_threshold_does_not_flap() -> None:
    paced = beat()
    threshold = round(SHORTEST / SECONDS_PER_PLAYER)
    paced.add_players(threshold)
    assert paced.interval == SHORTEST
    paced.add_players(-1)
    assert paced.interval == SHORTEST
    paced.add_players(-threshold // 2)
    assert paced.interval == 0
    paced.close()


async def test_under_load_readers_leave_the_poller_and_are_read_and_flushed_in_one_beat(one_beat: None) -> None:
    paced, writer = beat(NEVER), Writer()
    reader = Reader(paced, writer)
    paced.add_reader(reader)
    assert not reader.in_beat
    others = crowd(paced)
    assert reader.in_beat
    assert paced.pace is Pace.BEAT
    await asyncio.wait_for(writer.flushed.wait(), PATIENCE)
    assert reader.reads == writer.flushes == 1
    for other in others:
        paced.remove_reader(other)
    assert not reader.in_beat
    paced.close()


async def test_a_reader_that_leaves_returns_to_the_poller_and_is_read_no_more() -> None:
    paced = beat()
    staying, leaving = Reader(paced), Reader(paced)
    crowd(paced)
    paced.add_reader(staying)
    paced.add_reader(leaving)
    paced.remove_reader(leaving)
    paced.remove_reader(leaving)
    assert not leaving.in_beat
    await asyncio.wait_for(staying.woken.wait(), PATIENCE)
    assert leaving.reads == 0
    paced.close()


async def test_what_was_marked_when_the_load_falls_away_is_flushed_at_once() -> None:
    paced, writer = beat(NEVER), Writer()
    paced.add_players(EVERYBODY)
    await asyncio.sleep(0)
    paced.mark(writer)
    paced.add_players(-EVERYBODY)
    await asyncio.wait_for(writer.flushed.wait(), PATIENCE)
    paced.close()


async def test_a_reader_that_fails_is_reported_and_the_beat_goes_on() -> None:
    reported: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    paced = beat(0.01)
    broken = Reader(paced, fails=True)
    crowd(paced)
    paced.add_reader(broken)
    for _ in range(3):
        broken.woken.clear()
        await asyncio.wait_for(broken.woken.wait(), PATIENCE)
    assert len(reported) >= 2
    paced.close()


class SlowWriter(Writer):
    """One whose flush rests once, and remembers where."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0

    def flush(self) -> Iterator[None]:
        while self.steps < 2:
            self.steps += 1
            yield
        self.flushes += 1
        self.flushed.set()


async def test_work_that_rests_when_the_beat_stops_is_finished_and_nobody_behind_it_is_forgotten() -> None:
    paced, slow, behind = beat(), SlowWriter(), Writer()
    readers = crowd(paced)
    paced.mark(slow)
    paced.mark(behind)
    work = paced._one_beat()
    paced._work = work
    while not slow.steps:
        next(work)
    assert slow.steps == 1
    for reader in readers:
        paced.remove_reader(reader)
    async with asyncio.timeout(PATIENCE):
        await behind.flushed.wait()
    assert slow.flushes == 1
    paced.mark(slow)
    paced.close()


async def test_a_writer_that_fails_does_not_take_the_others_with_it() -> None:
    reported: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))

    class Broken(Writer):
        def flush(self) -> Iterator[None]:
            yield
            raise RuntimeError("broken")

    for pace in Pace:
        paced, behind = beat(), Writer()
        if pace is Pace.BEAT:
            crowd(paced)
        elif pace is Pace.WINDOWS:
            paced.add_players(200)
        assert paced.pace is pace
        paced.mark(Broken())
        paced.mark(behind)
        async with asyncio.timeout(PATIENCE):
            await behind.flushed.wait()
        paced.close()
    assert len(reported) == len(Pace)


async def test_a_reader_with_more_is_asked_twice_at_once_and_again_in_the_same_beat_after_the_others(one_beat: None) -> None:
    paced = beat(NEVER)
    busy, other = Reader(paced), Reader(paced)
    busy.more = 5
    when_other_was: list[int] = []
    other.on_read = lambda: when_other_was.append(busy.reads)
    paced.add_reader(busy)
    paced.add_reader(other)
    crowd(paced)
    async with asyncio.timeout(PATIENCE):
        await other.woken.wait()
        await busy.done.wait()
    assert when_other_was == [2]
    assert busy.reads == 5
    paced.close()


async def test_a_reader_that_leaves_while_it_is_read_is_not_read_on(one_beat: None) -> None:
    paced = beat(NEVER)
    leaving = Reader(paced)
    leaving.more = 3
    leaving.on_read = lambda: paced.remove_reader(leaving)
    paced.add_reader(leaving)
    others = crowd(paced)
    async with asyncio.timeout(PATIENCE):
        for other in others:
            await other.woken.wait()
    assert leaving.reads == 1
    paced.close()


async def test_what_two_reads_bring_is_one_flush(one_beat: None) -> None:
    paced = beat(NEVER)
    words: list[str] = []

    class Gathering(Writer):
        def flush(self) -> Iterator[None]:
            words.append("flush")
            yield from super().flush()

        def gather(self) -> None:
            words.append("read")
            if len(words) == 1:
                paced.mark(self)

    writer, readers = Gathering(), crowd(paced)
    readers[0].more, readers[0].on_read = 2, writer.gather
    async with asyncio.timeout(PATIENCE):
        await writer.flushed.wait()
    assert words == ["read", "read", "flush"]
    paced.close()


async def test_with_few_publishers_each_stream_gathers_in_a_window_of_its_own() -> None:
    for window in (NEVER, 0.01):
        paced, reader, writer = beat(window), Reader(beat()), Writer()
        paced.add_reader(reader)
        paced.add_players(EVERYBODY)
        assert paced.pace is Pace.WINDOWS
        assert not reader.in_beat
        paced.mark(writer)
        if window == NEVER:
            await asyncio.sleep(0.01)
            assert writer.flushes == 0
        else:
            async with asyncio.timeout(PATIENCE):
                await writer.flushed.wait()
        paced.close()


async def test_a_window_ends_when_it_is_hurried() -> None:
    paced, writer = beat(NEVER), Writer()
    paced.add_players(EVERYBODY)
    paced.mark(writer)
    paced.hurry(writer)
    paced.hurry(writer)
    async with asyncio.timeout(PATIENCE):
        await writer.flushed.wait()
    await asyncio.sleep(0)
    assert writer.flushes == 1
    paced.close()


async def test_open_windows_are_flushed_when_the_pace_changes() -> None:
    for players in (-EVERYBODY, 0):
        paced, writer = beat(NEVER), Writer()
        paced.add_players(EVERYBODY)
        paced.mark(writer)
        if players:
            paced.add_players(players)
        else:
            crowd(paced)
        async with asyncio.timeout(PATIENCE):
            await writer.flushed.wait()
        paced.close()
