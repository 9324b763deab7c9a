"""The ladder that is fitted to a source."""

from dataclasses import replace
from typing import Any

import pytest

from mediaserver.bitrates import suitable_bitrate, usual_bitrate
from mediaserver.ports import Ladder, Rung
from mediaserver.transcode.ladder import FittedRung, Source, fit, named
from protocols.media import Codec

HD = Source(Codec.H264, 1920, 1080, Codec.AAC, 30.0)
FULL = named(["2160p", "1080p", "720p", "480p", "360p", "240p", "audio"])
assert FULL is not None


def by_name(ladder: Ladder, source: Source) -> dict[str, FittedRung]:
    return {fitted.rung.name: fitted for fitted in fit(ladder, source)}


def sizes(source: Source, ladder: Ladder = FULL) -> dict[str, tuple[int, int]]:
    return {name: (each.width, each.height) for name, each in by_name(ladder, source).items() if not each.reason and each.width}


def test_nothing_is_made_larger_than_it_comes() -> None:
    assert sizes(HD) == {"1080p": (1920, 1080), "720p": (1280, 720), "480p": (854, 480), "360p": (640, 360), "240p": (426, 240)}
    assert sizes(replace(HD, width=1280, height=719)) == {"480p": (854, 480), "360p": (640, 360), "240p": (428, 240)}
    assert by_name(FULL, HD)["2160p"].reason == "larger than the source (1920x1080)"


def test_what_is_like_the_source_is_copied_unless_asked() -> None:
    assert [name for name, each in by_name(FULL, HD).items() if each.copied] == ["1080p", "audio"]
    again = Ladder((Rung("1080p", 1080, reencode=True), Rung("audio", 0, reencode=True)))
    assert not any(each.copied for each in fit(again, HD))


@pytest.mark.parametrize("codec", [Codec.H264, Codec.HEVC, Codec.AV1])
def test_what_is_told_beforehand_is_what_a_usual_source_gets(codec: Codec) -> None:
    rungs = tuple(Rung(f"{height}p", height, codec=codec, reencode=True) for height in (2160, 1440, 1080, 720, 480, 360, 240))
    for fitted in fit(Ladder(rungs), replace(HD, width=3840, height=2160)):
        assert fitted.bitrate == usual_bitrate(codec, fitted.rung.height), fitted
    (sound,) = fit(Ladder((Rung("audio", 0),)), replace(HD, audio=Codec.OPUS))
    assert sound.bitrate == usual_bitrate(codec, 0)


def test_sound_alone_of_a_bit_rate_is_encoded_at_it() -> None:
    assert fit(Ladder((Rung("audio", 0),)), HD)[0].copied
    (asked,) = fit(Ladder((Rung("audio", 0, bitrate=64_000),)), HD)
    assert (asked.copied, asked.bitrate, asked.reason) == (False, 64_000, "")


@pytest.mark.parametrize(
    ("rung", "source"),
    [
        (Rung("a", 1080, codec=Codec.HEVC), HD),
        (Rung("a", 1080, frame_rate=25.0), HD),
        (Rung("a", 1080, frame_rate=25.0), replace(HD, frame_rate=0.0)),
        (Rung("a", 1080), replace(HD, interlaced=True)),
        (Rung("a", 1080), replace(HD, rotation=180)),
        (Rung("a", 1080), replace(HD, codec=Codec.HEVC)),
    ],
)
def test_what_differs_in_anything_is_encoded(rung: Rung, source: Source) -> None:
    (fitted,) = fit(Ladder((rung,)), source)
    assert fitted.encoded


def test_keyframes_of_their_own_cannot_be_had_by_copying() -> None:
    (fitted,) = fit(Ladder((Rung("a", 1080),), keyframe_interval=2.0), HD)
    assert fitted.encoded


def test_a_cap_that_the_source_keeps_changes_nothing() -> None:
    (fitted,) = fit(Ladder((Rung("a", 1080, frame_rate=30.0),)), replace(HD, frame_rate=30.02))
    assert fitted.copied


@pytest.mark.parametrize("rotation", [90, 270])
def test_a_rotated_picture_stands_upright(rotation: int) -> None:
    assert sizes(replace(HD, rotation=rotation))["720p"] == (720, 1280)
    assert sizes(Source(Codec.H264, 1080, 1920))["720p"] == (720, 1280)


def test_pixels_become_square() -> None:
    assert sizes(Source(Codec.H264, 720, 576, pixel_aspect=(64, 45), interlaced=True))["480p"] == (854, 480)


@pytest.mark.parametrize("height", range(2, 1081, 37))
@pytest.mark.parametrize("source", [HD, replace(HD, width=853, height=1079), replace(HD, width=1919, height=803)])
def test_sides_are_even_and_the_aspect_stays(height: int, source: Source) -> None:
    (fitted,) = fit(Ladder((Rung("a", height, reencode=True),)), source)
    if fitted.reason:
        assert height > min(source.width, source.height)
        return
    assert fitted.width % 2 == fitted.height % 2 == 0
    assert fitted.width <= source.width
    assert fitted.height <= source.height
    assert abs(fitted.width * source.height - fitted.height * source.width) <= 1.01 * max(source.width, source.height) * 2


def test_the_largest_comes_first_and_sound_last_each_name_once() -> None:
    ladder = Ladder((Rung("audio", 0), Rung("a", 240), Rung("b", 720), Rung("a", 480)))
    assert [(each.rung.name, each.rung.height) for each in fit(ladder, HD)] == [("b", 720), ("a", 240), ("audio", 0)]


def test_bitrates_suit_sizes_codecs_and_rates() -> None:
    rates = [
        by_name(FULL, replace(HD, width=3840, height=2161))[name].bitrate for name in ("2160p", "1080p", "720p", "480p", "240p")
    ]
    assert rates == sorted(rates, reverse=True)
    assert rates[2] == 2_800_000
    assert 4_500_000 < suitable_bitrate(Codec.H264, 1920, 1080, 30) < 6_000_000
    assert suitable_bitrate(Codec.HEVC, 1920, 1080, 30) < suitable_bitrate(Codec.H264, 1920, 1080, 30)
    assert suitable_bitrate(Codec.H264, 1920, 1080, 60) > suitable_bitrate(Codec.H264, 1920, 1080, 30)
    (own,) = fit(Ladder((Rung("a", 720, bitrate=123_456),)), HD)
    assert own.bitrate == 123_456


def test_what_is_not_there_is_told() -> None:
    assert by_name(FULL, Source(None, audio=Codec.OPUS))["720p"].reason == "the source has no pictures"
    assert not by_name(FULL, Source(None, audio=Codec.OPUS))["audio"].copied
    assert by_name(FULL, replace(HD, audio=None))["audio"].reason == "the source has no sound"
    (vp9,) = fit(Ladder((Rung("a", 720, codec=Codec.VP9),)), HD)
    assert vp9.reason == "vp9 is not encoded here"


def test_the_configuration_names_rungs() -> None:
    assert named([]) is None
    ladder = named(["720p", "audio"])
    assert ladder is not None
    assert [(rung.name, rung.height) for rung in ladder.rungs] == [("720p", 720), ("audio", 0)]


@pytest.mark.parametrize(
    "what",
    [
        {"name": "a/b"},
        {"name": ".."},
        {"name": ""},
        {"name": "a@b"},
        {"height": -2},
        {"height": 10_000},
        {"bitrate": -1},
        {"bitrate": 1 << 40},
        {"frame_rate": float("nan")},
        {"frame_rate": float("inf")},
    ],
)
def test_what_no_rung_can_be_is_refused_at_once(what: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="rung"):
        Rung(**{"name": "a", "height": 720, **what})


def test_a_ladder_has_an_end_and_its_keyframes_a_place() -> None:
    with pytest.raises(ValueError, match="33 rungs"):
        Ladder(tuple(Rung(f"r{number}", 720) for number in range(33)))
    for interval in (-1.0, 61.0, float("nan")):
        with pytest.raises(ValueError, match="out of bounds"):
            Ladder((), keyframe_interval=interval)


def test_sound_that_is_not_made_here_is_not_promised() -> None:
    with pytest.raises(ValueError, match="mp3 is not made here"):
        Ladder((Rung("240p", 240),), audio_codec=Codec.MP3)
