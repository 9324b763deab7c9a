"""A Packager's windows as HLS playlists: rendered once per change, however many players ask."""

import math
from collections.abc import Iterable, Iterator, Sequence

from mediaserver.packaging.family import HOME, Family, Folder, Place
from mediaserver.packaging.presentation import Presentation
from mediaserver.packaging.rendition import Rendition
from mediaserver.packaging.segment import Segment
from mediaserver.packaging.window import LEAST_SEGMENTS, Window
from protocols import hls
from protocols.codec import AudioParameters, VideoParameters

#: The smallest distance to the end that RFC 8216bis lets a server advise, in parts and in target durations (4.4.3.8).
PART_HOLD_BACK = 3.0
HOLD_BACK = 3.0

#: A delta update leaves out what is older than this many target durations (4.4.3.8 asks for six).
SKIP_UNTIL = 6

#: A stream is peaky: what its busiest segment so far had, and a tenth.
HEADROOM = 1.1

#: What most lines carry (bit/s): players begin with the first variant in the list, so the largest below this comes first.
START_BANDWIDTH = 3_000_000

_AUDIO_GROUP = "audio"


def media_playlist(
    packager: Presentation, window: Window, others: Iterable[tuple[str, Window]], *, delta: bool, ahead: float = 0.0
) -> str:
    """The playlist of one track; ``delta`` as far as there is anything to leave out. ``others`` are to be reported of.

    It is ``ahead`` (seconds) of the latest of those, and players shall stay that much further from its end: else who changes
    to that one waits for it.
    """
    segments = window.visible()
    target = window.target_duration
    part_target = packager.part_target
    can_skip = can_skip_until(packager, window)
    skipped = _skippable(segments, can_skip) if delta and can_skip else 0
    whole = len(segments) - (window.growing is not None)
    gaps = 0 if window.ended else max(0, LEAST_SEGMENTS - whole)
    # Not further back than there is anything: players would begin in a gap.
    hold_back = PART_HOLD_BACK * part_target
    hold_back += max(0.0, min(ahead, sum(segment.seconds for segment in segments) - hold_back)) if ahead else 0.0
    head = hls.MediaHead(
        target_duration=target,
        media_sequence=segments[0].sequence - gaps,
        discontinuity_sequence=discontinuity_sequence(packager, segments[0]),
        part_target=part_target,
        control=hls.ServerControl(part_hold_back=hold_back, hold_back=HOLD_BACK * target, can_skip_until=can_skip),
        independent_segments=all(segment.independent for segment in segments),
        skipped=skipped,
    )
    entries = [*_gaps(window, segments[0].sequence, gaps), *_entries(window, segments, skipped)]
    if window.ended:
        return hls.media_playlist(head, entries, ended=True)
    sequence, part = window.position()
    hint = hls.PreloadHint(f"{window.kind}/{sequence}.{part}.m4s")
    return hls.media_playlist(head, entries, hint, _reports(window, others))


def _gaps(window: Window, first: int, count: int) -> Iterator[str]:
    """What would have been there, had the stream begun earlier."""
    for sequence in range(first - count, first):
        uri = f"{window.kind}/{sequence}.m4s"
        yield hls.segment_entry(hls.Segment(uri, window.segment_duration, gap=True))


def _entries(window: Window, segments: list[Segment], skipped: int) -> Iterator[str]:
    recent = window.recent()[0].sequence
    for index, segment in enumerate(segments[skipped:]):
        if segment.complete and segment.sequence < recent and index:
            yield segment.entry()
            continue
        # The init segment must be named even if the segment that first had it has left.
        with_map = index == 0 and not skipped and not segment.new_init
        yield segment.head(with_map=with_map, date=None if index else _date(segments, segment))
        if segment.sequence >= recent:
            yield segment.part_lines()
        if segment.complete:
            yield segment.tail()


def _date(segments: list[Segment], first: Segment) -> float:
    """Unix time of the first segment that is written; the others on the same clock have none of their own. It is reckoned from
    the first in the list: where a publisher's clock was set right, dates do not go with durations, and hls.js would play picture
    and sound apart by as much."""
    head = next(segment for segment in segments if segment.epoch.number == first.epoch.number)
    return head.program_time + (first.time - head.time) / head.init.timescale


def can_skip_until(packager: Presentation, window: Window) -> float:
    """CAN-SKIP-UNTIL in seconds; 0 where the playlist is too short for a delta to be worth a second rendering."""
    boundary = SKIP_UNTIL * window.target_duration
    length = max(packager.settings.dvr, window.listed * packager.settings.segment_duration)
    return float(boundary) if length >= 2 * boundary else 0.0


def _skippable(segments: list[Segment], until: float) -> int:
    """How many of the oldest segments are further from the end than ``until`` seconds."""
    distance = sum(segment.seconds for segment in segments)
    for count, segment in enumerate(segments):
        distance -= segment.seconds
        if distance < until:
            return count
    return 0


def discontinuity_sequence(packager: Presentation, segment: Segment) -> int:
    """EXT-X-DISCONTINUITY-SEQUENCE for a playlist that begins with ``segment``: its tags are still in the playlist."""
    return packager.first.discontinuity + segment.epoch.number - segment.discontinuities


def _reports(window: Window, others: Iterable[tuple[str, Window]]) -> Iterator[hls.RenditionReport]:
    first = _last_part(window)[1] == 0
    for uri, other in others:
        if other is window or not other.started:
            continue
        sequence, part = _last_part(other)
        if part == 0 and not first:
            # hls.js reads a LAST-PART of 0 as this playlist's own last part, asks for that one, and gives up before it comes.
            # The part before leads there as well: what is answered holds all that there is.
            before = _parts(other, sequence - 1)
            sequence, part = (sequence - 1, before - 1) if before > 1 else (sequence, part)
        yield hls.RenditionReport(uri, sequence, part)


def _last_part(window: Window) -> tuple[int, int | None]:
    """Its sequence number and its index in that segment; None where that has no parts."""
    sequence, part = window.position()
    if not part:
        sequence, part = sequence - 1, _parts(window, sequence - 1)
    return sequence, part - 1 if part else None


def _parts(window: Window, sequence: int) -> int:
    segment = window.get(sequence)
    return 0 if segment is None else len(segment.parts)


def addresses(family: Family, place: Place) -> Iterator[tuple[str, Window]]:
    """Where the playlists of all that is listed are, seen from ``place``."""
    for rung, window in family.windows():
        if place.folder is not Folder.OWN or window.kind == "audio":
            yield f"{place.to(family.name, rung)}{window.kind}.m3u8", window


# -- the multivariant playlist ---------------------------------------------------------------------------------------------


def multivariant_playlist(family: Family, place: Place = HOME, query: str = "") -> str:
    """All renditions, or (in a rendition's own folder) that one: a picture each, with one sound for all, and sound alone.
    ``query`` is put behind the address of each."""
    pictures, sounds = family.pictures(place), family.sounds()
    shared = sounds[0] if sounds else None
    if place.folder is Folder.OWN:
        sounds = [each for each in sounds if each[0] == place.rung]
    variants = [_variant(family, place, rung, each, video, shared, query) for rung, each, video in pictures]
    alone = [
        _sound_variant(family, place, rung, audio, query, in_group=bool(variants) and shared is not None and audio is shared[1])
        for rung, audio in sounds
        if _alone(family, rung)
    ]
    renditions = []
    if variants and shared is not None:
        channels = shared[1].init.parameters.channels if isinstance(shared[1].init.parameters, AudioParameters) else 0
        uri = f"{place.to(family.name, shared[0])}audio.m3u8{query}"
        renditions.append(hls.Rendition("AUDIO", _AUDIO_GROUP, "Audio", uri, channels=str(channels) if channels else ""))
    return hls.multivariant_playlist([*_in_order(variants), *alone], renditions)


def _alone(family: Family, rung: str) -> bool:
    each = family.of(rung)
    return each is not None and all(window.kind == "audio" for window in each.windows if window.started)


def _in_order(variants: list[hls.Variant]) -> list[hls.Variant]:
    """From the best down, but for the one that players begin with."""
    ordered = sorted(variants, key=lambda variant: variant.bandwidth, reverse=True)
    start = next((variant for variant in ordered if variant.bandwidth <= START_BANDWIDTH), ordered[-1] if ordered else None)
    return ordered if start is None else [start, *(variant for variant in ordered if variant is not start)]


def _variant(
    family: Family,
    place: Place,
    rung: str,
    each: Presentation,
    video: Rendition,
    shared: tuple[str, Rendition] | None,
    query: str,
) -> hls.Variant:
    described = video.init.parameters
    size = isinstance(described, VideoParameters) and described.width > 0
    codecs = [described.rfc6381]
    peak, average = bit_rates(video.window)
    if shared is not None:
        codecs.append(shared[1].init.parameters.rfc6381)
        sound = bit_rates(shared[1].window)
        peak, average = peak + sound[0], average + sound[1]
    metered = family.bit_rate(rung)
    if metered and not any(segment.complete for segment in video.window.segments):
        # All that there is so far is a keyframe and little more.
        peak, average = _rounded(HEADROOM * metered), _rounded(metered)
    return hls.Variant(
        uri=f"{place.to(family.name, rung)}video.m3u8{query}",
        bandwidth=peak,
        average_bandwidth=average,
        codecs=",".join(codecs),
        resolution=(described.display_width, described.height) if size and isinstance(described, VideoParameters) else None,
        frame_rate=each.frame_rate,
        audio=_AUDIO_GROUP if shared is not None else "",
    )


def _sound_variant(family: Family, place: Place, rung: str, audio: Rendition, query: str, *, in_group: bool) -> hls.Variant:
    peak, average = bit_rates(audio.window)
    return hls.Variant(
        uri=f"{place.to(family.name, rung)}audio.m3u8{query}",
        bandwidth=peak,
        average_bandwidth=average,
        codecs=audio.init.parameters.rfc6381,
        audio=_AUDIO_GROUP if in_group else "",
    )


def bit_rates(window: Window) -> tuple[int, int]:
    """Peak and average of what the window holds, bit/s, rounded up to whole kilobits."""
    segments, target = window.segments, window.target_duration
    state = (target, segments[0].sequence, window.next_sequence, segments[-1].complete) if segments else ()
    if window.measured is not None and window.measured[0] == state:
        return window.measured[1]
    filled = [segment for segment in segments if segment.duration and segment.nbytes]
    whole = [segment for segment in filled if segment.complete]
    measured = whole or filled
    seconds = sum(s.seconds for s in measured)
    average = 8 * sum(s.nbytes for s in measured) / seconds if seconds else 0.0
    found = _rounded(HEADROOM * (_peak(measured, target) or average)), _rounded(average)
    if whole:
        window.measured = state, found
    return found


def _peak(segments: Sequence[Segment], target: float) -> float:
    """The highest rate of segments in a row that last for 0.5 to 1.5 target durations together (RFC 8216, 4.3.4.2): what ends at
    a break may be a keyframe and little more, and says nothing of the rate. 0.0 where none last for so long."""
    least, most = 0.5 * target, 1.5 * target
    # Of segments that are long enough by themselves, none in a row have more than the one of them that has most.
    peak = max((8 * segment.nbytes / segment.seconds for segment in segments if segment.seconds >= least), default=0.0)
    for at, short in enumerate(segments):
        if short.seconds < least:
            peak = max(peak, _peak_around(segments, at, least, most))
    return peak


def _peak_around(segments: Sequence[Segment], at: int, least: float, most: float) -> float:
    """The highest rate of segments in a row, the one ``at`` among them, that last for ``least`` to ``most`` seconds together."""
    peak, before, first = 0.0, 0.0, at
    while first >= 0 and segments[at].sequence - segments[first].sequence == at - first and before <= most:
        seconds, nbytes, last = 0.0, 0, first
        while last < len(segments) and segments[last].sequence - segments[first].sequence == last - first and seconds <= most:
            seconds += segments[last].seconds
            nbytes += segments[last].nbytes
            if last >= at and least <= seconds <= most:
                peak = max(peak, 8 * nbytes / seconds)
            last += 1
        first -= 1
        before += segments[first].seconds if first >= 0 else 0.0
    return peak


def _rounded(bit_rate: float) -> int:
    return math.ceil(bit_rate / 1000) * 1000
