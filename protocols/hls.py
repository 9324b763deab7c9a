"""HLS playlists as text (RFC 8216bis, draft-pantos-hls-rfc8216bis): values in, lines out.

A live playlist changes several times a second and is mostly the same as before: entries are rendered to text once, when
they come into being (``segment_entry``, ``part_line``), and a playlist is a join of those texts.
"""

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from protocols.errors import RemoteProtocolError

CONTENT_TYPE = "application/vnd.apple.mpegurl"

#: EXT-X-SKIP came with version 9 (8); the rest of what we write asks for less.
VERSION = 9

#: More digits than any media sequence number or part index may have (they are below 2^64).
_MAX_DIGITS = 20


class Skip(enum.Enum):
    """The ``_HLS_skip`` directive (6.2.5.1): YES leaves out old segments, V2 old date ranges as well."""

    NO = ""
    YES = "YES"
    V2 = "v2"


@dataclass(frozen=True, slots=True)
class Reload:
    """Delivery directives of a playlist request (6.2.5): the position to wait for, and whether a delta will do."""

    msn: int | None = None
    part: int | None = None
    skip: Skip = Skip.NO


@dataclass(frozen=True, slots=True)
class ServerControl:
    """EXT-X-SERVER-CONTROL (4.4.3.8). Seconds; 0 leaves an attribute out."""

    can_block_reload: bool = True
    part_hold_back: float = 0.0
    hold_back: float = 0.0
    can_skip_until: float = 0.0


@dataclass(frozen=True, slots=True)
class Start:
    """EXT-X-START (4.4.2.2): where to begin, in seconds from the beginning, or from the end if negative."""

    time_offset: float
    precise: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """EXT-X-PART (4.4.4.9). ``duration`` in seconds; ``gap`` says that it cannot be loaded."""

    uri: str
    duration: float
    independent: bool = False
    gap: bool = False


@dataclass(frozen=True, slots=True)
class Segment:
    """One media segment and the tags that belong to it (4.4.4). ``duration`` in seconds.

    ``discontinuities`` is how many there are before it: more than one where this playlist had nothing to show between
    two that another playlist has. ``map_uri`` names an init segment that is new from here on; ``program_time`` is Unix
    time in seconds.
    """

    uri: str
    duration: float
    discontinuities: int = 0
    gap: bool = False
    map_uri: str = ""
    program_time: float | None = None


@dataclass(frozen=True, slots=True)
class PreloadHint:
    """EXT-X-PRELOAD-HINT (4.4.5.3) of a PART, or of a MAP."""

    uri: str
    type: str = "PART"


@dataclass(frozen=True, slots=True)
class RenditionReport:
    """EXT-X-RENDITION-REPORT (4.4.5.4): how far another playlist has got. ``last_part`` None: no parts there."""

    uri: str
    last_msn: int
    last_part: int | None = None


@dataclass(frozen=True, slots=True)
class MediaHead:
    """What stands above the segments of a media playlist. ``part_target`` 0: no parts; ``skipped`` > 0: a delta update."""

    target_duration: int
    media_sequence: int
    discontinuity_sequence: int = 0
    part_target: float = 0.0
    control: ServerControl | None = None
    independent_segments: bool = False
    start: Start | None = None
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class Rendition:
    """EXT-X-MEDIA (4.4.6.1)."""

    type: str
    group_id: str
    name: str
    uri: str = ""
    language: str = ""
    channels: str = ""
    default: bool = True
    autoselect: bool = True


@dataclass(frozen=True, slots=True)
class Variant:
    """EXT-X-STREAM-INF (4.4.6.2). Bandwidths in bit/s; ``audio`` is a Rendition's group."""

    uri: str
    bandwidth: int
    codecs: str
    average_bandwidth: int = 0
    resolution: tuple[int, int] | None = None
    frame_rate: float = 0.0
    audio: str = ""


# -- reading a request ---------------------------------------------------------------------------------------------------


def read_reload(query: Mapping[str, str]) -> Reload:
    """The delivery directives in a query string; unknown values of ``_HLS_skip`` are ignored, as 6.2.5.1 wants it.

    RemoteProtocolError for a position that is no decimal integer, and for a part without a segment (6.2.5.2).
    """
    msn = _position(query, "_HLS_msn")
    part = _position(query, "_HLS_part")
    if part is not None and msn is None:
        raise RemoteProtocolError("_HLS_part without _HLS_msn")
    skip = query.get("_HLS_skip")
    return Reload(msn, part, Skip.YES if skip == "YES" else Skip.V2 if skip == "v2" else Skip.NO)


def _position(query: Mapping[str, str], name: str) -> int | None:
    text = query.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
        raise RemoteProtocolError(f"{name} is not a decimal integer")
    return int(text)


# -- writing -------------------------------------------------------------------------------------------------------------


def quoted(text: str) -> str:
    """A quoted-string (4.2): it cannot hold line breaks or a double quote, so they are dropped."""
    return '"' + text.translate(_UNQUOTABLE) + '"'


_UNQUOTABLE = {ord('"'): None, ord("\r"): None, ord("\n"): None}


def date_time(unix_time: float) -> str:
    """ISO 8601 in UTC with milliseconds."""
    return datetime.fromtimestamp(unix_time, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def number(value: float) -> str:
    """A decimal-floating-point with microseconds at most and no needless zeros."""
    return f"{value:.6f}".rstrip("0").rstrip(".")


def part_line(part: Part) -> str:
    """One EXT-X-PART line, line break included."""
    text = f'#EXT-X-PART:DURATION={part.duration:.5f},URI="{part.uri}"'
    if part.independent:
        text += ",INDEPENDENT=YES"
    if part.gap:
        text += ",GAP=YES"
    return text + "\n"


def segment_head(segment: Segment) -> str:
    """The tags that stand before a segment's parts: discontinuity, init segment, wall clock."""
    text = "#EXT-X-DISCONTINUITY\n" * segment.discontinuities
    if segment.map_uri:
        text += f'#EXT-X-MAP:URI="{segment.map_uri}"\n'
    if segment.program_time is not None:
        text += f"#EXT-X-PROGRAM-DATE-TIME:{date_time(segment.program_time)}\n"
    return text


def segment_tail(segment: Segment) -> str:
    """EXTINF and the URI, and EXT-X-GAP where it is due."""
    gap = "#EXT-X-GAP\n" if segment.gap else ""
    return f"{gap}#EXTINF:{segment.duration:.5f},\n{segment.uri}\n"


def segment_entry(segment: Segment, parts: Iterable[Part] = ()) -> str:
    """All lines of one segment."""
    return segment_head(segment) + "".join(map(part_line, parts)) + segment_tail(segment)


def media_playlist(
    head: MediaHead,
    entries: Iterable[str],
    hint: PreloadHint | None = None,
    reports: Iterable[RenditionReport] = (),
    *,
    ended: bool = False,
) -> str:
    """A media playlist: ``entries`` are rendered segments, and at the end the rendered parts of the one in the making."""
    lines = [_media_head(head), *entries]
    if hint is not None:
        lines.append(f'#EXT-X-PRELOAD-HINT:TYPE={hint.type},URI="{hint.uri}"\n')
    for report in reports:
        last_part = "" if report.last_part is None else f",LAST-PART={report.last_part}"
        lines.append(f'#EXT-X-RENDITION-REPORT:URI="{report.uri}",LAST-MSN={report.last_msn}{last_part}\n')
    if ended:
        lines.append("#EXT-X-ENDLIST\n")
    return "".join(lines)


def _media_head(head: MediaHead) -> str:
    text = f"#EXTM3U\n#EXT-X-VERSION:{VERSION}\n#EXT-X-TARGETDURATION:{head.target_duration}\n"
    if head.control is not None:
        text += _server_control(head.control)
    if head.part_target:
        text += f"#EXT-X-PART-INF:PART-TARGET={number(head.part_target)}\n"
    if head.independent_segments:
        text += "#EXT-X-INDEPENDENT-SEGMENTS\n"
    if head.start is not None:
        text += _start(head.start)
    text += f"#EXT-X-MEDIA-SEQUENCE:{head.media_sequence}\n"
    if head.discontinuity_sequence:
        text += f"#EXT-X-DISCONTINUITY-SEQUENCE:{head.discontinuity_sequence}\n"
    if head.skipped:
        text += f"#EXT-X-SKIP:SKIPPED-SEGMENTS={head.skipped}\n"
    return text


def _server_control(control: ServerControl) -> str:
    attributes = ["CAN-BLOCK-RELOAD=YES"] if control.can_block_reload else []
    if control.can_skip_until:
        attributes.append(f"CAN-SKIP-UNTIL={number(control.can_skip_until)}")
    if control.part_hold_back:
        attributes.append(f"PART-HOLD-BACK={number(control.part_hold_back)}")
    if control.hold_back:
        attributes.append(f"HOLD-BACK={number(control.hold_back)}")
    return f"#EXT-X-SERVER-CONTROL:{','.join(attributes)}\n" if attributes else ""


def _start(start: Start) -> str:
    precise = ",PRECISE=YES" if start.precise else ""
    return f"#EXT-X-START:TIME-OFFSET={number(start.time_offset)}{precise}\n"


def multivariant_playlist(
    variants: Iterable[Variant],
    renditions: Iterable[Rendition] = (),
    *,
    independent_segments: bool = False,
    start: Start | None = None,
) -> str:
    """A multivariant playlist."""
    text = f"#EXTM3U\n#EXT-X-VERSION:{VERSION}\n"
    if independent_segments:
        text += "#EXT-X-INDEPENDENT-SEGMENTS\n"
    if start is not None:
        text += _start(start)
    return text + "".join(map(_media, renditions)) + "".join(map(_stream_inf, variants))


def _media(rendition: Rendition) -> str:
    text = f"#EXT-X-MEDIA:TYPE={rendition.type},GROUP-ID={quoted(rendition.group_id)},NAME={quoted(rendition.name)}"
    text += f",DEFAULT={'YES' if rendition.default else 'NO'},AUTOSELECT={'YES' if rendition.autoselect else 'NO'}"
    if rendition.language:
        text += f",LANGUAGE={quoted(rendition.language)}"
    if rendition.channels:
        text += f",CHANNELS={quoted(rendition.channels)}"
    if rendition.uri:
        text += f",URI={quoted(rendition.uri)}"
    return text + "\n"


def _stream_inf(variant: Variant) -> str:
    text = f"#EXT-X-STREAM-INF:BANDWIDTH={variant.bandwidth}"
    if variant.average_bandwidth:
        text += f",AVERAGE-BANDWIDTH={variant.average_bandwidth}"
    text += f",CODECS={quoted(variant.codecs)}"
    if variant.resolution is not None:
        text += f",RESOLUTION={variant.resolution[0]}x{variant.resolution[1]}"
    if variant.frame_rate:
        text += f",FRAME-RATE={variant.frame_rate:.3f}"
    if variant.audio:
        text += f",AUDIO={quoted(variant.audio)}"
    return f"{text}\n{variant.uri}\n"
