"""Sprites that are still to be made when a server stops, or is cut off: the next one finds them."""

import asyncio
import os
import shutil
import sys
from pathlib import Path

import pytest

from mediaserver.config import Config, RecordingConfig
from mediaserver.events import RecordingFinished
from mediaserver.recording import sprites
from mediaserver.recording.sprites import SpriteQueue, make_sprites, sheet_file, vtt_file
from protocols.mpegts import NULL_PACKET
from tests.e2e.rtmp import tags_of
from tests.media import Clips
from tests.mediaserver.recording.test_sprites import Recorder, pictures_of, record
from tests.mediaserver.running import running

__all__ = ["record"]


def wished(folder: Path) -> list[str]:
    """The recordings in ``folder`` whose sprites are still to be made."""
    return sorted(file.name.removesuffix(".sprites") for file in folder.rglob("*.sprites"))


def only_recording(folder: Path) -> Path:
    (file,) = folder.rglob("*.mp4")
    return file


async def test_what_a_server_that_stops_leaves_is_made_at_the_next_start(
    clips: Clips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[Path] = []

    async def make(file: Path) -> sprites.Sprites:
        begun.append(file)
        return await make_sprites(file)

    monkeypatch.setattr(sprites, "make_sprites", make)
    config = Config(recording=RecordingConfig(directory=str(tmp_path), min_free_bytes=0, always=True, sprites=True))
    async with running(config) as town, town.client("show") as publisher:
        await publisher.publish()
        await publisher.send(*tags_of(clips.get()))
        await town.until(lambda: bool(shots := town.engine.snapshot().recordings) and shots[0].seconds > 3)
    file = only_recording(tmp_path)
    assert wished(tmp_path) == [file.name]
    assert begun == [], "a server that stops begins nothing that it would break off"
    async with running(config) as town:
        await town.until(lambda: wished(tmp_path) == [])
    assert begun == [file]
    assert [number for _, _, number in pictures_of(file)] == [0, 25, 50, 75]


async def test_sprites_of_a_recording_that_was_cut_off_are_made_when_it_is_whole(clips: Clips, tmp_path: Path) -> None:
    folder = tmp_path / "show"
    folder.mkdir()
    shutil.copyfile(clips.get(container="ts"), file := folder / "show-20260101-120000.ts")
    with file.open("ab") as recording:
        recording.write(NULL_PACKET)
    (folder / f"{file.name}.recording").write_text("{}")
    config = Config(recording=RecordingConfig(directory=str(tmp_path), min_free_bytes=0, sprites=True))
    async with running(config) as town:
        await town.until(lambda: vtt_file(file).exists() and wished(tmp_path) == [])
        assert town.notes.of(RecordingFinished)
    assert set(os.listdir(folder)) == {vtt_file(file).name, sheet_file(file, 1).name, file.name}


async def test_what_can_never_be_made_is_tried_once(record: Recorder, tmp_path: Path) -> None:
    folder = tmp_path / "show"
    folder.mkdir()
    file = record(video="").rename(folder / "show-20260101-120000.mp4")
    (folder / f"{file.name}.sprites").touch()
    (folder / "show-20260101-130000.mp4.sprites").touch()
    queue = SpriteQueue(asyncio.get_running_loop().create_task)
    await queue.resume(tmp_path)
    await queue.idle()
    assert wished(tmp_path) == []


async def test_without_a_process_for_them_they_stay_wished_for(
    record: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "show"
    folder.mkdir()
    file = record().rename(folder / "show-20260101-120000.mp4")
    (folder / f"{file.name}.sprites").touch()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "none"))
    queue = SpriteQueue(asyncio.get_running_loop().create_task)
    await queue.resume(tmp_path)
    await queue.idle()
    assert wished(tmp_path) == [file.name]


async def test_what_a_server_that_was_cut_off_had_begun_is_removed_at_the_next_start(record: Recorder, tmp_path: Path) -> None:
    folder = tmp_path / "show"
    folder.mkdir()
    file = record().rename(folder / "show-20260101-120000.mp4")
    kept = ["show-20260101-140000.mp4.part", "notes.sprites.part"]
    for name in ("show-20260101-130000.sprites.vtt.part", "show-20260101-130000.sprites-12.jpg.part", *kept):
        (folder / name).write_text("half")
    (folder / "show-20260101-120000.sprites.vtt.part").write_text("half of what is wished for")
    (folder / f"{file.name}.sprites").touch()
    queue = SpriteQueue(asyncio.get_running_loop().create_task)
    await queue.resume(tmp_path)
    await queue.idle()
    assert set(os.listdir(folder)) == {*kept, file.name, vtt_file(file).name, sheet_file(file, 1).name}
