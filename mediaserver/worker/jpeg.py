"""Decoded pictures as JPEG images. For workers alone: nothing here may run in the server's process."""

from fractions import Fraction

import av
import numpy as np

#: The encoder's quantiser, from 2 (best) to 31, times FFmpeg's FF_QP2LAMBDA.
_QUALITY = 4 * 118
#: From so many lines on, a picture that does not say its colours is taken for ITU-R BT.709, as players do.
_HIGH_DEFINITION = 720
_UNSPECIFIED = 2


def upright(frame: av.VideoFrame) -> av.VideoFrame:
    """``frame`` turned as its display orientation asks (ITU-T H.264, D.1.27)."""
    turns = round(frame.rotation / 90) % 4
    if not turns:
        return frame
    turned = np.rot90(frame.to_ndarray(format="rgb24"), turns).astype(np.uint8, order="C")
    return av.VideoFrame.from_ndarray(turned, "rgb24")


def scaled(frame: av.VideoFrame, width: int, aspect: Fraction | None) -> av.VideoFrame:
    """``frame`` with square pixels, at most ``width`` of them wide and never more than it has, sizes even, in the colours of
    JPEG (JFIF 1.02: BT.601, full range). ``aspect`` is that of its pixels; None or 0: square."""
    shown = round(frame.width * aspect) if aspect else frame.width
    across = max(2, min(width, shown) // 2 * 2)
    down = max(2, round(frame.height * across / shown / 2) * 2)
    return _converted(frame, across, down)


def encode(frame: av.VideoFrame) -> bytes:
    """``frame`` as a JPEG image. The same picture gives the same bytes."""
    if frame.format.name != "yuvj420p":
        frame = _converted(frame, frame.width, frame.height)
    context = av.CodecContext.create("mjpeg", "w")
    if not isinstance(context, av.VideoCodecContext):
        raise TypeError("this FFmpeg encodes no JPEG")
    context.width, context.height, context.pix_fmt = frame.width, frame.height, "yuvj420p"
    context.time_base, context.thread_count = Fraction(1, 25), 1
    context.options = {"flags": "+qscale", "global_quality": str(_QUALITY)}
    frame.pts = 0
    return b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)])


def _converted(frame: av.VideoFrame, width: int, height: int) -> av.VideoFrame:
    guess = frame.colorspace == _UNSPECIFIED and frame.height >= _HIGH_DEFINITION and "rgb" not in frame.format.name
    return frame.reformat(
        width,
        height,
        "yuvj420p",
        src_colorspace="ITU709" if guess else None,
        dst_colorspace="ITU601",
        interpolation="AREA",
        dst_color_range="JPEG",
        threads=1,
    )
