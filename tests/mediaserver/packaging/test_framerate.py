"""FRAME-RATE and frameRate are what comes: real pictures in whole milliseconds, of rates that their headers do not tell."""

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import replace

import m3u8  # type: ignore[import-untyped]
import pytest

from protocols import dash
from protocols.media import MediaKind, Packet
from tests.media import Clips
from tests.mediaserver.packaging.ladder import Items, Town, a_ladder
from tests.mediaserver.packaging.material import Settings, feed, only, packager, read_flv

#: Pictures between two keyframes.
GOP = 50


@pytest.fixture(scope="module")
def pictures(clips: Clips) -> Items:
    """Three hundred and fifty, whose header says that they are 25 a second."""
    what = {"width": 160, "height": 96, "gop": GOP, "b_frames": 0, "bitrate": 60_000, "seconds": 14.0, "audio": ""}
    return only(read_flv(clips.get(**what)), MediaKind.VIDEO)


def stamped(items: Items, rate: float, *, begin: float = 0.0, rounding: Callable[[float], int] = round) -> Items:
    """The pictures at that rate instead, as FLV counts time, from ``begin`` (seconds) on."""
    numbers = iter(range(len(items)))
    return [
        replace(item, dts=rounding(1000 * (begin + next(numbers) / rate))) if isinstance(item, Packet) else item for item in items
    ]


def returned(items: Items) -> Items:
    """The same, without tracks, as they come when a publisher is back: nothing says that they are others."""
    first, *rest = [item for item in items if isinstance(item, Packet)]
    return [replace(first, discontinuity=True), *rest]


def rates(town: Town) -> set[tuple[str, str]]:
    """What the playlist and the MPD say of each, pictures a second."""
    variants = m3u8.loads(town.text("index.m3u8")).playlists
    listed = [f"{variant.stream_info.frame_rate:.3f}" for variant in variants]
    described = re.findall('frameRate="(.+?)"', town.text("manifest.mpd").rpartition("<Period")[2])
    assert len(listed) == len(described) == 2
    return set(zip(listed, described, strict=True))


@pytest.mark.parametrize("rounding", [round, math.floor])
@pytest.mark.parametrize(
    ("rate", "text", "fraction"),
    [
        (12.5, "12.500", "25/2"),
        (15.0, "15.000", "15"),
        (24_000 / 1001, "23.976", "24000/1001"),
        (24.0, "24.000", "24"),
        (30_000 / 1001, "29.970", "30000/1001"),
        (30.0, "30.000", "30"),
        (31.0, "31.000", "31"),
        (60_000 / 1001, "59.940", "60000/1001"),
        (60.0, "60.000", "60"),
        (120_000 / 1001, "119.880", "120000/1001"),
    ],
)
def test_the_rate_is_counted_where_the_header_tells_another(
    pictures: Items, rate: float, text: str, fraction: str, rounding: Callable[[float], int]
) -> None:
    subject = packager()
    feed(subject, stamped(pictures, rate, rounding=rounding))
    assert f"{subject.frame_rate:.3f}" == text
    assert dash.frame_rate(subject.frame_rate) == fraction


def test_a_rate_that_nobody_else_has_is_told_as_it_is_measured(pictures: Items) -> None:
    subject = packager()
    feed(subject, stamped(pictures, 27.3))
    assert subject.frame_rate == pytest.approx(27.3, abs=0.01)


def test_a_picture_left_out_now_and_then_makes_no_other_rate(pictures: Items) -> None:
    subject = packager()
    told = set()
    items = [item for number, item in enumerate(stamped(pictures, 25.0)) if number % 120 != 30]
    feed(subject, items, after=lambda: told.add(subject.frame_rate))
    assert told == {0.0, 25.0}


def swaying() -> Iterator[float]:
    """Of a source without a constant rate: when each picture is shown, seconds."""
    at = 0.0
    for number in range(1000):
        yield at
        at += (0.02, 0.04, 0.025, 0.05)[number // GOP % 4]


@pytest.fixture(scope="module")
def swaying_pictures(pictures: Items) -> Items:
    times = swaying()
    return [replace(item, dts=round(1000 * next(times))) if isinstance(item, Packet) else item for item in pictures]


def test_a_rate_that_changes_all_the_time_is_a_mean(swaying_pictures: Items) -> None:
    subject = packager()
    feed(subject, swaying_pictures)
    assert subject.frame_rate == pytest.approx(4 / (0.02 + 0.04 + 0.025 + 0.05), abs=0.01)


def test_a_change_in_mid_stream_is_told_once_it_is_one(pictures: Items) -> None:
    subject = packager()
    before = stamped(pictures[:201], 50.0)
    after = stamped(pictures, 30.0, begin=4.0 - 200 / 30)[201:]
    told: list[float] = []
    feed(subject, before + after, after=lambda: told.append(subject.frame_rate))
    changes = [rate for rate, earlier in zip(told, [-1.0, *told], strict=False) if rate != earlier]
    assert changes in ([0.0, 50.0, 30.0], [0.0, 25.0, 50.0, 30.0])
    video = subject.renditions[MediaKind.VIDEO]
    assert video.segmenter.frame == 3000, "parts are made of pictures of that duration"


def test_what_comes_behind_a_break_is_told_with_its_first_pictures(pictures: Items) -> None:
    subject = packager()
    feed(subject, stamped(pictures, 60_000 / 1001))
    feed(subject, returned(stamped(pictures, 12.5, begin=9.0))[:8])
    assert subject.frame_rate == 12.5


def test_renditions_of_a_source_without_a_constant_rate_tell_what_that_tells(swaying_pictures: Items) -> None:
    town = Town(Settings(segment_duration=1.0), a_ladder("96p"))
    # One that leaves out a picture of each fifty.
    passed = [item for number, item in enumerate(swaying_pictures) if number % GOP != 30]
    feeds = town.source(swaying_pictures), town.rung("96p", passed, 150.0)
    town.subject.start("show", 0.0)
    town.play(*feeds)
    assert len(rates(town)) == 1


@pytest.mark.parametrize("gone", [False, True])
def test_renditions_tell_the_rate_that_a_publisher_returns_with(pictures: Items, gone: bool) -> None:
    town = Town(Settings(segment_duration=1.0), a_ladder("96p"))
    items = stamped(pictures, 60_000 / 1001)
    feeds = town.source(items), town.rung("96p", items, 150.0)
    town.subject.start("show", 0.0)
    town.play(*feeds)
    assert rates(town) == {("59.940", "60000/1001")}
    begin = 9.0 if gone else town.time / 1000 + 0.02
    again = returned(stamped(pictures, 12.5, begin=begin))
    town.play(town.source(again), town.rung("96p", again, 150.0))
    assert rates(town) == {("12.500", "25/2")}
    past = town.text("manifest.mpd").partition("</Period>")[0]
    assert set(re.findall('frameRate="(.+?)"', past)) == {"60000/1001"}, "what is over stays as it was"


def test_a_rendition_with_half_the_pictures_tells_half_the_rate(pictures: Items) -> None:
    town = Town(Settings(segment_duration=1.0), a_ladder("96p"))
    items = stamped(pictures, 60_000 / 1001)
    feeds = town.source(items), town.rung("96p", [item for number, item in enumerate(items) if not number or number % 2], 150.0)
    town.subject.start("show", 0.0)
    town.play(*feeds)
    assert rates(town) == {("59.940", "60000/1001"), ("29.970", "30000/1001")}


@pytest.mark.parametrize("declared", [1.16e-10, 8e6])
def test_a_rate_that_cannot_be_is_not_believed(pictures: Items, monkeypatch: pytest.MonkeyPatch, declared: float) -> None:
    """Not even where nothing measured speaks against it: pictures that take no time, as heavy as a segment may be."""
    monkeypatch.setattr("mediaserver.packaging.packager.WEIGHT", 1000)
    subject = packager(Settings(segment_duration=1.0))
    feed(subject, pictures[:1])
    rendition = subject.renditions[MediaKind.VIDEO]
    parameters = replace(rendition.init.parameters, frame_rate=declared)  # type: ignore[type-var]
    rendition.init = replace(rendition.init, parameters=parameters)
    feed(subject, [replace(item, dts=0, keyframe=True) for item in pictures[1:100] if isinstance(item, Packet)])
    assert subject.part_target < 1
    subject.on_away()
    assert rendition.window.growing is None
    assert len(rendition.window.segments) > 3
