"""Players that look at what they get: decoded frame numbers, times, sound."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import av
import numpy as np

from tests.media import frame_number
from tests.peers import wait_until

#: Seconds that a player waits for a server that says nothing.
PATIENCE = 30.0


@dataclass(slots=True)
class Seen:
    """What a player decoded: the numbers in the pictures with their times in seconds, and the sound's spans in seconds."""

    numbers: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    sound: list[tuple[float, float]] = field(default_factory=list)
    codecs: list[str] = field(default_factory=list)

    @property
    def seconds_of_sound(self) -> float:
        return sum(length for _, length in self.sound)

    def head(self, length: float, frame_rate: int = 25) -> "Seen":
        """The first ``length`` seconds: where a recording was cut, B-pictures may be missing."""
        sound = [span for span in self.sound if span[0] - self.sound[0][0] <= length]
        count = round(length * frame_rate)
        return Seen(self.numbers[:count], self.times[:count], self.sizes, sound, self.codecs)

    def add_picture(self, frame: av.VideoFrame) -> None:
        luma = np.asarray(frame.to_ndarray(format="gray"), np.uint8)
        self.numbers.append(frame_number(luma[: frame.height, : frame.width]))
        self.times.append(float(frame.time or 0))
        if (frame.width, frame.height) not in self.sizes[-1:]:
            self.sizes.append((frame.width, frame.height))


def breaks(numbers: Sequence[int], period: int) -> list[tuple[int, int]]:
    """Where a picture is not followed by the next one of a clip of ``period`` pictures that is sent over and over."""
    return [(one, two) for one, two in pairwise(numbers) if two != (one + 1) % period]


def complaints(
    seen: Seen, *, period: int = 0, gop: int = 25, frame_rate: int = 25, sound: bool = True, least: float = 1.0
) -> list[str]:
    """What is wrong with an unbroken stretch of a stream. ``period`` 0: a stream without pictures."""
    wrong = [f"a stream of {codec}" for codec in seen.codecs if codec in ("text", "ass", "subrip")]
    if period:
        if len(seen.numbers) < least * frame_rate:
            wrong.append(f"only {len(seen.numbers)} pictures")
        if lost := breaks(seen.numbers, period):
            wrong.append(f"pictures lost or doubled at {lost}")
        steps = [round(two - one, 3) for one, two in pairwise(seen.times)]
        # FLV counts in milliseconds.
        if odd := [step for step in steps if abs(step - 1 / frame_rate) > 0.002]:
            wrong.append(f"steps in time of {odd}")
        if seen.numbers and seen.numbers[0] % gop:
            wrong.append(f"the first picture, {seen.numbers[0]}, was no keyframe")
    elif seen.numbers:
        wrong.append("pictures in a stream without any")
    if not sound:
        return [*wrong, "sound in a stream without any"] if seen.sound else wrong
    if seen.seconds_of_sound < least:
        wrong.append(f"only {seen.seconds_of_sound:.2f} s of sound")
    wrong += [
        f"sound broken at {one:.3f} + {length:.3f} → {two:.3f}"
        for (one, length), (two, _) in pairwise(seen.sound)
        if abs(two - one - length) > 0.003
    ]
    return wrong


def watch(source: str | Path | BinaryIO, *, enough: Callable[[Seen], bool] = lambda _: False, **options: Any) -> Seen:
    """Play ``source`` (anything that FFmpeg opens) until ``enough``, or its end."""
    seen = Seen()
    with av.open(str(source) if isinstance(source, Path) else source, timeout=PATIENCE, **options) as container:
        seen.codecs = [stream.codec_context.name for stream in container.streams]
        for packet in container.demux():
            for frame in packet.decode():
                if isinstance(frame, av.VideoFrame):
                    seen.add_picture(frame)
                elif isinstance(frame, av.AudioFrame):
                    seen.sound.append((float(frame.time or 0), frame.samples / frame.sample_rate))
            if enough(seen):
                break
    return seen


def seconds(wanted: float, *, frame_rate: int = 25, pictures: bool = True, sound: bool = True) -> Callable[[Seen], bool]:
    """Enough is so many seconds of everything that there should be."""

    def enough(seen: Seen) -> bool:
        return (not pictures or len(seen.numbers) >= wanted * frame_rate) and (not sound or seen.seconds_of_sound >= wanted)

    return enough


class LivePlayer:
    """Plays in a thread for as long as a test wants. ``seen`` grows meanwhile; ``error`` is what ended it, if anything did."""

    def __init__(self, source: str, options: Mapping[str, str] | None = None) -> None:
        self.seen = Seen()
        self.error: Exception | None = None
        self._source = source
        self._options = dict(options or {})
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._play, name=f"player of {source}", daemon=True)

    def __enter__(self) -> "LivePlayer":
        self._thread.start()
        return self

    def __exit__(self, *exc_details: object) -> None:
        self._stopped.set()
        self._thread.join(PATIENCE + 5)

    @property
    def playing(self) -> bool:
        return self._thread.is_alive()

    def _play(self) -> None:
        try:
            watch(self._source, enough=self._take, options=self._options)
        except (av.error.FFmpegError, OSError) as error:
            self.error = error

    def _take(self, seen: Seen) -> bool:
        self.seen = seen
        return self._stopped.is_set()

    def wait_for(self, pictures: int, what: str = "pictures", timeout: float = PATIENCE) -> None:
        """Wait until that many more pictures have come."""
        wanted = len(self.seen.numbers) + pictures
        wait_until(lambda: len(self.seen.numbers) >= wanted or not self.playing, what, timeout)
        assert len(self.seen.numbers) >= wanted, f"the player of {self._source} ended ({self.error}) while waiting for {what}"

    def wait_end(self, timeout: float = PATIENCE) -> None:
        """Wait until the stream has ended for this player."""
        wait_until(lambda: not self.playing, f"the player of {self._source} to be told of the end", timeout)
