"""HLS playlists: whole texts, and what a parser that is not ours reads in them."""

import m3u8  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols import hls
from protocols.errors import RemoteProtocolError

WALL = 1_780_000_000.25

HEAD = hls.MediaHead(
    target_duration=2,
    media_sequence=266,
    discontinuity_sequence=7,
    part_target=0.202,
    control=hls.ServerControl(part_hold_back=0.606, hold_back=6.0, can_skip_until=12.0),
    independent_segments=True,
    start=hls.Start(-3.5, precise=True),
)
SEGMENT = hls.Segment("v/266.m4s", 2.0, map_uri="v/init-0.mp4", program_time=WALL)
PARTS = [hls.Part("v/267.0.m4s", 0.2, independent=True), hls.Part("v/267.1.m4s", 1 / 6, gap=True)]


def playlist() -> str:
    entries = [
        hls.segment_entry(SEGMENT),
        hls.segment_head(hls.Segment("v/267.m4s", 0, discontinuities=1, map_uri="v/init-1.mp4", program_time=WALL + 2)),
        *map(hls.part_line, PARTS),
    ]
    return hls.media_playlist(HEAD, entries, hls.PreloadHint("v/267.2.m4s"), [hls.RenditionReport("audio.m3u8", 267, 1)])


def test_a_low_latency_playlist_is_written_line_by_line() -> None:
    assert playlist() == (
        "#EXTM3U\n"
        "#EXT-X-VERSION:9\n"
        "#EXT-X-TARGETDURATION:2\n"
        "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=12,PART-HOLD-BACK=0.606,HOLD-BACK=6\n"
        "#EXT-X-PART-INF:PART-TARGET=0.202\n"
        "#EXT-X-INDEPENDENT-SEGMENTS\n"
        "#EXT-X-START:TIME-OFFSET=-3.5,PRECISE=YES\n"
        "#EXT-X-MEDIA-SEQUENCE:266\n"
        "#EXT-X-DISCONTINUITY-SEQUENCE:7\n"
        '#EXT-X-MAP:URI="v/init-0.mp4"\n'
        "#EXT-X-PROGRAM-DATE-TIME:2026-05-28T20:26:40.250Z\n"
        "#EXTINF:2.00000,\n"
        "v/266.m4s\n"
        "#EXT-X-DISCONTINUITY\n"
        '#EXT-X-MAP:URI="v/init-1.mp4"\n'
        "#EXT-X-PROGRAM-DATE-TIME:2026-05-28T20:26:42.250Z\n"
        '#EXT-X-PART:DURATION=0.20000,URI="v/267.0.m4s",INDEPENDENT=YES\n'
        '#EXT-X-PART:DURATION=0.16667,URI="v/267.1.m4s",GAP=YES\n'
        '#EXT-X-PRELOAD-HINT:TYPE=PART,URI="v/267.2.m4s"\n'
        '#EXT-X-RENDITION-REPORT:URI="audio.m3u8",LAST-MSN=267,LAST-PART=1\n'
    )


def test_another_parser_reads_every_low_latency_tag() -> None:
    read = m3u8.loads(playlist())
    assert (read.target_duration, read.media_sequence, read.discontinuity_sequence) == (2, 266, 7)
    assert read.part_inf.part_target == 0.202
    control = read.server_control
    assert (control.can_block_reload, control.part_hold_back, control.can_skip_until) == ("YES", 0.606, 12.0)
    assert read.is_independent_segments
    assert (read.start.time_offset, read.start.precise) == (-3.5, "YES")
    first, growing = read.segments
    assert (first.uri, first.duration, first.init_section.uri) == ("v/266.m4s", 2.0, "v/init-0.mp4")
    assert first.program_date_time is not None
    assert first.program_date_time.timestamp() == WALL
    assert [(part.uri, part.independent, part.gap) for part in growing.parts] == [
        ("v/267.0.m4s", "YES", None),
        ("v/267.1.m4s", None, "YES"),
    ]
    assert (read.preload_hint.hint_type, read.preload_hint.uri) == ("PART", "v/267.2.m4s")
    report = read.rendition_reports[0]
    assert (report.uri, report.last_msn, report.last_part) == ("audio.m3u8", 267, 1)


def test_a_delta_update_says_how_many_it_left_out() -> None:
    head = hls.MediaHead(target_duration=2, media_sequence=5, skipped=12)
    read = m3u8.loads(hls.media_playlist(head, [hls.segment_entry(hls.Segment("18.m4s", 2.0))]))
    assert read.skip.skipped_segments == 12
    assert [segment.uri for segment in read.segments] == ["18.m4s"]


def test_a_plain_playlist_that_is_over_has_no_live_tags() -> None:
    text = hls.media_playlist(
        hls.MediaHead(target_duration=2, media_sequence=0), [hls.segment_entry(hls.Segment("0.m4s", 1.5))], ended=True
    )
    assert text == (
        "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:1.50000,\n0.m4s\n#EXT-X-ENDLIST\n"
    )
    assert m3u8.loads(text).is_endlist


def test_a_gap_and_several_discontinuities_stand_before_their_segment() -> None:
    text = hls.segment_entry(hls.Segment("3.m4s", 2.0, discontinuities=2, gap=True))
    assert text == "#EXT-X-DISCONTINUITY\n#EXT-X-DISCONTINUITY\n#EXT-X-GAP\n#EXTINF:2.00000,\n3.m4s\n"
    read = m3u8.loads(hls.media_playlist(hls.MediaHead(2, 3), [text])).segments[0]
    assert (read.discontinuity, read.gap_tag is not None) == (True, True)


def test_a_report_may_lack_parts_and_control_may_be_empty() -> None:
    head = hls.MediaHead(2, 1, control=hls.ServerControl(can_block_reload=False), start=hls.Start(1.0))
    text = hls.media_playlist(head, [], reports=[hls.RenditionReport("a.m3u8", 4)])
    assert text == (
        "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:2\n#EXT-X-START:TIME-OFFSET=1\n#EXT-X-MEDIA-SEQUENCE:1\n"
        '#EXT-X-RENDITION-REPORT:URI="a.m3u8",LAST-MSN=4\n'
    )


def test_a_multivariant_playlist_names_codecs_size_rate_and_audio() -> None:
    text = hls.multivariant_playlist(
        [hls.Variant("video.m3u8", 2_700_000, "avc1.64001f,mp4a.40.2", 2_500_000, (1280, 720), 30000 / 1001, "audio")],
        [hls.Rendition("AUDIO", "audio", 'En"glish\n', "audio.m3u8", "en", "2", default=False)],
        independent_segments=True,
        start=hls.Start(0.0),
    )
    assert text == (
        "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-START:TIME-OFFSET=0\n"
        '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="audio",NAME="English",DEFAULT=NO,AUTOSELECT=YES,LANGUAGE="en",CHANNELS="2",'
        'URI="audio.m3u8"\n'
        '#EXT-X-STREAM-INF:BANDWIDTH=2700000,AVERAGE-BANDWIDTH=2500000,CODECS="avc1.64001f,mp4a.40.2",'
        'RESOLUTION=1280x720,FRAME-RATE=29.970,AUDIO="audio"\n'
        "video.m3u8\n"
    )
    variant = m3u8.loads(text).playlists[0]
    assert variant.stream_info.resolution == (1280, 720)
    assert variant.media[0].uri == "audio.m3u8"


def test_what_is_not_known_is_left_out_of_a_multivariant_playlist() -> None:
    text = hls.multivariant_playlist([hls.Variant("a.m3u8", 1000, "opus")], [hls.Rendition("AUDIO", "g", "n")])
    assert text == (
        '#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="g",NAME="n",DEFAULT=YES,AUTOSELECT=YES\n'
        '#EXT-X-STREAM-INF:BANDWIDTH=1000,CODECS="opus"\na.m3u8\n'
    )


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, hls.Reload()),
        ({"token": "x"}, hls.Reload()),
        ({"_HLS_msn": "42"}, hls.Reload(42)),
        ({"_HLS_msn": "42", "_HLS_part": "0"}, hls.Reload(42, 0)),
        ({"_HLS_msn": "007", "_HLS_part": "3", "_HLS_skip": "YES"}, hls.Reload(7, 3, hls.Skip.YES)),
        ({"_HLS_skip": "v2"}, hls.Reload(skip=hls.Skip.V2)),
        ({"_HLS_skip": "yes"}, hls.Reload()),
        ({"_HLS_msn": "99999999999999999999"}, hls.Reload(99999999999999999999)),
    ],
)
def test_delivery_directives_are_read(query: dict[str, str], expected: hls.Reload) -> None:
    assert hls.read_reload(query) == expected


@pytest.mark.parametrize(
    "query",
    [
        {"_HLS_part": "1"},
        {"_HLS_msn": ""},
        {"_HLS_msn": "-1"},
        {"_HLS_msn": "+1"},
        {"_HLS_msn": "1.5"},
        {"_HLS_msn": "0x10"},
        {"_HLS_msn": "1_0"},
        {"_HLS_msn": " 1"},
        {"_HLS_msn": "٣"},
        {"_HLS_msn": "²"},
        {"_HLS_msn": "1" * 21},
        {"_HLS_msn": "1" * 100_000},
        {"_HLS_msn": "1,2"},
        {"_HLS_msn": "1", "_HLS_part": "-1"},
        {"_HLS_msn": "1", "_HLS_part": "nan"},
    ],
)
def test_absurd_positions_are_refused(query: dict[str, str]) -> None:
    with pytest.raises(RemoteProtocolError):
        hls.read_reload(query)


@given(st.dictionaries(st.sampled_from(["_HLS_msn", "_HLS_part", "_HLS_skip", "x"]), st.text(max_size=30)))
def test_any_query_gives_a_position_or_a_protocol_error(query: dict[str, str]) -> None:
    try:
        reload = hls.read_reload(query)
    except RemoteProtocolError:
        return
    assert reload.part is None or reload.msn is not None


@pytest.mark.parametrize(
    ("value", "text"), [(0.2, "0.2"), (3.0, "3"), (0.1666666667, "0.166667"), (100.0, "100"), (-2.5, "-2.5")]
)
def test_decimal_numbers_have_no_needless_zeros(value: float, text: str) -> None:
    assert hls.number(value) == text
