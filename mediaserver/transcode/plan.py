"""What the server tells a transcoder's process to make, and what that has found out: values that cross as JSON."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from protocols.media import Codec

#: The lane on which the source goes to the process.
SOURCE_LANE = 0
#: The lane on which encoded sound comes back that suits everybody; pictures, and sound alone of a bit rate that was asked for,
#: come on the lanes of their rungs, from 1 on.
AUDIO_LANE = 255
#: Pixels a second that a slow core encodes in time with x264's veryfast: a little more than 1280x720, 854x480, 640x360 at 30.
_CORE = 50_000_000.0
#: What others take of it, relative to that.
_EFFORT = {"ultrafast": 0.4, "superfast": 0.8, "veryfast": 1.0, "faster": 1.5, "fast": 1.9, "medium": 2.2, "slow": 4.0}
_CODEC_EFFORT = {Codec.H264: 1.0, Codec.HEVC: 3.0, Codec.AV1: 3.0}
#: A rung may take so much of a core before it gets a second one for itself; and how many it gets at most.
_ALONE, _MOST_THREADS = 1.5, 4


@dataclass(frozen=True, slots=True)
class Lane:
    """One rung to encode. ``fallback`` takes over from ``encoder`` if that fails ("": nobody does); each is FFmpeg's name, or
    "MODULE:FACTORY". ``frame_rate`` is a cap (0: none), ``rate`` what the source has, as a hint."""

    number: int
    rung: str
    codec: Codec
    encoder: str
    fallback: str
    width: int
    height: int
    bitrate: int
    rate: float
    frame_rate: float = 0.0
    constant_bitrate: bool = False
    preset: str = "veryfast"

    @property
    def work(self) -> float:
        """What encoding it takes of a core, by a cautious estimate."""
        pixels = self.width * self.height * (self.frame_rate or self.rate or 30.0)
        return pixels / _CORE * _EFFORT[self.preset] * _CODEC_EFFORT[self.codec]

    @property
    def threads(self) -> int:
        """How many threads its encoder has: one, which wastes nothing, where one keeps up."""
        return min(_MOST_THREADS, max(1, round(self.work / _ALONE)))


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything to make, the largest picture first. It answers the process's report with the same ``number``."""

    number: int
    lanes: tuple[Lane, ...]
    keyframe_interval: float = 0.0

    def as_values(self) -> dict[str, object]:
        """For a Note."""
        lanes = [{**asdict(lane), "codec": lane.codec.value} for lane in self.lanes]
        return {"plan": {**asdict(self), "lanes": lanes}}


def read_plan(values: Mapping[str, Any]) -> Plan | None:
    """The Plan in a Note, if it holds one."""
    if "plan" not in values:
        return None
    plan = dict(values["plan"])
    lanes = tuple(Lane(**{**lane, "codec": Codec(lane["codec"])}) for lane in plan.pop("lanes"))
    return Plan(lanes=lanes, **plan)


def sounds_as_values(sounds: Mapping[int, int], codec: Codec = Codec.AAC) -> dict[str, object]:
    """For a Note: the lanes of sound to make, each with its bits a second (0: what suits its channels), and their codec."""
    return {"sounds": list(sounds.items()), "audio_codec": codec.value}


def read_sounds(values: Mapping[str, Any]) -> dict[int, int] | None:
    """The lanes of sound in a Note, if it is about them."""
    return {int(lane): int(bitrate) for lane, bitrate in values["sounds"]} if "sounds" in values else None


@dataclass(frozen=True, slots=True)
class Sight:
    """What the decoder saw: pixels, how far they must be turned, whether they are fields, who decodes."""

    width: int
    height: int
    rotation: int
    interlaced: bool
    pixel_aspect: tuple[int, int]
    frame_rate: float
    decoder: str

    def as_values(self, number: int) -> dict[str, object]:
        """For a Note; the Plan that answers it has the same number."""
        return {"sight": {**asdict(self), "number": number}}


def read_sight(values: Mapping[str, Any]) -> tuple[int, Sight] | None:
    """The Sight in a Note and its number, if it holds one."""
    if "sight" not in values:
        return None
    sight = dict(values["sight"])
    number = sight.pop("number")
    return number, Sight(**{**sight, "pixel_aspect": tuple(sight["pixel_aspect"])})
