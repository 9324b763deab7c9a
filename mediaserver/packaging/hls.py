"""A Packager's windows as HLS playlists: rendered once per change, however many players ask."""

import math
from collections.abc import Iterator

from mediaserver.packaging.packager import Packager
from mediaserver.packaging.segment import Segment
from mediaserver.packaging.window import LEAST_SEGMENTS, Window
from protocols import hls
from protocols.codec import AudioParameters, VideoParameters
from protocols.media import MediaKind

#: The smallest distance to the end that RFC 8216bis lets a server advise, in parts and in target durations (4.4.3.8).
PART_HOLD_BACK = 3.0
HOLD_BACK = 3.0

#: A delta update leaves out what is older than this many target durations (4.4.3.8 asks for six).
SKIP_UNTIL = 6

#: A stream is peaky: what its busiest segment so far had, and a tenth.
HEADROOM = 1.1

_AUDIO_GROUP = "audio"


def media_playlist(packager: Packager, window: Window, *, delta: bool) -> str:
    """The playlist of one track; ``delta`` as far as there is anything to leave out."""
    segments = window.visible()
    target = window.target_duration
    part_target = packager.part_target
    can_skip = can_skip_until(packager, window)
    skipped = _skippable(segments, can_skip) if delta and can_skip else 0
    whole = len(segments) - (window.growing is not None)
    gaps = 0 if window.ended else max(0, LEAST_SEGMENTS - whole)
    head = hls.MediaHead(
        target_duration=target,
        media_sequence=segments[0].sequence - gaps,
        discontinuity_sequence=discontinuity_sequence(packager, segments[0]),
        part_target=part_target,
        control=hls.ServerControl(
            part_hold_back=PART_HOLD_BACK * part_target, hold_back=HOLD_BACK * target, can_skip_until=can_skip
        ),
        independent_segments=all(segment.independent for segment in segments),
        skipped=skipped,
    )
    entries = [*_gaps(window, segments[0].sequence, gaps), *_entries(window, segments, skipped)]
    if window.ended:
        return hls.media_playlist(head, entries, ended=True)
    sequence, part = window.position()
    hint = hls.PreloadHint(f"{window.kind}/{sequence}.{part}.m4s")
    return hls.media_playlist(head, entries, hint, _reports(packager, window))


def _gaps(window: Window, first: int, count: int) -> Iterator[str]:
    """What would have been there, had the stream begun earlier."""
    for sequence in range(first - count, first):
        uri = f"{window.kind}/{sequence}.m4s"
        yield hls.segment_entry(hls.Segment(uri, window.segment_duration, gap=True))


def _entries(window: Window, segments: list[Segment], skipped: int) -> Iterator[str]:
    recent = window.recent()[0].sequence
    for index, segment in enumerate(segments[skipped:]):
        # The init segment must be named even if the segment that first had it has left.
        with_map = index == 0 and not skipped and not segment.new_init
        if segment.complete and segment.sequence < recent and not with_map:
            yield segment.entry()
            continue
        yield segment.head(with_map=with_map)
        if segment.sequence >= recent:
            yield segment.part_lines()
        if segment.complete:
            yield segment.tail()


def can_skip_until(packager: Packager, window: Window) -> float:
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


def discontinuity_sequence(packager: Packager, segment: Segment) -> int:
    """EXT-X-DISCONTINUITY-SEQUENCE for a playlist that begins with ``segment``: its tags are still in the playlist."""
    return packager.first.discontinuity + segment.epoch.number - segment.discontinuities


def _reports(packager: Packager, window: Window) -> Iterator[hls.RenditionReport]:
    for other in packager.windows:
        if other is window or not other.started:
            continue
        sequence, part = other.position()
        if part:
            yield hls.RenditionReport(f"{other.kind}.m3u8", sequence, part - 1)
        else:
            before = other.get(sequence - 1)
            yield hls.RenditionReport(f"{other.kind}.m3u8", sequence - 1, len(before.parts) - 1 if before is not None else None)


# -- the multivariant playlist ---------------------------------------------------------------------------------------------


def multivariant_playlist(packager: Packager) -> str:
    """One variant: video with audio as a group of its own, or either alone."""
    started = {kind: r for kind, r in packager.renditions.items() if r.window.started}
    video, audio = started.get(MediaKind.VIDEO), started.get(MediaKind.AUDIO)
    rates = [bit_rates(rendition.window) for rendition in started.values()]
    peak, average = sum(rate[0] for rate in rates), sum(rate[1] for rate in rates)
    codecs = ",".join(r.init.parameters.rfc6381 for r in (video, audio) if r is not None)
    renditions = []
    resolution = None
    if video is not None and audio is not None:
        channels = audio.init.parameters.channels if isinstance(audio.init.parameters, AudioParameters) else 0
        renditions.append(hls.Rendition("AUDIO", _AUDIO_GROUP, "Audio", "audio.m3u8", channels=str(channels) if channels else ""))
    if video is not None and isinstance(video.init.parameters, VideoParameters) and video.init.parameters.width:
        resolution = (video.init.parameters.display_width, video.init.parameters.height)
    variant = hls.Variant(
        uri="audio.m3u8" if video is None else "video.m3u8",
        bandwidth=peak,
        average_bandwidth=average,
        codecs=codecs,
        resolution=resolution,
        frame_rate=0.0 if video is None else packager.frame_rate,
        audio=_AUDIO_GROUP if renditions else "",
    )
    return hls.multivariant_playlist([variant], renditions)


def bit_rates(window: Window) -> tuple[int, int]:
    """Peak and average of what the window holds, bit/s, rounded up to whole kilobits."""
    whole = [s for s in window.segments if s.complete and s.duration] or [s for s in window.segments if s.duration]
    peak = max((8 * s.nbytes / s.seconds for s in whole), default=0.0)
    seconds = sum(s.seconds for s in whole)
    average = 8 * sum(s.nbytes for s in whole) / seconds if seconds else 0.0
    return math.ceil(HEADROOM * peak / 1000) * 1000, math.ceil(average / 1000) * 1000
