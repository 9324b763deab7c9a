"""What playlists say about the wall clock, also where a stream that has become late was set right."""

import itertools
import re
from datetime import datetime

import pytest

from mediaserver.packaging import dash
from mediaserver.packaging.epochs import DRIFT, ORIGIN, Epochs
from mediaserver.packaging.packager import Packager
from mediaserver.packaging.segment import BEND, Epoch
from protocols.media import MediaKind, Packet, Track
from tests.media import Clips
from tests.mediaserver.packaging.material import UNIX_TIME, Settings, Wall, family, media_playlist, packager, read_flv, shifted

#: How late (seconds) the stream becomes, after how long.
LATE, AFTER = 3.0, 20.0


@pytest.fixture(scope="module")
def subject(clips: Clips) -> Packager:
    """Two minutes of a stream, most of them late."""
    wall = Wall()
    subject = packager(Settings(dvr=200.0), wall)
    for turn in range(30):
        for item in shifted(read_flv(clips.get()), 4000 * turn):
            if isinstance(item, Track):
                subject.on_track(item)
            else:
                seconds = item.dts / 1000
                wall.at = UNIX_TIME + seconds + (LATE if seconds > AFTER else 0.0)
                subject.on_packet(item)
    return subject


def dated(text: str) -> list[float]:
    return [datetime.fromisoformat(each).timestamp() for each in re.findall("#EXT-X-PROGRAM-DATE-TIME:(.+)", text)]


def test_dates_are_those_of_arrival_in_the_end_and_never_leap(subject: Packager) -> None:
    segments = list(subject.renditions[MediaKind.VIDEO].window.segments)
    behind = [segment.program_time - (UNIX_TIME + segment.time / 90_000 - 10) for segment in segments]
    assert behind[0] == pytest.approx(0, abs=0.1)
    assert behind == sorted(behind)
    assert all(
        after - before <= 1.01 * BEND * segment.seconds
        for segment, before, after in zip(segments, behind, behind[1:], strict=False)
    )
    assert behind[-1] == pytest.approx(LATE, abs=0.1)


def test_a_list_has_one_date_and_pictures_and_sound_have_the_same_clock(subject: Packager) -> None:
    """Players reckon with durations from there: hls.js puts what has the same date side by side."""
    clocks = []
    for kind in MediaKind:
        window = subject.renditions[kind].window
        (date,) = dated(media_playlist(subject, window, delta=False))
        first = window.visible()[0]
        clocks.append(date - first.time / first.init.timescale)
    assert clocks[0] == pytest.approx(clocks[1], abs=0.002)


@pytest.mark.parametrize("kind", list(MediaKind))
def test_a_delta_update_has_the_date_that_the_whole_list_has_there(subject: Packager, kind: MediaKind) -> None:
    window = subject.renditions[kind].window
    (begin,) = dated(media_playlist(subject, window, delta=False))
    delta = media_playlist(subject, window, delta=True)
    (date,) = dated(delta)
    (skipped,) = re.findall("SKIPPED-SEGMENTS=([0-9]+)", delta)
    assert date == pytest.approx(begin + sum(each.seconds for each in window.visible()[: int(skipped)]), abs=0.002)


def test_behind_a_discontinuity_there_is_a_date_again(clips: Clips) -> None:
    wall = Wall()
    subject = packager(wall=wall)
    for begin, pause in ((0, 0.0), (4100, 5.0)):
        for item in shifted(read_flv(clips.get()), begin, discontinuity=begin > 0):
            if isinstance(item, Track):
                subject.on_track(item)
            elif isinstance(item, Packet):
                wall.at = UNIX_TIME + item.dts / 1000 + pause
                subject.on_packet(item)
    text = media_playlist(subject, subject.renditions[MediaKind.VIDEO].window, delta=False)
    first, second = dated(text)
    assert re.search(r"#EXT-X-DISCONTINUITY\n(#EXT-X-MAP.*\n)?#EXT-X-PROGRAM-DATE-TIME", text)
    assert second - first == pytest.approx(9.1, abs=0.2)


def test_dash_begins_a_period_at_once(subject: Packager) -> None:
    """There dates say when a segment can be fetched."""
    starts = [float(each) for each in re.findall(r'<Period id="p[0-9]+" start="PT([0-9.]+)S"', dash.mpd(family(subject), 0.0))]
    epochs = list(
        {segment.epoch.period: segment.epoch for segment in subject.renditions[MediaKind.VIDEO].window.segments}.values()
    )
    assert [epoch.number for epoch in epochs] == [0] * len(starts)
    for (start, epoch), (later, following) in itertools.pairwise(zip(starts, epochs, strict=True)):
        assert epoch.begin is not None
        assert following.begin is not None
        assert later - start == pytest.approx(following.begin - epoch.begin + LATE, abs=0.1)


@pytest.mark.parametrize("back", [0.1, 5.0, 60.0])
def test_dates_do_not_leap_where_the_wall_clock_is_set_back(back: float) -> None:
    wall = Wall()
    subject = Epochs(wall)
    dates: list[float] = []
    for number in range(10_000):
        wall.at = UNIX_TIME + number / 25 - (back if number > 100 else 0.0)
        epoch = subject.at(number * 40)
        dates.append(epoch.date(number / 25 + ORIGIN / 1000))
    assert all(0.04 * (1 - BEND) - 0.001 < two - one < 0.04 * (1 + BEND) + 0.001 for one, two in itertools.pairwise(dates))
    if back > DRIFT:
        # What is more than the clock's own doings is made good in time.
        caught_up = min(back, BEND * 380)
        assert dates[-1] - wall.at == pytest.approx(back - caught_up, abs=1.0)


@pytest.mark.parametrize("way", [1, -1])
def test_a_bend_ends_at_the_anchor(way: int) -> None:
    epoch = Epoch(0, 1, anchor=1000.0 + way, begin=52.0, since=50.0, before=1000.0)
    assert epoch.date(49) == 1049
    assert epoch.date(60) == pytest.approx(1060 + way * 10 * BEND)
    assert epoch.date(50 + 1 / BEND) == pytest.approx(1050 + way + 1 / BEND)
    assert epoch.date(200) == pytest.approx(1200 + way)
