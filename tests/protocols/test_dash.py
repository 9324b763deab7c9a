"""MPDs: whole texts, and what a parser that is not ours reads in them."""

from xml.etree import ElementTree as ET

import pytest
from mpegdash.parser import MPEGDASHParser  # type: ignore[import-untyped]

from protocols import dash

WALL = 1_780_000_000.0

VIDEO = dash.Representation(
    id="video",
    content_type="video",
    codecs="avc1.64001f",
    bandwidth=2_500_000,
    timescale=90_000,
    timeline=dash.Timeline(900_000, (180_000, 180_000, 179_910)),
    initialization="video/init-0.mp4",
    media="video/0-$Time$.m4s",
    presentation_time_offset=900_000,
    availability_time_offset=1.798,
    width=1280,
    height=720,
    frame_rate=30000 / 1001,
)
AUDIO = dash.Representation(
    "audio", "audio", "mp4a.40.2", 128_000, 48_000, dash.Timeline(480_000, (96_256, 95_232)), "a/init-1.mp4",
    "a/1-$Time$.m4s", 480_000, sample_rate=48_000, channels=2,
)  # fmt: skip
LIVE = dash.Mpd(
    availability_start=WALL,
    publish_time=WALL + 5.5,
    clock_url="/api/time",
    periods=(dash.Period("p0", 0.0, (VIDEO, AUDIO)), dash.Period("p1", 5.25, (VIDEO,))),
    minimum_update_period=1.0,
    time_shift_buffer_depth=14.0,
    suggested_presentation_delay=2.0,
    max_segment_duration=2.0,
    min_buffer_time=0.202,
    latency=dash.Latency(2.0, 1.0, 6.0),
)


def test_a_live_mpd_is_written_whole() -> None:
    mpd = dash.Mpd(
        availability_start=WALL,
        publish_time=WALL + 5.5,
        clock_url="/api/time",
        periods=(dash.Period("p0", 0.0, (VIDEO,)),),
        time_shift_buffer_depth=14.0,
        suggested_presentation_delay=2.0,
        max_segment_duration=2.0,
        min_buffer_time=0.202,
        latency=dash.Latency(2.0, 1.0, 6.0),
    )
    assert dash.render(mpd).splitlines() == [
        '<?xml version="1.0" encoding="utf-8"?>',
        '<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" profiles="urn:mpeg:dash:profile:isoff-live:2011,'
        'http://www.dashif.org/guidelines/low-latency-live-v5" type="dynamic" minBufferTime="PT0.202S" '
        'maxSegmentDuration="PT2S" publishTime="2026-05-28T20:26:45.500Z" availabilityStartTime="2026-05-28T20:26:40.000Z" '
        'minimumUpdatePeriod="PT1S" timeShiftBufferDepth="PT14S" suggestedPresentationDelay="PT2S">',
        '<ServiceDescription id="0">',
        '<Latency referenceId="0" target="2000" min="1000" max="6000"/>',
        '<PlaybackRate min="0.96" max="1.04"/>',
        "</ServiceDescription>",
        '<Period id="p0" start="PT0S">',
        '<AdaptationSet id="0" contentType="video" mimeType="video/mp4" segmentAlignment="true" startWithSAP="1">',
        '<ProducerReferenceTime id="0" type="captured" wallClockTime="2026-05-28T20:26:40.000Z" presentationTime="900000">',
        '<UTCTiming schemeIdUri="urn:mpeg:dash:utc:http-xsdate:2014" value="/api/time"/>',
        "</ProducerReferenceTime>",
        '<Representation id="video" codecs="avc1.64001f" bandwidth="2500000" width="1280" height="720" frameRate="30000/1001">',
        '<SegmentTemplate timescale="90000" presentationTimeOffset="900000" '
        'initialization="video/init-0.mp4" media="video/0-$Time$.m4s" availabilityTimeOffset="1.798" '
        'availabilityTimeComplete="false">',
        "<SegmentTimeline>",
        '<S t="900000" d="180000" r="1"/>',
        '<S d="179910"/>',
        "</SegmentTimeline>",
        "</SegmentTemplate>",
        "</Representation>",
        "</AdaptationSet>",
        "</Period>",
        '<UTCTiming schemeIdUri="urn:mpeg:dash:utc:http-xsdate:2014" value="/api/time"/>',
        "</MPD>",
    ]


def test_another_parser_reads_periods_sets_and_timelines() -> None:
    mpd = MPEGDASHParser.parse(dash.render(LIVE))
    assert mpd.type == "dynamic"
    assert mpd.availability_start_time == "2026-05-28T20:26:40.000Z"
    assert (mpd.minimum_update_period, mpd.suggested_presentation_delay) == ("PT1S", "PT2S")
    assert [(period.id, period.start) for period in mpd.periods] == [("p0", "PT0S"), ("p1", "PT5.25S")]
    video, audio = mpd.periods[0].adaptation_sets
    representation = video.representations[0]
    assert (representation.width, representation.height, representation.codecs) == (1280, 720, "avc1.64001f")
    template = representation.segment_templates[0]
    assert (template.start_number, template.timescale, template.media) == (None, 90_000, "video/0-$Time$.m4s")
    assert [(s.t, s.d, s.r) for s in template.segment_timelines[0].Ss] == [(900_000, 180_000, 1), (None, 179_910, None)]
    assert audio.representations[0].audio_sampling_rate == "48000"
    assert audio.representations[0].audio_channel_configurations[0].value == "2"


def test_a_presentation_that_is_over_is_static_and_needs_no_clock() -> None:
    over = dash.Mpd(WALL, WALL + 9, "/t", (dash.Period("p0", 0.0, (AUDIO,)),), latency=dash.Latency(2, 1, 6), duration=3.989)
    text = dash.render(over)
    root = ET.fromstring(text)
    assert (root.get("type"), root.get("mediaPresentationDuration")) == ("static", "PT3.989S")
    for absent in ("minimumUpdatePeriod", "availabilityStartTime", "timeShiftBufferDepth"):
        assert root.get(absent) is None
    assert "UTCTiming" not in text
    assert "availabilityTimeOffset" not in text
    assert "ServiceDescription" not in text


def test_without_a_latency_target_it_is_an_ordinary_live_mpd() -> None:
    text = dash.render(dash.Mpd(WALL, WALL, "/t", (dash.Period("p0", 0.0, (AUDIO,)),)))
    assert "low-latency" not in text
    assert "ProducerReferenceTime" not in text


def test_what_does_not_belong_in_an_attribute_is_escaped() -> None:
    odd = dash.Representation('<&">', "audio", "opus", 1, 48_000, dash.Timeline(0, (1,)), "i", "m")
    root = ET.fromstring(dash.render(dash.Mpd(WALL, WALL, "/t", (dash.Period("p", 0.0, (odd,)),))))
    found = root.find(".//{*}Representation")
    assert found is not None
    assert found.get("id") == '<&">'


@pytest.mark.parametrize(
    ("rate", "text"), [(30.0, "30"), (29.97003, "30000/1001"), (23.976, "24000/1001"), (12.5, "25/2"), (0.2, "1")]
)
def test_frame_rates_are_whole_or_those_of_television(rate: float, text: str) -> None:
    assert dash.frame_rate(rate) == text


@pytest.mark.parametrize(("seconds", "text"), [(0, "PT0S"), (2, "PT2S"), (0.2025, "PT0.203S"), (3600.5, "PT3600.5S")])
def test_durations_are_seconds_to_the_millisecond(seconds: float, text: str) -> None:
    assert dash.duration(seconds) == text
