"""Sequence numbers in a file."""

import asyncio
import os
from collections.abc import Coroutine
from pathlib import Path

import pytest

from mediaserver.packaging import numbersfile
from mediaserver.packaging.numbers import BEGINNING, BLOCK, MOST_AHEAD, NUMBERS_SINCE, NumberBook, Numbers, first_numbers
from mediaserver.packaging.numbersfile import NAME, NumbersFile, read, write
from mediaserver.packaging.packagers import Packagers

#: A moment at which the clock gives the discontinuity 1000.
NOW = NUMBERS_SINCE + 600_000.0
CLOCK = first_numbers(NOW)


class Book:
    """Stands in for the packagers."""

    def __init__(self, **discontinuities: int) -> None:
        self.numbers = {name: Numbers(7, number) for name, number in discontinuities.items()}
        self.told = dict[str, Numbers]()

    def ahead(self) -> dict[str, Numbers]:
        return dict(self.numbers)

    def go_on(self, numbers: dict[str, Numbers]) -> None:
        self.told = dict(numbers)


class Desk:
    """A NumbersFile, and the tasks that it spawns."""

    def __init__(self, folder: Path, book: Book) -> None:
        self.tasks: set[asyncio.Task[None]] = set()
        self.file = NumbersFile(folder, book, self.spawn)  # type: ignore[arg-type]

    def spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def sweep(self) -> int:
        """How many tasks a look at it makes; they are done then."""
        self.file.sweep(0.0)
        count = len(self.tasks)
        while self.tasks:
            await asyncio.wait(self.tasks)
        return count


async def test_what_one_server_wrote_the_next_one_reads(tmp_path: Path) -> None:
    book = Book(show=1005)
    desk = Desk(tmp_path, book)
    await desk.file.load()
    assert book.told == {}
    assert await desk.sweep() == 1
    assert await desk.sweep() == 0, "nothing has changed"
    book.numbers["other"] = Numbers(0, 1001)
    await desk.file.close()
    again = Book()
    await Desk(tmp_path, again).file.load()
    assert again.told == {"show": (7, 1005), "other": (0, 1001)}
    assert os.listdir(tmp_path) == [NAME]


async def test_without_a_folder_nothing_is_kept_and_none_is_made(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "none", Book(show=1005))
    await desk.file.load()
    assert await desk.sweep() == 0
    await desk.file.close()
    assert os.listdir(tmp_path) == []


async def test_a_disk_that_takes_nothing_is_told_and_tried_again_with_the_next_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    book = Book(show=1005)
    desk = Desk(tmp_path, book)
    await desk.file.load()
    with monkeypatch.context() as broken:
        broken.setattr(numbersfile, "write", full)
        assert await desk.sweep() == 1
        assert await desk.sweep() == 0
    assert [entry.message for entry in caplog.records] == ["numbers_not_kept"]
    book.numbers["show"] = Numbers(8, 1006)
    assert await desk.sweep() == 1
    assert read(tmp_path / NAME) == {"show": (8, 1006)}


@pytest.mark.parametrize("text", ["", "[]", "{", "null", '{"a": 1', "\x00" * 100, "[" * 100_000])
def test_a_file_that_is_not_ours_says_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / NAME).write_text(text)
    assert read(tmp_path / NAME) == {}


def test_numbers_and_names_that_cannot_be_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text('{"a": [5, 6], "../b": [5, 6], "c": "56", "d": [true, 1], "e": [5.5, 1], "f": null, "g": [5]}')
    assert read(tmp_path / NAME) == {"a": (5, 6)}


def test_it_does_not_write_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "treasure").write_text("gold")
    (tmp_path / f"{NAME}.part").symlink_to(tmp_path / "treasure")
    with pytest.raises(OSError, match="symbolic link"):
        write(tmp_path / NAME, {"a": Numbers(1, 1)})
    assert (tmp_path / "treasure").read_text() == "gold"


def test_a_book_goes_on_where_another_one_was_until_the_clock_has_passed_it() -> None:
    now = [NOW]
    book = NumberBook(lambda: now[0])
    absurd = 1000 + MOST_AHEAD.discontinuity + 1
    book.go_on({"show": Numbers(0, 1005), "past": Numbers(0, 900), "absurd": Numbers(0, absurd)})
    assert [book.first(name).discontinuity for name in ("show", "past", "absurd", "new")] == [1005, 1000, 1000, 1000]
    assert book.ahead({}) == {"show": (0, 1005)}
    assert book.ahead({"live": Numbers(0, 1003), "calm": Numbers(0, 1000), "show": Numbers(0, 1007)}) == {
        "show": (0, 1007),
        "live": (0, 1003),
    }
    now[0] += 5 * 600
    book.follow_clock()
    assert book.ahead({}) == {}
    assert book.first("show").discontinuity == 1005


def test_who_sends_faster_than_in_real_time_has_numbers_reserved() -> None:
    now = [NOW]
    book = NumberBook(lambda: now[0])
    hurried, usual = CLOCK.sequence + BEGINNING + 1, CLOCK.sequence + BEGINNING
    present = {"hurried": Numbers(hurried, 1000), "usual": Numbers(usual, 1000)}
    (kept,) = book.ahead(present).items()
    assert kept[0] == "hurried"
    assert BLOCK <= kept[1].sequence - hurried <= 2 * BLOCK
    assert book.ahead({"hurried": Numbers(kept[1].sequence - BLOCK - 1, 1000)}) == dict([kept]), "no write for each segment"
    after = NumberBook(lambda: now[0])
    after.go_on(dict([kept]))
    assert after.first("hurried") == (kept[1].sequence, 1000)
    # What nobody uses is kept as it is, so that it does not grow with every restart.
    assert after.ahead({}) == dict([kept])
    after.go_on({"absurd": Numbers(CLOCK.sequence + MOST_AHEAD.sequence + 1, 0)})
    assert after.first("absurd") == CLOCK
    now[0] += 60
    assert after.first("hurried").sequence == CLOCK.sequence + 600
    assert after.ahead({}) == {}


def test_packagers_tell_what_is_in_use() -> None:
    class Nobody:
        def find(self, name: str) -> None:
            return None

    from mediaserver.config import HlsConfig  # noqa: PLC0415

    packagers = Packagers(Nobody(), HlsConfig(), lambda: NOW)  # type: ignore[arg-type]
    packagers.go_on({"show": Numbers(0, 1005)})
    assert packagers.ahead() == {"show": (0, 1005)}
