"""Decoded sound as an encoder takes it, though its source may change its rate or its channels. In a worker process."""

from collections.abc import Iterator
from fractions import Fraction

import av


class EvenSound:
    """Sound of any kind as frames of one sample format, layout and rate, each of ``size`` samples, without times."""

    def __init__(self, sample_format: str, layout: str, rate: int, size: int) -> None:
        self._kind = sample_format, layout, rate
        self._size = size
        self._resampler: av.AudioResampler | None = None
        self._resampler_for: tuple[int, str, str] | None = None
        # Encoders take frames of their size alone, save the last one; what is left by one resampler waits for the next.
        self._waiting = av.AudioFifo()

    def feed(self, frame: av.AudioFrame) -> Iterator[av.AudioFrame]:
        """The frames that ``frame`` completes."""
        kind = frame.sample_rate, frame.layout.name, frame.format.name
        if self._resampler is None or kind != self._resampler_for:
            self._resample(None)
            self._resampler, self._resampler_for = av.AudioResampler(*self._kind), kind
        frame.pts = None
        self._resample(frame)
        while (piece := self._waiting.read(self._size)) is not None:
            yield piece

    def finish(self) -> Iterator[av.AudioFrame]:
        """What is left; the last frame may be shorter."""
        self._resample(None)
        self._resampler = None
        yield from self._waiting.read_many(self._size, partial=True)

    def _resample(self, frame: av.AudioFrame | None) -> None:
        for piece in self._resampler.resample(frame) if self._resampler is not None else ():
            piece.pts, piece.time_base = None, Fraction(1, piece.sample_rate)
            self._waiting.write(piece)
