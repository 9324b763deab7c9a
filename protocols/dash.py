"""A DASH media presentation description as text (ISO/IEC 23009-1), live with SegmentTimeline, low latency per DASH-IF CTS."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction

CONTENT_TYPE = "application/dash+xml"

_LIVE = "urn:mpeg:dash:profile:isoff-live:2011"
_LOW_LATENCY = "http://www.dashif.org/guidelines/low-latency-live-v5"
_UTC_XSDATE = "urn:mpeg:dash:utc:http-xsdate:2014"
_CHANNELS = "urn:mpeg:mpegB:cicp:ChannelConfiguration"


@dataclass(frozen=True, slots=True)
class Timeline:
    """Segments that follow one another: time of the first, and all durations, in timescale units."""

    time: int
    durations: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Representation:
    """One track of a Period, in an AdaptationSet with those of its kind and codec. ``media`` holds ``$Time$``; ``bandwidth`` in
    bit/s.

    ``presentation_time_offset`` is the media time that the Period's start shows. ``availability_time_offset`` is how many
    seconds before it is whole a segment can be asked for; 0: not before. ``independent``: each segment begins with a picture
    that can be shown without those before (a SAP of type 1, 5.3.7).
    """

    id: str
    content_type: str
    codecs: str
    bandwidth: int
    timescale: int
    timeline: Timeline
    initialization: str
    media: str
    presentation_time_offset: int = 0
    availability_time_offset: float = 0.0
    width: int = 0
    height: int = 0
    frame_rate: float = 0.0
    sample_rate: int = 0
    channels: int = 0
    independent: bool = True


@dataclass(frozen=True, slots=True)
class Period:
    """A stretch without a break. ``start`` in seconds after availabilityStartTime."""

    id: str
    start: float
    representations: tuple[Representation, ...]


@dataclass(frozen=True, slots=True)
class Latency:
    """ServiceDescription (K.3.2): seconds behind the producer, and the rates with which a player may catch up."""

    target: float
    minimum: float
    maximum: float
    rates: tuple[float, float] = (0.96, 1.04)


@dataclass(frozen=True, slots=True)
class Mpd:
    """The whole. Times are Unix time, durations seconds. ``duration`` is set once the presentation is over (static).

    ``clock_url`` answers with the server's time as xs:dateTime (UTCTiming, http-xsdate): a time in the MPD itself would be
    late by the transfer, and stale in a cache.
    """

    availability_start: float
    publish_time: float
    clock_url: str
    periods: tuple[Period, ...]
    minimum_update_period: float = 1.0
    time_shift_buffer_depth: float = 0.0
    suggested_presentation_delay: float = 0.0
    max_segment_duration: float = 0.0
    min_buffer_time: float = 1.0
    latency: Latency | None = None
    duration: float | None = None


_ESCAPES = {ord("&"): "&amp;", ord("<"): "&lt;", ord(">"): "&gt;", ord('"'): "&quot;"}


def date_time(unix_time: float) -> str:
    """xs:dateTime in UTC with milliseconds."""
    return datetime.fromtimestamp(unix_time, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def duration(seconds: float) -> str:
    """xs:duration, seconds to the millisecond."""
    return f"PT{f'{seconds:.3f}'.rstrip('0').rstrip('.')}S"


def render(mpd: Mpd) -> str:
    """The MPD."""
    static = mpd.duration is not None
    attributes = {
        "xmlns": "urn:mpeg:dash:schema:mpd:2011",
        "profiles": _LIVE if mpd.latency is None else f"{_LIVE},{_LOW_LATENCY}",
        "type": "static" if static else "dynamic",
        "minBufferTime": duration(mpd.min_buffer_time),
        "maxSegmentDuration": duration(mpd.max_segment_duration),
        "publishTime": date_time(mpd.publish_time),
    }
    if mpd.duration is not None:
        attributes["mediaPresentationDuration"] = duration(mpd.duration)
    else:
        attributes["availabilityStartTime"] = date_time(mpd.availability_start)
        attributes["minimumUpdatePeriod"] = duration(mpd.minimum_update_period)
        attributes["timeShiftBufferDepth"] = duration(mpd.time_shift_buffer_depth)
        attributes["suggestedPresentationDelay"] = duration(mpd.suggested_presentation_delay)
    parts = ['<?xml version="1.0" encoding="utf-8"?>\n', _open("MPD", attributes)]
    latency = None if static else mpd.latency
    if latency is not None:
        parts.append(_service_description(latency))
    for period in mpd.periods:
        parts.append(_open("Period", {"id": period.id, "start": duration(period.start)}))
        for index, group in enumerate(_adaptation_sets(period)):
            reference = "" if latency is None else _reference_time(mpd, period, group[0])
            parts.append(_adaptation_set(index, group, reference))
        parts.append("</Period>\n")
    if not static:
        parts.append(_utc_timing(mpd))
    parts.append("</MPD>\n")
    return "".join(parts)


def timeline(durations: Sequence[int], time: int) -> str:
    """A SegmentTimeline (5.3.9.6); equal neighbours share an S."""
    entries: list[tuple[int, int]] = []
    for length in durations:
        if entries and entries[-1][0] == length:
            entries[-1] = (length, entries[-1][1] + 1)
        else:
            entries.append((length, 0))
    lines = []
    for index, (length, repeat) in enumerate(entries):
        start = f' t="{time}"' if index == 0 else ""
        repeated = f' r="{repeat}"' if repeat else ""
        lines.append(f'<S{start} d="{length}"{repeated}/>\n')
    return f"<SegmentTimeline>\n{''.join(lines)}</SegmentTimeline>\n"


def _service_description(latency: Latency) -> str:
    target, minimum, maximum = (round(1000 * value) for value in (latency.target, latency.minimum, latency.maximum))
    return (
        '<ServiceDescription id="0">\n'
        f'<Latency referenceId="0" target="{target}" min="{minimum}" max="{maximum}"/>\n'
        f'<PlaybackRate min="{latency.rates[0]}" max="{latency.rates[1]}"/>\n'
        "</ServiceDescription>\n"
    )


def _utc_timing(mpd: Mpd) -> str:
    return f'<UTCTiming schemeIdUri="{_UTC_XSDATE}" value="{mpd.clock_url.translate(_ESCAPES)}"/>\n'


def _reference_time(mpd: Mpd, period: Period, representation: Representation) -> str:
    """ProducerReferenceTime (5.12): when the Period's first sample came in."""
    return (
        f'<ProducerReferenceTime id="0" type="captured" wallClockTime="{date_time(mpd.availability_start + period.start)}" '
        f'presentationTime="{representation.presentation_time_offset}">\n'
        f"{_utc_timing(mpd)}</ProducerReferenceTime>\n"
    )


def _adaptation_sets(period: Period) -> list[list[Representation]]:
    """Players switch within an AdaptationSet: it holds what one decoder can go on with (5.3.3.1)."""
    sets: dict[tuple[str, str], list[Representation]] = {}
    for representation in period.representations:
        sets.setdefault((representation.content_type, representation.codecs.partition(".")[0]), []).append(representation)
    return list(sets.values())


def _adaptation_set(index: int, group: list[Representation], reference: str) -> str:
    kind = group[0].content_type
    adaptation = {
        "id": str(index),
        "contentType": kind,
        "mimeType": f"{kind}/mp4",
        "segmentAlignment": "true",
    }
    if all(representation.independent for representation in group):
        adaptation["startWithSAP"] = "1"
    return f"{_open('AdaptationSet', adaptation)}{reference}{''.join(map(_representation, group))}</AdaptationSet>\n"


def _representation(representation: Representation) -> str:
    attributes = {"id": representation.id, "codecs": representation.codecs, "bandwidth": str(representation.bandwidth)}
    if representation.width:
        attributes |= {"width": str(representation.width), "height": str(representation.height)}
    if representation.frame_rate:
        attributes["frameRate"] = frame_rate(representation.frame_rate)
    if representation.sample_rate:
        attributes["audioSamplingRate"] = str(representation.sample_rate)
    template = {
        "timescale": str(representation.timescale),
        "presentationTimeOffset": str(representation.presentation_time_offset),
        "initialization": representation.initialization,
        "media": representation.media,
    }
    if representation.availability_time_offset:
        template["availabilityTimeOffset"] = f"{representation.availability_time_offset:.3f}"
        template["availabilityTimeComplete"] = "false"
    channels = ""
    if representation.channels:
        channels = f'<AudioChannelConfiguration schemeIdUri="{_CHANNELS}" value="{representation.channels}"/>\n'
    return "".join(
        (
            _open("Representation", attributes),
            channels,
            _open("SegmentTemplate", template),
            timeline(representation.timeline.durations, representation.timeline.time),
            "</SegmentTemplate>\n</Representation>\n",
        )
    )


def frame_rate(rate: float) -> str:
    """A whole number of frames a second, one over 1001 as television has it, or another fraction (23009-1, 5.3.7.2)."""
    whole = round(rate)
    if abs(rate - whole) < 0.005 or whole == 0:
        return str(max(whole, 1))
    if abs(rate - whole / 1.001) < 0.005:
        return f"{whole * 1000}/1001"
    fraction = Fraction(rate).limit_denominator(1000)
    return f"{fraction.numerator}/{fraction.denominator}"


def _open(name: str, attributes: dict[str, str]) -> str:
    written = "".join(f' {key}="{value.translate(_ESCAPES)}"' for key, value in attributes.items())
    return f"<{name}{written}>\n"
