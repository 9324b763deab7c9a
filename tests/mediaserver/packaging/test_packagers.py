"""Questions of players and the answers to them, over a real LiveStream."""

import gc
import gzip
import re
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import accumulate, count
from typing import Any

import m3u8  # type: ignore[import-untyped]
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mpegdash.parser import MPEGDASHParser  # type: ignore[import-untyped]

from mediaserver.delivery.request import MediaRequest, Method
from mediaserver.delivery.response import Cors, respond
from mediaserver.hub.gop import GopCache
from mediaserver.hub.stream import LiveStream, StreamState
from mediaserver.packaging.answer import Answer, Gone, Growing, Missing, Ready, TooFar, Wait
from mediaserver.packaging.numbers import Numbers, first_numbers
from mediaserver.packaging.packaged import LINGER
from mediaserver.packaging.packagers import Packagers
from protocols.media import Codec, MediaKind, Packet, Track
from tests.media import Clips
from tests.mediaserver.packaging.material import (
    UNIX_TIME,
    OneStream,
    Settings,
    Wall,
    decode,
    only,
    packagers,
    read_flv,
    shifted,
)
from tests.mpd import addresses, starts


@pytest.fixture(scope="module")
def clip(clips: Clips) -> list[Track | Packet]:
    return read_flv(clips.get())


class Site:
    """A hub with one stream, its packagers, and both clocks."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.hub = OneStream()
        self.wall = Wall()
        self.subject = packagers(self.hub, settings, self.wall)

    def write(self, items: list[Track | Packet]) -> None:
        self.hub.write(items, self.wall)

    def ask(self, resource: str, query: Mapping[str, str] | None = None, name: str = "test") -> Answer:
        return self.subject.answer(name, resource, query or {}, self.wall.at)

    def get(self, resource: str, **query: object) -> Ready:
        answer = self.ask(resource, {key: str(value) for key, value in query.items()})
        assert isinstance(answer, Ready), answer
        return answer

    def text(self, resource: str, **query: object) -> str:
        return self.get(resource, **query).body.decode()


@pytest.fixture
def site(clip: list[Track | Packet]) -> Site:
    """Packaging from the first packet on, four seconds in."""
    found = Site()
    found.subject.start("test", found.wall.at)
    found.write(clip)
    return found


def test_the_line_about_a_track_that_is_left_out_says_whose_stream_it_is(caplog: pytest.LogCaptureFixture) -> None:
    site = Site()
    assert site.hub.stream is not None
    site.hub.stream.published_by = "an encoder"
    site.subject.start("test", site.wall.at)
    site.write([Track(Codec.H264, b"\x00bogus")])
    (line,) = (record for record in caplog.records if record.message == "track_not_packaged")
    assert vars(line)["facts"].items() >= {"name": "test", "session_id": "an encoder"}.items()


def test_a_player_gets_from_the_first_url_to_frames(site: Site) -> None:
    multivariant = m3u8.loads(site.text("index.m3u8"))
    (variant,) = multivariant.playlists
    assert variant.stream_info.codecs == "avc1.4d400d,mp4a.40.2"
    for uri in (variant.uri, multivariant.media[0].uri):
        playlist = m3u8.loads(site.text(uri))
        segments = [segment for segment in playlist.segments if segment.uri and segment.gap_tag is None]
        init = site.get(segments[0].init_section.uri)
        bodies = [site.get(segment.uri) for segment in segments]
        assert all(ready.immutable and ready.content_type == f"{uri.split('.')[0]}/mp4" for ready in [init, *bodies])
        assert decode(init.body + b"".join(ready.body for ready in bodies)).frames >= 70
        for segment in segments:
            if segment.parts:
                assert b"".join(site.get(part.uri).body for part in segment.parts) == site.get(segment.uri).body
        assert sum(segment.duration for segment in segments) == pytest.approx(3.0, abs=0.1)


def test_the_first_request_is_answered_at_once_from_the_gop_cache(clip: list[Track | Packet]) -> None:
    site = Site()
    site.write(clip)
    assert len(site.subject) == 0
    assert "video.m3u8" in site.text("index.m3u8")
    playlist = m3u8.loads(site.text("video.m3u8"))
    assert playlist.segments[-1].parts[0].independent == "YES"
    init = re.findall('EXT-X-MAP:URI="(.+?)"', site.text("video.m3u8"))[-1]
    assert decode(site.get(init).body + site.get(playlist.segments[-1].parts[0].uri).body).frames > 0


def test_a_young_stream_is_preceded_by_gaps_that_never_come_back(clip: list[Track | Packet]) -> None:
    site = Site()
    site.subject.start("test", 0)
    sequences, gaps = [], []
    for item in [*clip, *(packet for packet in shifted(clip, 4000) if isinstance(packet, Packet))]:
        site.write([item])
        answer = site.ask("video.m3u8")
        if isinstance(answer, Ready):
            playlist = m3u8.loads(answer.body.decode())
            sequences.append(playlist.media_sequence)
            gaps.append(sum(segment.gap_tag is not None for segment in playlist.segments))
            assert sum(1 for segment in playlist.segments if segment.uri) >= 3
    assert sequences == sorted(sequences)
    assert (gaps[0], gaps[-1]) == (3, 0)
    assert gaps == sorted(gaps, reverse=True)


def test_the_first_part_is_playable_within_a_quarter_second_of_its_keyframe(clip: list[Track | Packet]) -> None:
    site = Site()
    answer: Answer = Missing()
    start = None
    for item in clip:
        site.write([item])
        if isinstance(item, Packet):
            start = item.dts if start is None else start
            answer = site.ask("index.m3u8")
            if isinstance(answer, Ready):
                assert item.dts - start < 300
                return
            assert isinstance(answer, Wait | Missing)
    pytest.fail(f"never ready: {answer}")


def test_a_blocked_player_is_woken_once_by_the_part_it_asked_for(site: Site, clip: list[Track | Packet]) -> None:
    packager = site.subject.find("test")
    assert packager is not None
    msn, part = packager.renditions[MediaKind.VIDEO].window.position()
    answer = site.ask("video.m3u8", {"_HLS_msn": str(msn), "_HLS_part": str(part)})
    hinted = site.ask(f"video/{msn}.{part}.m4s")
    assert isinstance(answer, Wait)
    assert isinstance(hinted, Wait)
    fired: list[int] = []
    for index in range(500):
        answer.signal.add(lambda index=index: fired.append(index))  # type: ignore[misc]
    for packet in shifted(clip, 4000):
        if isinstance(packet, Packet) and not fired:
            site.write([packet])
    assert sorted(fired) == list(range(500))
    bodies = {id(site.get("video.m3u8", _HLS_msn=msn, _HLS_part=part)) for _ in range(500)}
    assert len(bodies) == 1
    assert len({id(site.get(f"video/{msn}.{part}.m4s")) for _ in range(500)}) == 1
    assert f'URI="video/{msn}.{part}.m4s"' in site.text("video.m3u8", _HLS_msn=msn, _HLS_part=part)


def test_a_hinted_part_always_comes(clip: list[Track | Packet]) -> None:
    site = Site()
    site.subject.start("test", 0)
    hints: set[str] = set()
    for item in clip:
        site.write([item])
        for resource in ("video.m3u8", "audio.m3u8"):
            answer = site.ask(resource)
            if isinstance(answer, Ready):
                hints.add(m3u8.loads(answer.body.decode()).preload_hint.uri)
    outstanding = [hint for hint in hints if not isinstance(site.ask(hint), Ready)]
    assert len(hints) > 30
    assert all(isinstance(site.ask(hint), Wait) for hint in outstanding)
    assert len(outstanding) == 2


@pytest.mark.parametrize(
    "query",
    [
        {"_HLS_part": "1"},
        {"_HLS_msn": "-1"},
        {"_HLS_msn": "nan"},
        {"_HLS_msn": "9" * 19},
        {"_HLS_msn": "9" * 10_000},
        {"_HLS_msn": "1", "_HLS_part": "-1"},
        {"_HLS_msn": "1", "_HLS_part": "x", "_HLS_skip": "YES"},
    ],
)
def test_absurd_positions_are_too_far(site: Site, query: dict[str, str]) -> None:
    assert isinstance(site.ask("video.m3u8", query), TooFar)


def test_a_skip_that_is_not_offered_or_not_known_is_ignored(site: Site) -> None:
    plain = site.text("video.m3u8")
    assert "CAN-SKIP-UNTIL" not in plain
    assert site.text("video.m3u8", _HLS_skip="YES") == plain
    assert site.text("video.m3u8", _HLS_skip="perhaps") == plain


def test_a_long_playlist_has_delta_updates(clip: list[Track | Packet]) -> None:
    site = Site(Settings(dvr=30.0))
    site.subject.start("test", 0)
    for turn in range(5):
        site.write([item for item in shifted(clip, 4000 * turn) if turn == 0 or isinstance(item, Packet)])
    whole, delta = m3u8.loads(site.text("video.m3u8")), m3u8.loads(site.text("video.m3u8", _HLS_skip="YES"))
    assert whole.server_control.can_skip_until == 6.0
    skipped = delta.skip.skipped_segments
    assert skipped > 10
    assert delta.media_sequence == whole.media_sequence
    assert [s.uri for s in delta.segments] == [s.uri for s in whole.segments[skipped:]]
    assert site.text("video.m3u8", _HLS_skip="v2") == site.text("video.m3u8", _HLS_skip="YES")


@pytest.mark.parametrize(
    "resource",
    [
        "", "nothing", "index.m3u8/", "video", "video/", "video/init-0.m4s", "video/init-99.mp4", "video/1.m4s.m4s",
        "video/-1.m4s",
        "video/1_0.m4s", "video/٣.m4s", "subtitles/1.m4s", "video/../audio/init-1.mp4", "video/99999999999999999999999.m4s",
        "video/9999999999999999999.m4s", "video/1.9999999.m4s", "\x00", "video/init-0.mp4\n", "thumbnail.jpg",
    ],
)  # fmt: skip
def test_what_does_not_exist_is_missing(site: Site, resource: str) -> None:
    assert isinstance(site.ask(resource), Missing)


def test_a_segment_that_has_left_is_gone(site: Site) -> None:
    assert isinstance(site.ask("video/1.m4s"), Gone)
    assert isinstance(site.ask("audio/1.7.m4s"), Gone)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    resource=st.one_of(st.text(max_size=40), st.from_regex(r"(video|audio)/[0-9]{1,25}([.-][0-9]{1,25})?\.m4s", fullmatch=True)),
    query=st.dictionaries(st.sampled_from(["_HLS_msn", "_HLS_part", "_HLS_skip"]), st.text("0123456789-+.eEYSv", max_size=25)),
)
def test_any_question_has_an_answer(site: Site, resource: str, query: dict[str, str]) -> None:
    assert isinstance(site.ask(resource, query), Ready | Wait | Growing | Gone | TooFar | Missing)
    assert isinstance(site.ask("video.m3u8", query), Ready | Wait | TooFar)


def test_a_hundred_thousand_names_leave_nothing_behind(site: Site) -> None:
    for number in range(100_000):
        assert isinstance(site.ask("index.m3u8", name=f"name{number}"), Missing)
    assert len(site.subject) == 1


def test_texts_are_rendered_once_per_change_and_compressed_on_demand(site: Site, clip: list[Track | Packet]) -> None:
    for resource in ("index.m3u8", "video.m3u8", "audio.m3u8"):
        assert site.get(resource) is site.get(resource)
    playlist = site.get("video.m3u8")
    assert gzip.decompress(playlist.gzipped) == playlist.body
    assert playlist.gzipped is playlist.gzipped
    assert site.get("index.m3u8").gzipped == b""
    site.write([item for item in shifted(clip, 4000) if isinstance(item, Packet)])
    assert site.get("video.m3u8") is not playlist


# -- DASH --------------------------------------------------------------------------------------------------------------------


def test_the_mpd_announces_the_same_segments_and_the_one_in_the_making(site: Site) -> None:
    mpd = MPEGDASHParser.parse(site.text("manifest.mpd"))
    listed = {segment.uri for segment in m3u8.loads(site.text("video.m3u8")).segments if segment.uri and not segment.gap_tag}
    template = mpd.periods[0].adaptation_sets[0].representations[0].segment_templates[0]
    urls, times = addresses(template), starts(template)
    # The very same, so that they are sent from the same memory, and kept as long.
    assert {id(site.get(url)) for url in urls[:-2]} == {id(site.get(uri)) for uri in listed}
    assert isinstance(site.ask(urls[-2]), Growing)
    # The next one is waited for: it may never begin.
    assert isinstance(site.ask(urls[-1]), Wait)
    assert isinstance(site.ask(template.media.replace("$Time$", str(times[-1] + 90_000))), Missing)
    assert site.get(template.initialization).body
    assert times == list(range(times[0], times[-1] + 1, 90_000))
    # FFmpeg, which counts from 0 when it reads the list again, would be led astray by where numbers start.
    assert template.start_number is None


def in_groups(clip: list[Track | Packet], lengths: list[int]) -> Iterator[Packet]:
    """The picture, over and over, in groups of so many seconds."""
    begins = set(accumulate(lengths, initial=0))
    picture = [item for item in clip if isinstance(item, Packet) and item.kind is MediaKind.VIDEO]
    for turn in count():
        for packet in picture:
            second = (packet.dts - picture[0].dts) // 1000 + 4 * turn
            if second > max(begins):
                return
            yield replace(packet, dts=packet.dts + 4000 * turn, keyframe=packet.keyframe and second in begins)


def test_a_time_never_comes_to_mean_another_segment(clip: list[Track | Packet]) -> None:
    site = Site(Settings(window=30))
    site.subject.start("test", site.wall.at)
    site.write([item for item in clip if isinstance(item, Track) and item.kind is MediaKind.VIDEO])
    meant: dict[str, int] = {}
    known, wrong = None, set()
    # What is expected of the next one is mostly wrong, and often where another one begins later.
    for packet in in_groups(clip, [3, 3, 1, 1, 1, 4, 1, 1, 2, 1, 1, 1]):
        site.write([packet])
        answer = site.ask("manifest.mpd")
        if answer is known or not isinstance(answer, Ready):
            continue
        known = answer
        template = video_template(answer)
        window = site.subject.find("test").windows[0]  # type: ignore[union-attr]
        for index, address in enumerate(addresses(template)):
            number = window.visible()[0].sequence + index
            assert meant.setdefault(address, number) == number
        segments = window.visible()
        wrong |= {begins for begins, segment in zip(starts(template), segments, strict=False) if begins != segment.time}
    whole = {address: number for address, number in meant.items() if window.get(number) and window.segments[-1].sequence > number}
    assert {id(site.get(address)) for address in whole} == {id(site.get(f"video/{number}.m4s")) for number in whole.values()}
    for address, number in whole.items():
        assert site.get(address) is site.get(f"video/{number}.m4s")
    # Whoever found its time taken had another one, next to it.
    assert wrong
    assert {begins % 90_000 for begins in wrong} <= {1, 2, 3}


def test_times_are_forgotten_with_the_segments_that_they_mean(clip: list[Track | Packet]) -> None:
    site = Site(Settings(window=3))
    site.subject.start("test", site.wall.at)
    site.write([item for item in clip if isinstance(item, Track) and item.kind is MediaKind.VIDEO])
    known, first = None, list[str]()
    for packet in in_groups(clip, [1] * 36):
        site.write([packet])
        answer = site.ask("manifest.mpd")
        if isinstance(answer, Ready) and answer is not known:
            known = answer
            first = first or addresses(video_template(answer))
    window = site.subject.find("test").windows[0]  # type: ignore[union-attr]
    assert len(window.times) < 2 * len(window.segments) + 4
    assert isinstance(site.ask(first[0]), Missing)


def test_times_of_a_stream_that_begins_anew_mean_nothing_that_was_before(site: Site, clip: list[Track | Packet]) -> None:
    before = addresses(video_template(site.get("manifest.mpd")))
    site.subject.stop("test")
    site.wall.at += 1
    site.subject.start("test", site.wall.at)
    site.write(clip)
    after = addresses(video_template(site.get("manifest.mpd")))
    assert not {*before} & {*after}
    assert all(isinstance(site.ask(address), Missing) for address in before)


def test_who_expects_a_segment_gets_none_that_its_decoder_cannot_read(
    site: Site, clip: list[Track | Packet], clips: Clips
) -> None:
    *_, growing, expected = addresses(video_template(site.get("manifest.mpd")))
    assert isinstance(site.ask(expected), Wait)
    site.write(shifted(read_flv(clips.get(width=160, height=96)), 4000))
    assert site.get(growing).body
    assert isinstance(site.ask(expected), Gone)
    for address in addresses(video_template(site.get("manifest.mpd")))[:-2]:
        assert site.get(address).body


def video_template(mpd: Ready) -> Any:
    """Of the last Period."""
    return MPEGDASHParser.parse(mpd.body.decode()).periods[-1].adaptation_sets[0].representations[0].segment_templates[0]


def test_the_mpd_is_rendered_once_per_change_and_says_where_the_time_is(site: Site) -> None:
    assert 'http-xsdate:2014" value="/api/time"' in site.text("manifest.mpd")
    known = site.get("manifest.mpd")
    site.wall.at += 20
    assert site.get("manifest.mpd") is known


def test_a_growing_segment_is_fed_part_by_part(site: Site, clip: list[Track | Packet]) -> None:
    packager = site.subject.find("test")
    assert packager is not None
    number = packager.renditions[MediaKind.VIDEO].window.position()[0]
    growing = site.ask(f"video/{number}.m4s")
    assert isinstance(growing, Growing)
    got = bytearray()
    complete = False
    for item in shifted(clip, 4000):
        if isinstance(item, Packet):
            data, complete = growing.read(len(got))
            got += data
            if complete:
                break
            site.write([item])
    assert complete
    assert bytes(got) == site.get(f"video/{number}.m4s").body


def test_a_slow_reader_gets_all_of_a_segment_that_has_left_the_window(site: Site, clip: list[Track | Packet]) -> None:
    packager = site.subject.find("test")
    assert packager is not None
    number = packager.renditions[MediaKind.VIDEO].window.position()[0]
    growing = site.ask(f"video/{number}.m4s")
    assert isinstance(growing, Growing)
    start, complete = growing.read(0)
    assert start
    assert not complete
    for turn in range(1, 8):
        site.write([item for item in shifted(clip, 4000 * turn) if isinstance(item, Packet)])
    assert isinstance(site.ask(f"video/{number}.m4s"), Gone)
    rest, complete = growing.read(len(start))
    assert rest
    assert complete


def test_a_segment_that_never_begins_is_not_there_when_the_stream_is_over(site: Site) -> None:
    packager = site.subject.find("test")
    assert packager is not None
    resource = f"video/{packager.renditions[MediaKind.VIDEO].window.position()[0] + 1}.m4s"
    assert isinstance(site.ask(resource), Wait)
    assert site.hub.stream is not None
    site.hub.stream.move_to(StreamState.ENDED)
    site.hub.stream = None
    assert isinstance(site.ask(resource), Missing | Gone)


# -- life --------------------------------------------------------------------------------------------------------------------


def test_nothing_is_packaged_until_somebody_asks_and_not_for_ever(clip: list[Track | Packet]) -> None:
    site = Site(Settings(idle_timeout=30))
    site.write(clip)
    stream = site.hub.stream
    assert stream is not None
    assert stream.subscribers == ()
    site.get("index.m3u8")
    asked = site.wall.at
    site.subject.sweep(asked + 29)
    assert len(site.subject) == 1
    assert stream.subscribers
    site.subject.sweep(asked + 31)
    assert len(site.subject) == len(stream.subscribers) == 0


@pytest.mark.parametrize("settings", [Settings(always=True), Settings(dvr=60.0)], ids=["always", "dvr"])
def test_what_is_to_be_had_unasked_is_packaged_from_its_beginning_to_its_end(
    settings: Settings, clip: list[Track | Packet]
) -> None:
    site = Site(settings)
    site.subject.begin("test", 0.0)
    site.subject.begin("other", 0.0)
    assert len(site.subject) == 1
    site.write(clip)
    site.subject.sweep(10_000.0)
    listed = m3u8.loads(site.text("video.m3u8"))
    assert sum(segment.duration for segment in listed.segments if segment.uri and not segment.gap_tag) >= 3


def test_a_stream_of_which_nobody_wants_more_than_the_present_is_not_packaged_unasked() -> None:
    site = Site(Settings())
    site.subject.begin("test", 0.0)
    assert len(site.subject) == 0


def test_numbers_never_go_back_over_a_restart_of_packaging_or_of_the_server(clip: list[Track | Packet]) -> None:
    site = Site()
    site.write(clip)
    before = m3u8.loads(site.text("video.m3u8"))
    site.subject.sweep(site.wall.at + 31)
    site.wall.at += 31
    between = m3u8.loads(site.text("video.m3u8"))
    # Each start of packaging is worth one discontinuity number, and ten minutes are.
    site.wall.at += 600
    restarted = Packagers(site.hub, Settings(), site.wall)
    answer = restarted.answer("test", "video.m3u8", {}, 0.0)
    assert isinstance(answer, Ready)
    after = m3u8.loads(answer.body.decode())
    last = [p.media_sequence + len(p.segments) for p in (before, between)]
    assert last[0] <= between.media_sequence
    assert last[1] <= after.media_sequence
    assert before.discontinuity_sequence < between.discontinuity_sequence <= after.discontinuity_sequence


def test_a_clock_before_the_year_2026_still_gives_numbers() -> None:
    assert first_numbers(0.0) == (3, 0)
    assert first_numbers(UNIX_TIME)[0] == int((UNIX_TIME - 1_767_225_600) * 10) + 3


def test_the_end_lingers_and_is_forgotten(site: Site) -> None:
    stream = site.hub.stream
    assert stream is not None
    site.hub.stream = None
    stream.move_to(StreamState.ENDED)
    assert site.text("video.m3u8").endswith("#EXT-X-ENDLIST\n")
    assert 'type="static"' in site.text("manifest.mpd")
    assert isinstance(site.ask("video/9999999999.m4s"), Missing)
    site.subject.sweep(site.wall.at)
    site.subject.sweep(site.wall.at + LINGER - 1)
    assert "EXTINF" in site.text("video.m3u8")
    site.subject.sweep(site.wall.at + LINGER + 1)
    assert isinstance(site.ask("video.m3u8"), Missing)
    assert len(site.subject) == 0


def test_a_new_stream_of_the_same_name_takes_over_with_higher_numbers(site: Site, clip: list[Track | Packet]) -> None:
    stream = site.hub.stream
    assert stream is not None
    before = m3u8.loads(site.text("video.m3u8"))
    stream.move_to(StreamState.ENDED)
    site.wall.at = UNIX_TIME
    site.hub.stream = LiveStream("test", GopCache(8 << 20, 10_000), 0.0)
    assert isinstance(site.ask("video.m3u8"), Missing)
    site.write(clip)
    after = m3u8.loads(site.text("video.m3u8"))
    assert after.media_sequence + 3 >= before.media_sequence + len(before.segments)
    assert after.discontinuity_sequence > before.discontinuity_sequence


def test_a_publisher_away_leaves_the_playlists_as_they_are(site: Site) -> None:
    stream = site.hub.stream
    assert stream is not None
    stream.move_to(StreamState.AWAY)
    playlist = m3u8.loads(site.text("video.m3u8"))
    assert not playlist.is_endlist
    next_msn = playlist.media_sequence + len([s for s in playlist.segments if s.uri])
    assert isinstance(site.ask("video.m3u8", {"_HLS_msn": str(next_msn)}), Wait)
    site.subject.sweep(site.wall.at + 5)
    assert "ENDLIST" not in site.text("index.m3u8")


@pytest.mark.parametrize("over", [False, True])
def test_a_stream_without_anything_to_package_so_far_is_waited_for(clip: list[Track | Packet], over: bool) -> None:
    site = Site()
    assert isinstance(site.ask("video.m3u8"), Missing)
    assert isinstance(site.ask("video/1.m4s"), Missing)
    answer, called = site.ask("index.m3u8"), list[Answer]()
    assert isinstance(answer, Wait)
    answer.signal.add(lambda: called.append(site.ask("index.m3u8")))
    if over:
        assert site.hub.stream is not None
        site.hub.stream.move_to(StreamState.ENDED)
    else:
        site.write([item for item in clip if isinstance(item, Track)])
    assert [type(again) for again in called] == [Missing if over else Wait]


def test_a_track_that_has_nothing_yet_is_awaited(clip: list[Track | Packet]) -> None:
    site = Site()
    site.write([item for item in clip if isinstance(item, Track)])
    assert isinstance(site.ask("index.m3u8"), Wait)
    assert isinstance(site.ask("video.m3u8"), Wait)
    assert isinstance(site.ask("video.m3u8", {"_HLS_msn": "1"}), Wait)
    site.write([item for item in only(clip, MediaKind.VIDEO) if isinstance(item, Packet) and item.dts < 1000])
    assert isinstance(site.ask("index.m3u8"), Wait)


# -- numbers over the life of the process -----------------------------------------------------------------------------------


def discontinue(site: Site, clip: list[Track | Packet], times: int) -> None:
    packets = [item for item in only(clip, MediaKind.VIDEO) if isinstance(item, Packet)][:30]
    packager = site.subject.find("test")
    assert packager is not None
    for turn in range(times):
        for item in shifted(list(packets), 100_000 + 2000 * turn, discontinuity=True):
            assert isinstance(item, Packet)
            packager.on_packet(item)


def numbers(site: Site) -> tuple[int, int]:
    playlist = m3u8.loads(site.text("video.m3u8"))
    return playlist.media_sequence, playlist.discontinuity_sequence


@pytest.mark.parametrize("over", [False, True])
def test_numbers_never_go_back_though_packaging_stopped_in_between(clip: list[Track | Packet], over: bool) -> None:
    site = Site()
    site.subject.start("test", 0)
    site.write(clip)
    discontinue(site, clip, 20)
    before = numbers(site)
    assert site.hub.stream is not None
    if over:
        site.hub.stream.move_to(StreamState.ENDED)
        site.hub.stream = None
        site.subject.sweep(site.wall.at)
    site.wall.at += 100
    site.subject.sweep(site.wall.at)
    assert len(site.subject) == 0
    site.hub.stream = site.hub.stream or LiveStream("test", GopCache(8 << 20, 10_000), 0.0)
    site.write(clip)
    after = numbers(site)
    assert after[0] > before[0]
    assert after[1] > before[1]


def test_numbers_never_go_back_with_the_clock(site: Site, clip: list[Track | Packet]) -> None:
    before = numbers(site)
    site.subject.stop("test")
    site.wall.at -= 86_400
    site.write(clip)
    after = numbers(site)
    assert after[0] > before[0]
    assert after[1] > before[1]


def test_a_name_is_forgotten_when_the_clock_has_passed_its_numbers(site: Site, clip: list[Track | Packet]) -> None:
    discontinue(site, clip, 20)
    site.subject.stop("test")
    assert len(site.subject._numbers._ahead) == 1
    site.wall.at += 30 * 600
    site.subject.sweep(0)
    assert not site.subject._numbers._ahead


def test_names_that_are_remembered_are_bounded_and_the_bound_costs_no_order(monkeypatch: pytest.MonkeyPatch) -> None:
    most = 100
    monkeypatch.setattr("mediaserver.packaging.numbers.MAX_AHEAD", most)
    site = Site()
    for number in range(3 * most):
        site.subject._numbers.remember(f"name{number}", Numbers(0, 10**6 + number))
    assert len(site.subject._numbers._ahead) == most
    assert site.subject._numbers.first("name0").discontinuity >= 10**6
    assert site.subject._numbers.first(f"name{3 * most - 1}").discontinuity == 10**6 + 3 * most - 1


# -- what did not come in time -----------------------------------------------------------------------------------------------


def test_a_blocked_playlist_that_comes_too_late_is_the_plain_one(site: Site) -> None:
    msn = site.subject.find("test").renditions[MediaKind.VIDEO].window.position()[0]  # type: ignore[union-attr]
    answer = site.ask("video.m3u8", {"_HLS_msn": str(msn + 1)})
    assert isinstance(answer, Wait)
    assert answer.timeout < 10
    assert answer.late is not None
    late, plain = answer.late(), site.get("video.m3u8")
    assert late.body == plain.body
    # Not even for a second: who asks for that position next waits for it, too.
    assert (late.max_age, late.shared_age) == (0, 0)


@pytest.mark.parametrize(("seconds", "shared"), [(1.0, 1.0), (6.0, 3.0)])
def test_caches_keep_what_is_asked_for_by_no_position_for_half_a_target_duration(
    clip: list[Track | Packet], seconds: float, shared: float
) -> None:
    site = Site(Settings(segment_duration=seconds))
    site.write(clip)
    for resource, age in (("video.m3u8", shared), ("audio.m3u8", shared), ("manifest.mpd", 1.0)):
        answer = site.get(resource)
        # A player's own cache shall not keep from it what is new.
        assert (answer.max_age, answer.shared_age, answer.immutable) == (0, age, False)
    position = {"_HLS_msn": str(site.subject.find("test").windows[0].position()[0] - 1)}  # type: ignore[union-attr]
    blocked = site.ask("video.m3u8", position)
    assert isinstance(blocked, Ready)
    assert (blocked.max_age, blocked.shared_age) == (6 * seconds, 0)


def test_a_long_segment_makes_nobody_wait_beyond_a_player_s_patience(clip: list[Track | Packet]) -> None:
    site = Site(Settings(segment_duration=10.0))
    site.subject.start("test", 0)
    site.write(clip)
    msn = site.subject.find("test").renditions[MediaKind.VIDEO].window.position()[0]  # type: ignore[union-attr]
    answer = site.ask("video.m3u8", {"_HLS_msn": str(msn + 1)})
    assert isinstance(answer, Wait)
    assert answer.timeout == 6.0


def test_nothing_is_compressed_for_those_who_did_not_ask_for_it(site: Site) -> None:
    text = site.get("video.m3u8")
    request = MediaRequest(Method.GET, None)
    assert ("Vary", "Accept-Encoding") in respond(request, text, Cors(["*"])).headers
    assert text._gzipped is None  # type: ignore[attr-defined]
    assert ("Content-Encoding", "gzip") in respond(replace(request, gzip=True), text, Cors(["*"])).headers


def test_what_cannot_be_carried_is_told_and_a_broken_header_is_waited_out(clip: list[Track | Packet]) -> None:
    site = Site()
    track = next(item for item in clip if isinstance(item, Track) and item.kind is MediaKind.VIDEO)
    site.ask("index.m3u8")
    site.write([replace(track, codec=Codec.H263, config=b"")])
    assert site.ask("index.m3u8") == Missing("HLS and DASH cannot carry flv1: play this stream by RTMP or HTTP-FLV")
    site.write([replace(track, config=b"\x01")])
    assert isinstance(site.ask("index.m3u8"), Wait)
    site.write(clip)
    site.get("index.m3u8")


def test_what_was_packaged_goes_when_it_is_forgotten_and_waits_for_no_collector(clip: list[Track | Packet]) -> None:
    """The collector comes once in many millions of allocations, and a stream is many megabytes."""
    hub = OneStream()
    house = packagers(hub, Settings(always=True))
    house.start("test", 0.0)
    hub.write(clip)
    packager = house.find("test")
    assert packager is not None
    segment = packager.windows[0].segments[0]
    kept = [weakref.ref(each) for each in (packager, packager.windows[0], hub.stream)]
    gc.collect()
    gc.disable()
    try:
        hub.stream = packager = None
        house.stop("test")
        assert [each() for each in kept] == [None] * 3
        assert segment.body, "whoever reads it has it still"
    finally:
        gc.enable()
