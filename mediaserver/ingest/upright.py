"""Decoded pictures as every player shows them: upright, of whole frames, and of a form that is asked for. In a worker process."""

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import cast

import av
from av.buffer import Buffer
from av.sidedata.sidedata import Type

#: Colours of high and of standard definition (ITU-T H.273): their number, alike for matrix, primaries and transfer.
BT709, BT601 = 1, 6
#: Narrow range, as FFmpeg numbers it.
NARROW = 1
#: What FFmpeg's filters call the colours.
COLOUR_NAMES = {BT709: "bt709", BT601: "smpte170m"}
#: Matrices that FFmpeg's filters know.
_MATRICES = frozenset({1, 4, 5, 6, 7, 9})
#: From so many lines on, players take a picture that does not say its colours for ITU-R BT.709.
_HIGH_DEFINITION = 720
#: What brings a picture upright, by the signs of a display matrix (a, b, c, d: where the axes go); see FFmpeg's display.h.
_TURNS: dict[tuple[int, int, int, int], "Filters"] = {
    (1, 0, 0, 1): (),
    (-1, 0, 0, -1): ("hflip", "vflip"),
    (-1, 0, 0, 1): ("hflip",),
    (1, 0, 0, -1): ("vflip",),
    (0, 1, -1, 0): ("transpose=clock",),
    (0, -1, 1, 0): ("transpose=cclock",),
    (0, 1, 1, 0): ("transpose=cclock_flip",),
    (0, -1, -1, 0): ("transpose=clock_flip",),
}

Filters = Sequence[str]


def usual_colours(height: int) -> int:
    """BT709 or BT601: what players take a picture of ``height`` lines for that does not say."""
    return BT709 if height >= _HIGH_DEFINITION else BT601


def is_rgb(frame: av.VideoFrame) -> bool:
    """Whether ``frame`` has red, green and blue, or numbers of such colours."""
    return frame.format.is_rgb or frame.format.has_palette


def turn(frame: av.VideoFrame) -> Filters:
    """The filters that bring ``frame`` upright; a slant is left as it is."""
    matrix = cast("Mapping[Type, Buffer]", frame.side_data).get(Type.DISPLAYMATRIX)
    if matrix is None:
        return ()
    a, b, _, c, d = struct.unpack_from("=5i", bytes(matrix))
    half = max(abs(a), abs(b)) / 2
    return _TURNS.get((_sign(a, half), _sign(b, half), _sign(c, half), _sign(d, half)), ())


def _sign(value: int, least: float) -> int:
    return 0 if abs(value) < least else 1 if value > 0 else -1


class Upright:
    """Pictures of one source, straightened, then put through the filters that ``finishing`` names for pictures like that one.

    ``pixel_aspect`` is that of the pictures that came out last.
    """

    def __init__(self, finishing: Callable[[av.VideoFrame], Filters]) -> None:
        self._finishing = finishing
        self._interlaced = False
        self._turn: Filters = ()
        self._graph: av.filter.Graph | None = None
        self._graph_for: Filters = ()
        self.pixel_aspect = Fraction(1)

    def feed(self, frame: av.VideoFrame, pixel_aspect: Fraction | None) -> Iterator[av.VideoFrame]:
        """What is ready after one more picture, whose time must be set."""
        self._interlaced |= frame.interlaced_frame
        if frame.key_frame:
            self._turn = turn(frame)  # said with a keyframe, it holds until the next one
        if frame.colorspace not in _MATRICES and not is_rgb(frame):
            frame.colorspace = usual_colours(frame.height)
        straighten = (*(("bwdif=mode=send_frame:deint=interlaced",) if self._interlaced else ()), *self._turn)
        aspect = pixel_aspect or Fraction(1)
        shape = (_source(frame, aspect), *straighten, *self._finishing(frame))
        if self._graph is None or shape != self._graph_for:
            yield from self.finish()
            self._graph, self._graph_for = _graph(*shape), shape
            self.pixel_aspect = 1 / aspect if any(each.startswith("transpose") for each in self._turn) else aspect
        self._graph.push(frame)
        yield from _pull(self._graph)

    def finish(self) -> Iterator[av.VideoFrame]:
        """What is left inside."""
        if self._graph is not None:
            self._graph.push(None)
            yield from _pull(self._graph)
            self._graph = None


def _source(frame: av.VideoFrame, aspect: Fraction) -> str:
    """What a graph has to know about the pictures that come into it."""
    source = f"{frame.width}x{frame.height}:pix_fmt={frame.format.name}:time_base={frame.time_base}"
    return f"buffer=video_size={source}:pixel_aspect={aspect}:colorspace={int(frame.colorspace)}:range={int(frame.color_range)}"


def _graph(*filters: str) -> av.filter.Graph:
    graph = av.filter.Graph()
    graph.threads = 1
    parts = (each.partition("=") for each in (*filters, "buffersink"))
    graph.link_nodes(*(graph.add(name, options or None) for name, _, options in parts)).configure()
    return graph


def _pull(graph: av.filter.Graph) -> Iterator[av.VideoFrame]:
    while True:
        try:
            yield graph.vpull()
        except (av.BlockingIOError, av.EOFError):
            return
