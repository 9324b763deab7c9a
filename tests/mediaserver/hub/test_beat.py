import asyncio
from collections.abc import Iterator

from mediaserver.hub.beat import SECONDS_PER_CONNECTION, SHORTEST, Beat


class Reader:
    def __init__(self, beat: Beat, writer: "Writer | None" = None, fails: bool = False) -> None:
        self.beat = beat
        self.in_beat = False
        self.reads = 0
        self.writer = writer
        self.fails = fails
        self.woken = asyncio.Event()

    def enter_beat(self) -> None:
        self.in_beat = True

    def leave_beat(self) -> None:
        self.in_beat = False

    def read(self) -> None:
        self.reads += 1
        if self.writer is not None:
            self.beat.mark(self.writer)
        self.woken.set()
        if self.fails:
            raise RuntimeError("broken")


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


async def test_without_load_a_writer_is_flushed_in_the_same_turn_of_the_loop() -> None:
    paced, writer = beat(), Writer()
    paced.mark(writer)
    assert writer.flushes == 0
    await asyncio.sleep(0)
    assert writer.flushes == 1
    assert paced.interval == 0


async def test_the_interval_grows_with_the_connections_up_to_the_ceiling() -> None:
    paced = beat(0.05)
    paced.add_weight(100)
    assert paced.interval == 100 * SECONDS_PER_CONNECTION
    paced.add_weight(10_000)
    assert paced.interval == 0.05
    paced.add_weight(-10_100)
    assert paced.interval == 0
    paced.close()


async def test_one_connection_around_the_threshold_does_not_flap() -> None:
    paced = beat()
    threshold = round(SHORTEST / SECONDS_PER_CONNECTION)
    paced.add_weight(threshold)
    assert paced.interval == SHORTEST
    paced.add_weight(-1)
    assert paced.interval == SHORTEST
    paced.add_weight(-threshold // 2)
    assert paced.interval == 0
    paced.close()


async def test_under_load_readers_leave_the_poller_and_are_read_and_flushed_in_one_beat() -> None:
    paced, writer = beat(), Writer()
    reader = Reader(paced, writer)
    paced.add_reader(reader)
    assert not reader.in_beat
    paced.add_weight(200)
    assert reader.in_beat
    await asyncio.wait_for(writer.flushed.wait(), 5)
    assert reader.reads == writer.flushes == 1
    paced.add_weight(-200)
    assert not reader.in_beat
    paced.close()


async def test_a_reader_that_leaves_returns_to_the_poller_and_is_read_no_more() -> None:
    paced = beat()
    staying, leaving = Reader(paced), Reader(paced)
    paced.add_weight(200)
    paced.add_reader(staying)
    paced.add_reader(leaving)
    paced.remove_reader(leaving)
    paced.remove_reader(leaving)
    assert not leaving.in_beat
    await asyncio.wait_for(staying.woken.wait(), 5)
    assert leaving.reads == 0
    paced.close()


async def test_what_was_marked_when_the_load_falls_away_is_flushed_at_once() -> None:
    paced, writer = beat(5.0), Writer()
    paced.add_weight(30_000)
    await asyncio.sleep(0)
    paced.mark(writer)
    paced.add_weight(-30_000)
    await asyncio.wait_for(writer.flushed.wait(), 1)
    paced.close()


async def test_a_reader_that_fails_is_reported_and_the_beat_goes_on() -> None:
    reported: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    paced = beat(0.01)
    broken = Reader(paced, fails=True)
    paced.add_weight(200)
    paced.add_reader(broken)
    for _ in range(3):
        broken.woken.clear()
        await asyncio.wait_for(broken.woken.wait(), 5)
    assert len(reported) >= 2
    paced.close()
