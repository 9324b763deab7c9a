"""A synthetic 720p30 H.264 + AAC stream whose frames carry a stamp: when they were sent, their number, their length.

Servers do not decode, so the slices are filler; everything that a server does read (FLV bodies, avcC, SPS, PPS, NAL unit
framing, AudioSpecificConfig) is what x264 and FFmpeg's AAC encoder write for such a stream. The stamp of a video frame sits in
an SEI message user_data_unregistered (H.264 D.1.7) in front of the slice, that of an audio frame in the raw AAC payload. It is
text in hex, so that it never needs emulation prevention.
"""

import random
from dataclasses import dataclass
from typing import Final

AUDIO: Final = 8
VIDEO: Final = 9
DATA: Final = 18

FRAME_RATE: Final = 30
GOP_FRAMES: Final = 60
SAMPLE_RATE: Final = 44100
SAMPLES_PER_FRAME: Final = 1024

_AVCC = bytes.fromhex("0164001fffe100186764001facb200a00b760220000003002000000781e3064901000668ebc3cb22c0fdf8f800")
VIDEO_HEADER: Final = bytes.fromhex("1700000000") + _AVCC
AUDIO_HEADER: Final = bytes.fromhex("af001210")

_UUID: Final = bytes.fromhex("6d65646961736572766572a062656e63")
_SEI: Final = bytes([6, 5, 48]) + _UUID  # NAL header, payload type 5, its size: UUID + stamp
#: ns since boot (16 digits), number within its kind (8), length of the FLV body (8)
STAMP_LENGTH: Final = 32
#: every body ends with its number once more: a body put together from the wrong chunks shows
TAIL_LENGTH: Final = 8
VIDEO_STAMP_AT: Final = 5 + 4 + len(_SEI)
AUDIO_STAMP_AT: Final = 2


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a frame says about itself."""

    sent_ns: int
    number: int
    length: int


def stamp_bytes(sent_ns: int, number: int, length: int) -> bytes:
    """The 32 bytes of a stamp."""
    return b"%016x%08x%08x" % (sent_ns, number & 0xFFFFFFFF, length)


def read_stamp(type_id: int, body: bytes) -> Stamp | None:
    """The stamp in an FLV body; None for a sequence header, ValueError for a frame that is not whole."""
    if body[1] != 1:
        return None
    at = VIDEO_STAMP_AT if type_id == VIDEO else AUDIO_STAMP_AT
    stamp = Stamp(int(body[at : at + 16], 16), int(body[at + 16 : at + 24], 16), int(body[at + 24 : at + 32], 16))
    if stamp.length != len(body):
        raise ValueError(f"frame {stamp.number} is {len(body)} bytes long, was sent with {stamp.length}")
    if int(body[-TAIL_LENGTH:], 16) != stamp.number:
        raise ValueError(f"frame {stamp.number} ends with another frame's bytes")
    return stamp


def last_stamp(data: bytes) -> Stamp | None:
    """The stamp of the last video frame within ``data``, of any container that keeps H.264 samples whole; None without one."""
    at = data.rfind(_UUID) + len(_UUID)
    if at < len(_UUID):
        return None
    return Stamp(int(data[at : at + 16], 16), int(data[at + 16 : at + 24], 16), int(data[at + 24 : at + 32], 16))


def timestamp(type_id: int, number: int) -> int:
    """Milliseconds of the frame with this number."""
    if type_id == VIDEO:
        return number * 1000 // FRAME_RATE
    return number * 1000 * SAMPLES_PER_FRAME // SAMPLE_RATE


def seconds(type_id: int, number: int) -> float:
    """When the frame with this number is due, in seconds from the start of its stream."""
    return number / FRAME_RATE if type_id == VIDEO else number * SAMPLES_PER_FRAME / SAMPLE_RATE


@dataclass(frozen=True, slots=True)
class Clip:
    """FLV bodies with room for a stamp: one GOP of video, a handful of audio frames; both repeat for ever."""

    video: tuple[bytes, ...]
    audio: tuple[bytes, ...]

    def body(self, type_id: int, number: int) -> bytes:
        frames = self.video if type_id == VIDEO else self.audio
        return frames[number % len(frames)]


def make_clip(bitrate: float, *, chunk_size: int = 4096) -> Clip:
    """A clip of ``bitrate`` bit/s in all. A keyframe weighs eight other frames; those vary by a third, always alike."""
    dice = random.Random(720)  # noqa: S311 - sizes, not secrets
    audio_bitrate = min(128_000.0, bitrate / 6)
    audio_size = audio_bitrate / 8 * SAMPLES_PER_FRAME / SAMPLE_RATE
    video_gop = (bitrate - audio_bitrate) / 8 * GOP_FRAMES / FRAME_RATE
    weights = [8.0] + [dice.uniform(0.67, 1.33) for _ in range(GOP_FRAMES - 1)]
    scale = video_gop / sum(weights)
    video = tuple(_video_body(number == 0, _size(weight * scale, chunk_size), dice) for number, weight in enumerate(weights))
    audio = tuple(_audio_body(max(48, int(audio_size * dice.uniform(0.9, 1.1))), dice) for _ in range(43))
    return Clip(video, audio)


def _size(wanted: float, chunk_size: int) -> int:
    """Near ``wanted``, but so that the tail does not straddle two chunks (the publisher patches it in place)."""
    size = max(160, int(wanted))
    return size + 16 if 0 < size % chunk_size < 16 else size


def _filler(length: int, dice: random.Random) -> bytes:
    """Bytes as an entropy coder leaves them, without a zero: no start code and nothing to escape."""
    return dice.randbytes(length).replace(b"\0", b"\x5a")


def _video_body(keyframe: bool, length: int, dice: random.Random) -> bytes:
    sei = _SEI + bytes(STAMP_LENGTH) + b"\x80"
    head = bytes([0x17 if keyframe else 0x27, 1, 0, 0, 0]) + len(sei).to_bytes(4, "big") + sei
    nal_length = length - len(head) - 4
    slice_head = b"\x65\x88\x84" if keyframe else b"\x41\x9a\x24"
    filler = _filler(nal_length - len(slice_head) - TAIL_LENGTH, dice)
    return head + nal_length.to_bytes(4, "big") + slice_head + filler + bytes(TAIL_LENGTH)


def _audio_body(length: int, dice: random.Random) -> bytes:
    return b"\xaf\x01" + bytes(STAMP_LENGTH) + _filler(length - 2 - STAMP_LENGTH - TAIL_LENGTH, dice) + bytes(TAIL_LENGTH)
