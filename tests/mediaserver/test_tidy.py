"""What is freed is given back."""

import asyncio
import platform

import psutil
import pytest

from mediaserver.tidy import INTERVAL, Tidier, give_back


async def test_it_gives_back_when_there_is_less_to_do_and_not_all_the_time() -> None:
    given: list[float] = []
    now, load = 0.0, 0
    tasks: list[asyncio.Task[None]] = []
    tidier = Tidier(lambda: load, 100, lambda work: tasks.append(asyncio.create_task(work)), lambda: given.append(now))
    expected = []
    for now, load in (
        *((0.0, 0), (1.0, 500), (2.0, 450), (3.0, 251), (4.0, 250), (5.0, 100), (4.0 + INTERVAL, 100)),
        *((30.0, 90), (31.0, 10), (40.0, 1000), (60.0, 501), (61.0, 499)),
    ):
        tidier.sweep(now)
        await asyncio.gather(*tasks)
        if (now, load) in ((4.0, 250), (4.0 + INTERVAL, 100), (61.0, 499)):
            expected.append(now)
        assert given == expected


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="malloc_trim(3) is glibc's")
def test_holes_between_what_is_in_use_go_back_to_the_system() -> None:
    process = psutil.Process()
    pieces = [bytes(20_000) for _ in range(5_000)]
    held = process.memory_info().rss
    del pieces[:-1:2], pieces[:-1:2]
    kept = process.memory_info().rss
    give_back()
    freed = held - process.memory_info().rss
    assert len(pieces) > 1000
    assert freed > 50 << 20, (held, kept)
