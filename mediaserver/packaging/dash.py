"""A Family's windows as a DASH MPD over the same bytes.

What players make of a SegmentTimeline in low latency (dash.js 5 read and run): it asks for a segment when its announced
end minus availabilityTimeOffset has come, reads a chunked answer as it grows when availabilityTimeComplete is false, and
refreshes the MPD once a second at most. So the segment in the making is announced with the duration that it will
likely have, and one more behind it, which a player asks for at the moment it begins. A prediction that is too long does
no harm; one that is too short would make dash.js fetch a segment twice, so the longest of the last few is taken. By the time
that was predicted a segment is found as by its own.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from mediaserver.packaging.family import HOME, SOURCE, Family, Folder, Place
from mediaserver.packaging.framerate import past_rate
from mediaserver.packaging.hls import bit_rates
from mediaserver.packaging.packager import Packager
from mediaserver.packaging.segment import Epoch, Segment
from mediaserver.packaging.window import Window
from protocols import dash
from protocols.codec import AudioParameters, VideoParameters

#: Seconds behind the producer: what chunked transfer over one hop can hold, and never less than this many parts.
TARGET_LATENCY = 2.0
LATENCY_PARTS = 5

#: Where players ask for the server's time.
CLOCK_URL = "/api/time"

#: How many segments a duration is predicted from.
_LOOK_BACK = 4


class _Listed(NamedTuple):
    """A window that stands in the MPD: its Representation's id, where its folder is, and its pictures a second."""

    id: str
    folder: str
    window: Window
    frame_rate: float = 0.0


def mpd(family: Family, now: float, place: Place = HOME) -> str:
    """The MPD of all renditions, or (in a rendition's own folder) of that one. ``now`` is Unix time in seconds."""
    packager, listed = family.leader, _listed(family, place)
    windows = [each.window for each in listed]
    epochs = {segment.epoch.period: segment.epoch for window in windows for segment in window.visible()}
    start = packager.epochs.availability_start
    last = max(epochs)
    periods = tuple(_period(packager, listed, epochs[period], start, last=period == last) for period in sorted(epochs))
    longest = max(window.target_duration for window in windows)
    target = max(TARGET_LATENCY, LATENCY_PARTS * packager.part_target) + family.ahead(SOURCE)
    return dash.render(
        dash.Mpd(
            availability_start=start,
            publish_time=now,
            clock_url=CLOCK_URL,
            periods=periods,
            minimum_update_period=1.0,
            time_shift_buffer_depth=_depth(packager, windows),
            suggested_presentation_delay=target,
            max_segment_duration=longest,
            min_buffer_time=packager.part_target,
            latency=dash.Latency(target, target / 2, max(3 * target, longest)),
            duration=_duration(windows, start) if packager.ended else None,
        )
    )


def _listed(family: Family, place: Place) -> list[_Listed]:
    listed = [
        _Listed(f"video-{rung}" if rung else "video", place.to(family.name, rung), video.window, each.frame_rate)
        for rung, each, video in family.pictures(place)
    ]
    # One sound for all; a rendition that is sound alone is that itself.
    sounds = family.sounds()
    own = [each for each in sounds if place.folder is Folder.OWN and each[0] == place.rung]
    return listed + [_Listed("audio", place.to(family.name, rung), audio.window) for rung, audio in (own or sounds)[:1]]


def _depth(packager: Packager, windows: list[Window]) -> float:
    """How far back one can go. Not only as far as a young stream has come: dash.js keeps its latency below this."""
    settings = packager.settings
    present = max(sum(segment.seconds for segment in window.visible()) for window in windows)
    return max(present, settings.window * settings.segment_duration, settings.dvr)


def _duration(windows: list[Window], start: float) -> float:
    """Until when a presentation that is over can be played, seconds."""
    last = (window.segments[-1] for window in windows)
    return max(each.epoch.anchor + (each.time + each.duration) / each.init.timescale for each in last) - start


def _period(packager: Packager, listed: list[_Listed], epoch: Epoch, start: float, *, last: bool) -> dash.Period:
    """What goes on is the last Period, unless its publisher is away or a discontinuity has just been."""
    now = packager.epochs.current
    live = last and not packager.ended and now is not None and now.number == epoch.number
    if not last:
        listed = [each._replace(frame_rate=_past_rate(each, epoch)) for each in listed]
    representations = tuple(_representations(packager, listed, epoch, live=live))
    return dash.Period(f"p{epoch.period}", max(0.0, epoch.anchor + (epoch.begin or 0.0) - start), representations)


def _past_rate(each: _Listed, epoch: Epoch) -> float:
    """What its pictures a second were in a Period that is over."""
    segments = [segment for segment in each.window.visible() if segment.epoch is epoch]
    return past_rate(segments) if each.frame_rate and segments else 0.0


def _representations(packager: Packager, listed: list[_Listed], epoch: Epoch, *, live: bool) -> Iterator[dash.Representation]:
    for each in listed:
        window = each.window
        segments = [segment for segment in window.visible() if segment.epoch is epoch]
        if not segments:
            continue
        init = segments[-1].init
        segments = [segment for segment in segments if segment.init is init]
        parameters = init.parameters
        predicted = _predict(window, segments) if live else 0
        video = parameters if isinstance(parameters, VideoParameters) else None
        audio = parameters if isinstance(parameters, AudioParameters) else None
        yield dash.Representation(
            id=each.id,
            content_type=window.kind,
            codecs=parameters.rfc6381,
            bandwidth=max(bit_rates(window)[0], 1),
            timescale=init.timescale,
            timeline=_timeline(window, segments, predicted),
            initialization=f"{each.folder}{window.kind}/init-{init.index}.mp4",
            media=f"{each.folder}{window.kind}/{init.index}-$Time$.m4s",
            presentation_time_offset=round((epoch.begin or 0.0) * init.timescale),
            availability_time_offset=max(0.0, predicted / init.timescale - packager.part_target),
            width=video.width if video is not None else 0,
            height=video.height if video is not None else 0,
            frame_rate=each.frame_rate,
            sample_rate=audio.sample_rate if audio is not None else 0,
            channels=audio.channels if audio is not None else 0,
            independent=all(segment.independent for segment in segments),
        )


def _predict(window: Window, segments: list[Segment]) -> int:
    """The duration that the segment in the making will likely have, timescale units."""
    whole = [segment.duration for segment in segments if segment.complete][-_LOOK_BACK:]
    usual = max(whole, default=round(window.segment_duration * segments[-1].init.timescale))
    return max(usual, segments[-1].duration)


def _timeline(window: Window, segments: list[Segment], predicted: int) -> dash.Timeline:
    """``segments`` and, if there is anything to be expected, what comes next.

    Segments are named by their times, and not by numbers: FFmpeg loses count when it reads the MPD anew.
    """
    last = segments[-1]
    starts = [segment.named_time for segment in segments]
    end = last.named_time + (predicted if predicted and not last.complete else last.duration)
    if predicted:
        for ahead in range(1, 3 if last.complete else 2):
            starts.append(window.times.take(last.init.index, end, last.sequence + ahead))
            end = starts[-1] + predicted
    # From start to start, so that the timeline has no seams even where a clock was set right.
    return dash.Timeline(starts[0], tuple(following - start for start, following in pairwise([*starts, end])))
