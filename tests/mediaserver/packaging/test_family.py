"""A stream and its renditions side by side: one list of all, segments cut and numbered alike."""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from posixpath import normpath
from types import SimpleNamespace
from urllib.parse import urljoin

import m3u8  # type: ignore[import-untyped]
import pytest
from mpegdash.parser import MPEGDASHParser  # type: ignore[import-untyped]

from mediaserver.hub import hub
from mediaserver.hub.session import Session
from mediaserver.packaging import dash, hls
from mediaserver.packaging.answer import Gone, Missing, Ready, Wait
from mediaserver.packaging.family import Folder, Place
from mediaserver.packaging.segment import Segment
from mediaserver.ports import PublishGrant, Wire
from protocols.media import MediaKind, Packet, Track
from tests.media import Clips
from tests.mediaserver.packaging.ladder import SIZES, Items, Town, a_ladder, first_shown, rung_clips, source_clip
from tests.mediaserver.packaging.material import decode, only, shifted
from tests.mpd import addresses, starts

VIDEO, AUDIO = MediaKind.VIDEO, MediaKind.AUDIO


@pytest.fixture(scope="module")
def source(clips: Clips) -> Items:
    """Four seconds, with B-frames, a keyframe every second."""
    return source_clip(clips)


@pytest.fixture(scope="module")
def rungs(clips: Clips) -> dict[str, Items]:
    return rung_clips(clips)


def packets(items: Items) -> Items:
    return [item for item in items if isinstance(item, Packet)]


def until(items: Items, end: int) -> Items:
    """The last of it a picture: sound that comes later is left out."""
    last = max(item.dts for item in only(items, VIDEO) if isinstance(item, Packet) and item.dts <= end)
    return [item for item in items if isinstance(item, Track) or item.dts <= last]


def marked(items: Items) -> Items:
    """The first of each kind behind a break."""
    first = {id(next(item for item in packets(items) if item.kind is kind)) for kind in MediaKind}
    return [replace(item, discontinuity=True) if isinstance(item, Packet) and id(item) in first else item for item in items]


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is away for any time: the hub's clock stands still."""
    monkeypatch.setattr(hub, "time", SimpleNamespace(time=time.time, monotonic=lambda: 1000.0))


@pytest.fixture
def town(source: Items, rungs: dict[str, Items]) -> Town:
    town = Town(ladder=a_ladder(*SIZES))
    play_eight_seconds(town, source, rungs)
    return town


def play_eight_seconds(town: Town, source: Items, rungs: dict[str, Items], each: Callable[[], object] | None = None) -> None:
    """Of all; the renditions come a little late, each in its own way."""
    feeds = [town.source(source + packets(shifted(source, 4000)))]
    for number, (name, items) in enumerate(rungs.items()):
        feeds.append(town.rung(name, items + packets(shifted(items, 4000)), 130.0 + 90 * number))
    town.subject.start("show", 0.0)
    town.play(*feeds, each=each)


def segments(town: Town, rung: str, kind: MediaKind = VIDEO) -> dict[int, Segment]:
    family = town.subject._entries["show"].family
    each = family.of(rung)
    assert each is not None
    return {segment.sequence: segment for segment in each.renditions[kind].window.segments}


def listed(text: str) -> Iterator[tuple[int, float, float, int]]:
    """Number, wall clock, duration, parts of each whole segment of a playlist."""
    playlist = m3u8.loads(text)
    for number, segment in enumerate(playlist.segments, playlist.media_sequence):
        if segment.uri and not segment.gap_tag:
            yield number, segment.current_program_date_time.timestamp(), segment.duration, len(segment.parts)


def test_one_list_carries_all_rungs(town: Town) -> None:
    multivariant = m3u8.loads(town.text("index.m3u8"))
    found = {variant.uri: variant.stream_info for variant in multivariant.playlists}
    assert {uri: info.resolution for uri, info in found.items()} == {
        "video.m3u8": (640, 384),
        "192p/video.m3u8": (320, 192),
        "96p/video.m3u8": (160, 96),
    }
    for info in found.values():
        assert re.fullmatch(r"avc1\.[0-9a-f]{6},mp4a\.40\.2", info.codecs)
        assert info.frame_rate == 25.0
        assert info.audio == "audio"
        assert info.bandwidth > info.average_bandwidth > 0
    bandwidths = [info.bandwidth for info in found.values()]
    assert bandwidths == sorted(bandwidths, reverse=True)
    (sound,) = multivariant.media
    assert (sound.type, sound.group_id, sound.uri) == ("AUDIO", "audio", "audio.m3u8")


@pytest.mark.parametrize("name", ["show", "show@96p"])
def test_a_session_token_is_passed_on_to_every_playlist_and_to_nothing_else(town: Town, name: str) -> None:
    token = "a-token_0123456789"
    bare = town.text("index.m3u8", name)
    passed = town.text("index.m3u8", name, session=token)
    assert passed == bare.replace(".m3u8", f".m3u8?session={token}")
    assert passed != bare == town.text("index.m3u8", name)
    for uri in [each.uri for each in (*m3u8.loads(passed).playlists, *m3u8.loads(passed).media)]:
        at = urljoin(f"/live/{name}/", uri.partition("?")[0]).removeprefix("/live/").split("/", 1)
        assert "session" not in town.text(at[1], at[0], session=token)
    assert "session" not in town.text("manifest.mpd", name, session=token)
    for bad in ("short", "x" * 65, 'a"quote"and\nline', "token with blanks"):
        assert town.text("index.m3u8", name, session=bad) == bare


@pytest.mark.parametrize("asked_first", [True, False])
def test_a_picture_that_is_passed_through_is_named_once_and_is_found_under_both_names(
    asked_first: bool, source: Items, rungs: dict[str, Items]
) -> None:
    town = Town()
    if asked_first:
        town.subject.start("show", 0.0)
    town.pass_through("384p")
    town.play(town.source(source), town.rung("96p", rungs["96p"], 100.0), until=3700)
    town.subject.start("show", 0.0)
    town.subject.sweep(0.0)
    town.play(town.source(packets(shifted(source, 4000))), town.rung("96p", packets(shifted(rungs["96p"], 4000)), 100.0))
    uris = [variant.uri for variant in m3u8.loads(town.text("index.m3u8")).playlists]
    assert uris == ["video.m3u8", "96p/video.m3u8"]
    assert representations(town.text("manifest.mpd")) == ["video", "video-96p", "audio"]
    assert "384p" not in town.text("video.m3u8") + town.text("96p/video.m3u8")
    # It is there all the same.
    (own,) = m3u8.loads(town.text("index.m3u8", "show@384p")).playlists
    assert (own.uri, own.stream_info.resolution) == ("video.m3u8", (640, 384))
    assert representations(town.text("manifest.mpd", "show@384p")) == ["video-384p", "audio"]
    for found in (town.text("video.m3u8", "show@384p"), town.text("384p/video.m3u8")):
        numbers = [entry[0] for entry in listed(found)]
        assert numbers == [entry[0] for entry in listed(town.text("video.m3u8"))][-len(numbers) :]
        assert len(numbers) > 2
    assert town.get(f"384p/video/{numbers[-1]}.m4s")


def test_a_rung_that_comes_to_be_passed_through_stays_where_players_know_it(source: Items, rungs: dict[str, Items]) -> None:
    town = Town()
    town.subject.start("show", 0.0)
    town.play(town.source(source), town.rung("96p", until(rungs["96p"], 3960), 100.0), each=lambda: town.subject.sweep(0.0))
    town.pass_through("96p")
    town.play(town.source(packets(shifted(source, 4000))), each=lambda: town.subject.sweep(0.0))
    assert len(m3u8.loads(town.text("index.m3u8")).playlists) == 2
    assert representations(town.text("manifest.mpd")) == ["video", "video-96p", "audio"]


def test_what_was_told_of_a_passed_through_rung_too_soon_is_told_anew(source: Items) -> None:
    """Whoever waits for the stream asks the moment that it has something new, before the rung has it."""
    town = Town()
    town.subject.start("show", 0.0)
    town.pass_through("384p")
    town.play(town.source(source), each=lambda: town.subject.sweep(0.0))
    family = town.subject._entries["show"].family
    signal = family.leader.renditions[VIDEO].window.signal
    differed = 0

    def ask() -> None:
        signal.add(ask)
        town.text("manifest.mpd", "show@384p")

    def compare() -> None:
        nonlocal differed
        told = town.text("manifest.mpd", "show@384p"), dash.mpd(family, town.wall.at, Place(Folder.OWN, "384p"))
        bare = {re.sub('publishTime=".+?"', "", text) for text in told}
        differed += len(bare) > 1

    ask()
    town.play(town.source(packets(shifted(source, 4000))), each=compare)
    assert differed == 0


def representations(mpd: str) -> list[str]:
    """The ids of those in the last Period."""
    sets = MPEGDASHParser.parse(mpd).periods[-1].adaptation_sets
    return [each.id for one in sets for each in one.representations]


def test_bandwidth_is_what_the_segments_have(town: Town) -> None:
    for variant in m3u8.loads(town.text("index.m3u8")).playlists:
        folder = variant.uri.removesuffix("video.m3u8")
        rates = [
            8 * len(town.get(f"{folder}video/{number}.m4s")) / seconds for number, _, seconds, _ in listed(town.text(variant.uri))
        ]
        sound = [8 * len(town.get(f"audio/{number}.m4s")) / seconds for number, _, seconds, _ in listed(town.text("audio.m3u8"))]
        assert variant.stream_info.bandwidth >= max(rates) + max(sound)
        assert variant.stream_info.bandwidth < 1.25 * (max(rates) + max(sound))
        average = sum(rates) / len(rates) + sum(sound) / len(sound)
        assert variant.stream_info.average_bandwidth == pytest.approx(average, rel=0.1)


def test_bandwidth_is_reckoned_anew_with_every_segment(town: Town, clips: Clips) -> None:
    window = town.subject._entries["show"].family.leader.renditions[VIDEO].window
    seen = set()

    def look() -> None:
        told = hls.bit_rates(window)
        window.measured = None
        assert hls.bit_rates(window) == told
        seen.add(told)

    town.play(town.source(shifted(source_clip(clips, frame_rate=8, b_frames=0), 8000)), each=look)
    assert len(seen) > 1


async def test_what_ends_with_its_first_picture_is_no_peak(source: Items, still: None) -> None:
    """A keyframe alone has many times the rate of its stream."""
    town = Town()
    town.subject.start("show", 0.0)
    town.play(town.source(until(source, 2050)))
    town.publisher.close("gone for a moment")
    town.publisher = town.hub.publish(PublishGrant("show"), Session(Wire.RTMP, "again"), lambda _: None)
    town.play(town.source(shifted(source, 10_000)))
    whole = [segment for segment in segments(town, "").values() if segment.complete]
    rates = [8 * segment.nbytes / segment.seconds for segment in whole]
    short = min(whole, key=lambda segment: segment.seconds)
    assert short.seconds < 0.2
    told, _ = hls.bit_rates(town.subject._entries["show"].family.leader.renditions[VIDEO].window)
    assert max(rates) == 8 * short.nbytes / short.seconds > 2 * told
    assert told >= max(rate for rate in rates if rate != max(rates))
    assert f'bandwidth="{told}"' in town.text("manifest.mpd")
    assert hls._peak([short], 2) == 0.0
    # It counts with its neighbours, but not across what is missing.
    before = next(segment for segment in whole if segment.sequence == short.sequence - 1)
    together = 8 * (before.nbytes + short.nbytes) / (before.seconds + short.seconds)
    assert hls._peak([before, short], 2) == together
    assert hls._peak([before, replace(short, sequence=short.sequence + 1)], 2) == 8 * before.nbytes / before.seconds < together


def test_segments_have_the_same_numbers_edges_and_parts(town: Town) -> None:
    whole = {number: segment for number, segment in segments(town, "").items() if segment.complete}
    assert len(whole) >= 7
    for rung in SIZES:
        own = {number: segment for number, segment in segments(town, rung).items() if segment.complete}
        assert set(own) == set(whole)
        for number, segment in own.items():
            like = whole[number]
            assert (segment.time, segment.duration, segment.epoch) == (like.time, like.duration, like.epoch)
            assert [part.duration for part in segment.parts] == [part.duration for part in like.parts]
            assert segment.independent


def test_playlists_agree(town: Town) -> None:
    texts = [town.text(uri) for uri in ("video.m3u8", "192p/video.m3u8", "96p/video.m3u8")]
    source, *others = [list(listed(text)) for text in texts]
    for other in others:
        assert [entry[:3] for entry in other] == [entry[:3] for entry in source]
    for tag in ("TARGETDURATION", "MEDIA-SEQUENCE", "DISCONTINUITY-SEQUENCE", "PART-INF:PART-TARGET"):
        (values,) = {tuple(re.findall(f"#EXT-X-{tag}[:=](.+)", text)) for text in texts}
        assert values


def test_players_stay_as_far_from_the_end_that_any_rendition_can_follow(town: Town) -> None:
    def hold_back(uri: str) -> float:
        return float(m3u8.loads(town.text(uri)).server_control.part_hold_back)

    # One is 130 ms late and the other 220, and what a part lasts comes on top: as many whole parts are added.
    least = 3 * m3u8.loads(town.text("video.m3u8")).part_inf.part_target
    assert hold_back("96p/video.m3u8") == pytest.approx(least)
    assert hold_back("video.m3u8") == hold_back("audio.m3u8") == pytest.approx(least * 5 / 3)
    assert least < hold_back("192p/video.m3u8") < hold_back("video.m3u8")
    assert hold_back_alone(town) == pytest.approx(least)


def hold_back_alone(town: Town) -> float:
    """Of a player who can go nowhere else."""
    return float(m3u8.loads(town.text("video.m3u8", "show@96p")).server_control.part_hold_back)


def test_each_playlist_reports_the_others_as_they_are(town: Town) -> None:
    uris = ["video.m3u8", "192p/video.m3u8", "96p/video.m3u8", "audio.m3u8"]
    for uri in uris:
        reports = {normpath(urljoin(f"/{uri}", report.uri)): report for report in m3u8.loads(town.text(uri)).rendition_reports}
        assert set(reports) == {f"/{other}" for other in uris if other != uri}
        for address, report in reports.items():
            other = m3u8.loads(town.text(address[1:]))
            assert (report.last_msn, report.last_part) == last_part(town.text(address[1:]))
            assert other.media_sequence < report.last_msn


def test_what_hls_js_makes_of_a_report_need_not_be_waited_for(source: Items, rungs: dict[str, Items]) -> None:
    town = Town(ladder=a_ladder(*SIZES))
    # From where to whom it changed while that one had but the first part of a segment.
    changed = set()
    looked_at = dict[str, str]()

    def change() -> None:
        if town.time < 3000:
            return
        texts = {uri: town.text(uri) for uri in ("video.m3u8", "192p/video.m3u8", "96p/video.m3u8")}
        if texts == looked_at:
            return  # to take them apart is what costs time
        looked_at.update(texts)
        for uri, text in texts.items():
            for report in m3u8.loads(text).rendition_reports:
                other = normpath(urljoin(f"/{uri}", report.uri))[1:]
                if other in texts:
                    # It takes 0 for nothing, and for nothing the last part of the list that it has.
                    asked = (report.last_msn, report.last_part or last_part(text)[1])
                    assert asked <= last_part(texts[other]), (uri, other)
                    changed.update([(uri, other)] if last_part(texts[other])[1] == 0 else [])

    play_eight_seconds(town, source, rungs, each=change)
    assert len(changed) == 6


def last_part(text: str) -> tuple[int, int]:
    """Its segment's number and its own, in a playlist."""
    number, part = re.findall(r"(\d+)\.(\d+)\.m4s", text.split("PRELOAD-HINT", maxsplit=1)[0])[-1]
    return int(number), int(part)


def test_pictures_of_all_renditions_are_shown_at_the_same_times(town: Town) -> None:
    shown = []
    for rung in ("", *SIZES):
        own = segments(town, rung)
        init = next(iter(own.values())).init
        decoded = decode(init.answer.body + b"".join(segment.body for segment in own.values() if segment.complete))
        shown.append([round(time, 3) for time in sorted(decoded.pts)])
        assert decoded.frames >= 170
    assert shown[1:] == [shown[0]] * len(SIZES)


def test_a_rendition_plays_on_its_own(town: Town) -> None:
    (variant,) = m3u8.loads(town.text("index.m3u8", "show@96p")).playlists
    assert (variant.uri, variant.stream_info.resolution) == ("video.m3u8", (160, 96))
    (sound,) = m3u8.loads(town.text("index.m3u8", "show@96p")).media
    assert sound.uri == "../show/audio.m3u8"
    own = town.text("video.m3u8", "show@96p")
    assert [re.sub("URI=.*", "", line) for line in own.splitlines() if "REPORT" not in line] == [
        re.sub("URI=.*", "", line) for line in town.text("96p/video.m3u8").splitlines() if "REPORT" not in line
    ]
    assert [report.uri for report in m3u8.loads(own).rendition_reports] == ["../show/audio.m3u8"]
    number = next(listed(own))[0]
    assert town.get(f"video/{number}.m4s", "show@96p") == town.get(f"96p/video/{number}.m4s")


def test_the_mpd_has_one_adaptation_set_of_pictures(town: Town) -> None:
    (period,) = MPEGDASHParser.parse(town.text("manifest.mpd")).periods
    pictures, sound = period.adaptation_sets
    assert [(each.id, each.width, each.height, each.frame_rate) for each in pictures.representations] == [
        ("video", 640, 384, "25"),
        ("video-192p", 320, 192, "25"),
        ("video-96p", 160, 96, "25"),
    ]
    assert [each.id for each in sound.representations] == ["audio"]
    templates = [each.segment_templates[0] for each in pictures.representations]
    assert len({starts(template)[0] for template in templates}) == 1
    for template in templates:
        assert town.get(template.initialization)
        number = next(listed(town.text(template.initialization.partition("/init-")[0] + ".m3u8")))[0]
        folder = template.media.rpartition("/")[0]
        assert town.get(addresses(template)[0]) is town.get(f"{folder}/{number}.m4s")
    own = MPEGDASHParser.parse(town.text("manifest.mpd", "show@96p")).periods[0].adaptation_sets
    assert [each.representations[0].segment_templates[0].initialization.split("init")[0] for each in own] == [
        "video/",
        "../show/audio/",
    ]


@pytest.mark.parametrize("delay", [-60.0, 0.0, 40.0, 900.0])
def test_a_rendition_may_come_before_its_stream_or_long_after(source: Items, rungs: dict[str, Items], delay: float) -> None:
    town = Town(ladder=a_ladder("96p"))
    town.subject.start("show", 0.0)
    town.rendition("96p")
    town.subject.sweep(0.0)
    town.play(town.rung("96p", rungs["96p"], delay), town.source(source))
    own, whole = segments(town, "96p"), segments(town, "")
    assert len(own) == len(whole) == 4
    assert all(own[number].time == whole[number].time for number in own)
    assert sum(segment.complete for segment in own.values()) == 3


def test_a_rendition_that_begins_later_joins_at_the_numbers_of_its_stream(source: Items, rungs: dict[str, Items]) -> None:
    town = Town()
    town.subject.start("show", 0.0)
    feed = town.source(source)
    town.play(feed, until=1700)
    assert len(m3u8.loads(town.text("index.m3u8")).playlists) == 1
    late = town.rung("96p", rungs["96p"], 200.0)
    # It was begun in mid-stream: what it has begins with the keyframe at one second.
    late.queue = [entry for entry in late.queue if isinstance(entry[1], Track) or entry[1].dts >= 1000]
    town.play(feed, late, until=2000)
    town.subject.sweep(2.0)
    town.play(feed, late)
    whole, own = segments(town, ""), segments(town, "96p")
    assert list(own) == list(whole)[1:]
    assert all(own[number].time == whole[number].time for number in own)
    assert len(m3u8.loads(town.text("index.m3u8")).playlists) == 2


def test_who_comes_between_two_keyframes_of_the_source_finds_all_rungs_at_once(clips: Clips) -> None:
    """Rungs have more keyframes than it has; players read the list once."""
    town = Town(ladder=a_ladder(*SIZES))
    town.stream.since = town.wall.at - 60.0  # it has been live for a while: nothing is awaited
    source = source_clip(clips, gop=100)
    feeds = [town.source(source + packets(shifted(source, 4000)))]
    for number, (name, items) in enumerate(rung_clips(clips).items()):
        feeds.append(town.rung(name, items + packets(shifted(items, 4000)), 130.0 + 90 * number))
    town.play(*feeds, until=6700)
    assert len(m3u8.loads(town.text("index.m3u8")).playlists) == 1 + len(SIZES)
    # But a player of one starts with its last keyframe.
    assert all(first.dts >= 5000 for first in (next(iter(town.rendition(name).gop)) for name in SIZES))
    town.play(*feeds)
    whole = segments(town, "")
    assert len(whole) == 1
    for name in SIZES:
        own = segments(town, name)
        assert {number: segment.time for number, segment in own.items()} == {n: segment.time for n, segment in whole.items()}


def test_what_a_rendition_lost_is_a_gap_and_its_numbers_stay(source: Items, rungs: dict[str, Items]) -> None:
    town = Town()
    town.subject.start("show", 0.0)
    lossy = [item for item in rungs["96p"] if isinstance(item, Track) or item.kind is AUDIO or not 800 <= item.dts < 3000]
    town.play(
        town.source(source + packets(shifted(source, 4000))),
        town.rung("96p", lossy + packets(shifted(rungs["96p"], 4000)), 100.0),
        each=lambda: town.subject.sweep(0.0),
    )
    whole, own = segments(town, ""), segments(town, "96p")
    numbers = list(own)
    assert numbers == list(whole)
    assert [own[number].gap for number in numbers] == [False, True, True, *[False] * (len(numbers) - 3)]
    assert all(own[number].time == whole[number].time for number in numbers)
    playlist = m3u8.loads(town.text("96p/video.m3u8"))
    assert sum(segment.gap_tag is not None for segment in playlist.segments) == 2
    assert isinstance(town.ask(f"96p/video/{numbers[1]}.m4s"), Gone)
    assert [entry[:3] for entry in listed(town.text("96p/video.m3u8"))] == [
        entry[:3] for entry in listed(town.text("video.m3u8")) if entry[0] not in numbers[1:3]
    ]


def test_a_rendition_given_up_is_gone_and_comes_back_at_the_right_number(
    town: Town, source: Items, rungs: dict[str, Items]
) -> None:
    before = m3u8.loads(town.text("192p/video.m3u8"))
    known = before.segments[-2].uri
    init = re.findall('MAP:URI="(.+?)"', town.text("192p/video.m3u8"))
    town.hub.remove_rendition(town.rendition("192p"))
    assert isinstance(town.ask("192p/video.m3u8"), Gone)
    assert isinstance(town.ask("index.m3u8", "show@192p"), Gone | Missing)
    # What it had said that there is, there is.
    assert isinstance(town.ask(f"192p/{known}"), Ready)
    assert [variant.uri for variant in m3u8.loads(town.text("index.m3u8")).playlists] == ["video.m3u8", "96p/video.m3u8"]
    assert "192p" not in town.text("video.m3u8") + town.text("manifest.mpd")
    town.play(
        town.source(packets(shifted(source, 8000))),
        town.rung("96p", packets(shifted(rungs["96p"], 8000)), 100.0),
        town.rung("192p", shifted(rungs["192p"], 8000), 150.0),
        each=lambda: town.subject.sweep(0.0),
    )
    after = town.text("192p/video.m3u8")
    assert not set(init) & set(re.findall('MAP:URI="(.+?)"', after))
    whole, own = segments(town, ""), segments(town, "192p")
    assert all(own[number].time == whole[number].time for number in own)
    assert min(own) > before.media_sequence + len(before.segments) - 1
    assert len(m3u8.loads(town.text("index.m3u8")).playlists) == 3


def test_discontinuities_have_the_same_numbers_everywhere(town: Town, source: Items, rungs: dict[str, Items]) -> None:
    for turn in (1, 2):
        begin = 8000 * turn + 20_000
        town.play(
            town.source(packets(shifted(source, begin, discontinuity=True))),
            *(town.rung(name, packets(shifted(items, begin)), 130.0) for name, items in rungs.items()),
        )
    texts = [town.text(uri) for uri in ("video.m3u8", "192p/video.m3u8", "96p/video.m3u8")]
    assert all(text.count("#EXT-X-DISCONTINUITY\n") == 2 for text in texts)
    assert len({tuple(re.findall("DISCONTINUITY-SEQUENCE:(.+)", text)) for text in texts}) == 1
    source_list, *others = [[entry[:2] for entry in listed(text)] for text in texts]
    assert others == [source_list] * 2


@pytest.mark.parametrize("frame_rate", [25, 8])
async def test_a_takeover_costs_renditions_nothing(clips: Clips, still: None, frame_rate: int) -> None:
    """Nobody is away: the newcomer begins before the last picture, which may be a long one, was to be over."""
    source = source_clip(clips, frame_rate=frame_rate, b_frames=0)
    rungs = shown_with(source, rung_clips(clips, frame_rate=frame_rate))
    town = Town(ladder=a_ladder(*SIZES))
    old = [town.rung(name, until(items, 3560), 130.0) for name, items in rungs.items()]
    town.subject.start("show", 0.0)
    town.play(town.source(until(source, 3560)), *old, until=3600)
    assert any(feed.queue for feed in old)
    town.publisher = town.hub.publish(PublishGrant("show"), Session(Wire.RTMP, "test"), lambda _: None)
    new = [town.rung(name, marked(shifted(items, 3600)), 130.0) for name, items in rungs.items()]
    town.play(town.source(shifted(source, 3600)), *old, *new)
    for rung in SIZES:
        whole, own = segments(town, ""), segments(town, rung)
        assert [(number, segment.time) for number, segment in own.items()] == [
            (number, segment.time) for number, segment in whole.items()
        ]
        assert not any(segment.gap for segment in own.values())
        assert [segment.discontinuities for segment in own.values()].count(1) == 1
        assert [segment.frames for segment in own.values()] == [segment.frames for segment in whole.values()]
        assert all(segment.independent for segment in own.values())


@pytest.mark.parametrize("b_frames", [0, 2])
async def test_pictures_that_come_while_the_last_one_is_to_be_seen_are_shown_in_their_order_everywhere(
    clips: Clips, still: None, b_frames: int
) -> None:
    """At a takeover, the last picture to be shown for a second: the newcomer's first ones come within that."""
    town = Town(ladder=a_ladder(*SIZES))
    slow, fast = {"frame_rate": 1, "gop": 1, "b_frames": 0}, {"b_frames": b_frames}
    before, after = source_clip(clips, **slow), source_clip(clips, **fast)
    old = [town.rung(name, until(items, 3000), 130.0) for name, items in shown_with(before, rung_clips(clips, **slow)).items()]
    town.subject.start("show", 0.0)
    town.play(town.source(until(before, 3000)), *old, until=3040)
    town.publisher = town.hub.publish(PublishGrant("show"), Session(Wire.RTMP, "test"), lambda _: None)
    rungs = shown_with(after, rung_clips(clips))
    new = [town.rung(name, marked(shifted(items, 3040)), 130.0) for name, items in rungs.items()]
    town.play(town.source(shifted(after, 3040)), *old, *new)
    everywhere = []
    for rung, sent in {"": after, **rungs}.items():
        last, own = (
            [segment for segment in segments(town, rung).values() if segment.epoch.number == epoch] for epoch in range(2)
        )
        assert (last[-1].frames, last[-1].seconds) == (1, pytest.approx(1, abs=0.001))
        shown = decode(own[0].init.answer.body + b"".join(segment.body for segment in own)).pts
        due = [item.pts for item in only(sent, VIDEO) if isinstance(item, Packet)][: len(shown)]
        assert len(shown) > 75
        assert rank(shown) == rank(due)
        assert shown[0] == min(shown) == pytest.approx(own[0].time / 90_000)
        everywhere.append(sorted(shown)[:75])
        # Those that are due behind it are not put off.
        late = [at - first / 1000 for at, first in zip(sorted(shown), sorted(due), strict=True)]
        assert late[26:] == pytest.approx([late[-1]] * len(late[26:]), abs=0.001)
        assert late[0] - late[-1] > 0.8
    for own in everywhere[1:]:
        assert own == pytest.approx(everywhere[0], abs=0.0001)


def shown_with(source: Items, rungs: dict[str, Items]) -> dict[str, Items]:
    """The rungs' pictures shown when the source's are."""
    return {name: shifted(items, first_shown(source) - first_shown(items)) for name, items in rungs.items()}


def rank(times: list[float] | list[int]) -> list[int]:
    return sorted(range(len(times)), key=times.__getitem__)


async def test_all_end_with_their_stream(town: Town) -> None:
    town.hub.end("show", "over")
    # The grace period is over at once for a stream that is ended.
    assert town.hub.find("show@96p") is None
    for uri in ("video.m3u8", "96p/video.m3u8", "192p/video.m3u8", "audio.m3u8"):
        assert m3u8.loads(town.text(uri)).is_endlist
    assert m3u8.loads(town.text("video.m3u8", "show@96p")).is_endlist
    assert len(m3u8.loads(town.text("index.m3u8")).playlists) == 3


async def test_after_a_pause_all_go_on_together(town: Town, source: Items, rungs: dict[str, Items]) -> None:
    town.publisher.close("gone for a moment")
    for second in range(3):
        town.subject.sweep(float(second))
    assert all(segment.complete for rung in ("", *SIZES) for segment in segments(town, rung).values())


async def test_a_publisher_that_comes_back_between_keyframes_is_one_break(clips: Clips, still: None) -> None:
    """Its sound goes on at once; the last picture stands in until there is one that can be decoded."""
    town = Town()
    town.subject.start("show", 0.0)
    town.play(town.source(source_clip(clips)))
    town.publisher.close("gone for a moment")
    town.publisher = town.hub.publish(PublishGrant("show"), Session(Wire.RTMP, "again"), lambda _: None)
    once = source_clip(clips, gop=100)
    (keyframe,) = (item for item in only(once, VIDEO) if isinstance(item, Packet) and item.keyframe)
    headless = [item for item in once if item is not keyframe]
    town.play(town.source(shifted(headless, 10_000) + packets(shifted(once, 14_000))))
    assert town.stream.discontinuities == 2  # of sound and of pictures
    assert town.text("video.m3u8").count("#EXT-X-DISCONTINUITY\n") == 1
    assert town.text("audio.m3u8").count("#EXT-X-DISCONTINUITY\n") == 1


async def test_who_comes_in_place_of_one_whose_picture_stood_still_loses_none_of_his_own(clips: Clips) -> None:
    town = Town()
    town.subject.start("show", 0.0)
    source = source_clip(clips)
    town.play(town.source(source + only(packets(shifted(source, 4000)), AUDIO)))
    town.stream.timeline.resume(40)
    town.stream.begin()
    other = packets(shifted(source, 90_000))
    before = sum(segment.frames for segment in segments(town, "").values())
    town.play(town.source([only(other, VIDEO)[0], *other[other.index(only(other, AUDIO)[0]) :]]))
    assert sum(segment.frames for segment in segments(town, "").values()) - before > 90
    assert town.text("video.m3u8").count("#EXT-X-DISCONTINUITY\n") == 1


async def test_nobody_is_woken_for_nothing_while_the_publisher_is_away(town: Town) -> None:
    town.publisher.close("gone for a while")
    for second in range(3):
        town.subject.sweep(float(second))
    waits = town.ask("96p/video.m3u8", _HLS_msn=max(segments(town, "96p")) + 1)
    assert isinstance(waits, Wait)
    woken: list[None] = []
    waits.signal.add(lambda: woken.append(None))
    for second in range(3, 6):
        town.subject.sweep(float(second))
    assert not woken


def test_questions_about_any_rendition_keep_all(source: Items, rungs: dict[str, Items]) -> None:
    town = Town()
    feeds = [town.source(source), town.rung("96p", rungs["96p"], 100.0)]
    town.play(*feeds, until=2500)
    assert len(town.subject) == 0
    assert isinstance(town.ask("video.m3u8", "show@96p"), Ready)
    town.subject.sweep(town.wall.at + 29.0)
    assert len(town.subject) == 1
    town.subject.sweep(town.wall.at + 31.0)
    assert len(town.subject) == 0


def test_the_list_waits_for_renditions_that_are_to_come(source: Items, rungs: dict[str, Items]) -> None:
    town = Town(ladder=a_ladder(*SIZES))
    town.subject.start("show", 0.0)
    feed = town.source(source)
    town.play(feed, until=900)
    assert not isinstance(town.ask("index.m3u8"), Ready)
    assert isinstance(town.ask("video.m3u8"), Ready)
    first = town.rung("192p", rungs["192p"], 700.0)
    town.play(feed, first, until=1200)
    assert not isinstance(town.ask("index.m3u8"), Ready)
    second = town.rung("96p", rungs["96p"], 1100.0)
    town.play(feed, first, second, until=1500, each=lambda: town.ask("index.m3u8"))
    assert not isinstance(town.ask("index.m3u8"), Ready)
    town.play(feed, first, second, until=2300)
    assert len(m3u8.loads(town.text("index.m3u8")).playlists) == 3


def test_a_ladder_that_never_comes_is_not_waited_for_long(source: Items) -> None:
    town = Town(ladder=a_ladder("96p"))
    town.subject.start("show", 0.0)
    town.play(town.source(source + packets(shifted(source, 4000))))
    assert len(m3u8.loads(town.text("index.m3u8")).playlists) == 1


def test_sound_that_not_all_can_play_is_replaced_by_a_renditions(clips: Clips, rungs: dict[str, Items]) -> None:
    town = Town()
    town.subject.start("show", 0.0)
    opus = source_clip(clips, audio="opus")
    town.rendition("192p"), town.rendition("96p")
    town.subject.sweep(0.0)
    town.play(town.source(opus), *(town.rung(name, items, 120.0) for name, items in rungs.items()))
    multivariant = m3u8.loads(town.text("index.m3u8"))
    assert [sound.uri for sound in multivariant.media] == ["96p/audio.m3u8"]
    assert all(variant.stream_info.codecs.endswith(",mp4a.40.2") for variant in multivariant.playlists)
    whole, sound = segments(town, ""), segments(town, "96p", AUDIO)
    assert list(sound) == list(whole)
    assert all(abs(sound[number].time / 48_000 - whole[number].time / 90_000) < 0.03 for number in list(sound)[1:])
    assert decode(town.get(f"96p/{_map(town)}") + b"".join(town.get(f"96p/audio/{n}.m4s") for n in list(sound)[:-1])).frames > 130


def _map(town: Town) -> str:
    return str(re.findall('MAP:URI="(.+?)"', town.text("96p/audio.m3u8"))[-1])


def test_a_rung_of_sound_alone_is_a_variant_without_a_picture(source: Items) -> None:
    town = Town(ladder=a_ladder("audio"))
    town.subject.start("show", 0.0)
    town.rendition("audio")
    town.subject.sweep(0.0)
    town.play(town.source(source), town.rung("audio", only(source, AUDIO), 50.0))
    variants = m3u8.loads(town.text("index.m3u8")).playlists
    assert [(variant.uri, variant.stream_info.codecs) for variant in variants][1:] == [("audio/audio.m3u8", "mp4a.40.2")]
    assert variants[1].stream_info.resolution is None
    assert variants[1].stream_info.bandwidth < variants[0].stream_info.bandwidth
    (alone,) = m3u8.loads(town.text("index.m3u8", "show@audio")).playlists
    assert alone.uri == "audio.m3u8"


@pytest.mark.parametrize("resource", ["96p", "96p/", "96p/index.m3u8", "96p/96p/video.m3u8", "no/video.m3u8", "/video.m3u8"])
def test_what_is_nowhere_is_missing(town: Town, resource: str) -> None:
    assert isinstance(town.ask(resource), Missing)
    assert isinstance(town.ask("192p/video.m3u8", "show@96p"), Missing)
    assert isinstance(town.ask("video.m3u8", "show@no"), Missing)
