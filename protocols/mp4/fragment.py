"""CMAF (ISO/IEC 23000-19): the init segment of a track, and runs of samples as moof + mdat."""

import functools
import struct
from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

from protocols.codec import AudioParameters, VideoParameters, parameters
from protocols.errors import LocalProtocolError
from protocols.media import MediaKind, Track
from protocols.mp4 import boxes
from protocols.mp4.sample_entry import audio_sample_entry, video_sample_entry

VIDEO_TIMESCALE = 90000
DEFAULT_AUDIO_TIMESCALE = 48000
TRACK_IDS = {MediaKind.VIDEO: 1, MediaKind.AUDIO: 2}

# sample_flags (14496-12, 8.8.3.1): sample_depends_on in bits 25 and 24, sample_is_non_sync_sample in bit 16
SYNC = 0x02000000
NON_SYNC = 0x01010000

_BRANDS = (b"iso6", b"cmfc")
_NTP_EPOCH = 2_208_988_800  # seconds from 1900 to 1970

_CONSISTENT_OFFSET = 8  # prft flags: not the encoder's own time, but always as far from it

# moof, mfhd, traf, tfhd (with default duration, size, flags), tfdt v1, and trun v1 up to its data offset
_MOOF = struct.Struct(">I4s I4sII I4s I4sIIIII I4sIQ I4sIII")
_TFHD_FLAGS = 0x020000 | 0x08 | 0x10 | 0x20  # default-base-is-moof, default duration, size and flags present
_TFDT_V1 = 1 << 24
_TRUN_V1 = 1 << 24 | 0x01  # data offset present
_FIRST_FLAGS, _DURATION, _SIZE, _FLAGS, _OFFSET = 0x04, 0x100, 0x200, 0x400, 0x800


class Sample(NamedTuple):
    """One access unit; times in units of the track's timescale. ``composition_offset`` may be negative."""

    data: bytes
    duration: int
    composition_offset: int
    keyframe: bool


def timescale(track: Track) -> int:
    """Units a second: 90000 for video, the output sample rate for audio (48000 while it is unknown)."""
    described = parameters(track)
    return VIDEO_TIMESCALE if isinstance(described, VideoParameters) else described.sample_rate or DEFAULT_AUDIO_TIMESCALE


def init_segment(track: Track) -> bytes:
    """ftyp + moov for one track. RemoteProtocolError if the track's configuration is malformed or says too little."""
    described = parameters(track)
    scale = VIDEO_TIMESCALE if isinstance(described, VideoParameters) else described.sample_rate
    return boxes.ftyp(b"ftyp", _BRANDS[0], *_BRANDS) + boxes.box(
        b"moov",
        boxes.mvhd(scale, TRACK_IDS[track.kind] + 1),
        track_box(track),
        boxes.box(b"mvex", extends_box(track)),
    )


def track_box(track: Track, first: int = 0) -> bytes:
    """The trak of a track that has no samples of its own, played from the media time ``first`` (its timescale) on.

    RemoteProtocolError as ``init_segment``.
    """
    described = parameters(track)
    if isinstance(described, AudioParameters):
        entry, handler, video, scale = audio_sample_entry(track, described), (b"soun", b"audio"), None, described.sample_rate
    else:
        entry, handler, video, scale = video_sample_entry(track, described), (b"vide", b"video"), described, VIDEO_TIMESCALE
    media = boxes.box(b"mdia", boxes.mdhd(scale), boxes.hdlr(*handler), boxes.minf(video is not None, entry))
    edits = boxes.edts((0, first)) if first else b""
    return boxes.box(b"trak", boxes.tkhd(TRACK_IDS[track.kind], video), edits, media)


def extends_box(track: Track) -> bytes:
    """The trex of a track: what its fragments say when they say nothing."""
    return boxes.trex(TRACK_IDS[track.kind], SYNC if track.kind is MediaKind.AUDIO else NON_SYNC)


def fragment(sequence_number: int, track: Track, base_decode_time: int, samples: Sequence[Sample]) -> bytes:
    """moof + mdat. ``base_decode_time`` is the first sample's dts in the track's timescale.

    What is the same for all samples is written once. LocalProtocolError for no samples or numbers that do not fit.
    """
    run = run_of(track.codec.kind, samples)
    try:
        head = _moof(sequence_number, TRACK_IDS[track.codec.kind], base_decode_time, run)
        mdat = struct.pack(">I4s", 8 + run.nbytes, b"mdat")
    except struct.error as error:
        raise LocalProtocolError(f"a fragment's number does not fit its field: {error}") from None
    return b"".join((head, mdat, *[sample.data for sample in samples]))


class Run(NamedTuple):
    """Samples as a tfhd and a trun tell of them: the defaults (duration, size, flags) of the tfhd; the flags, the count of
    samples and the rows of the trun; and how many bytes the samples have."""

    defaults: tuple[int, int, int]
    flags: int
    length: int
    row: tuple[int, ...]
    nbytes: int


def run_of(kind: MediaKind, samples: Sequence[Sample]) -> Run:
    """What is the same for all samples is written once. LocalProtocolError for no samples."""
    if not samples:
        raise LocalProtocolError("a fragment of no samples")
    payloads, durations, offsets, keyframes = zip(*samples, strict=True)
    sizes = tuple(map(len, payloads))
    count = len(sizes)
    flags = _TRUN_V1
    columns = []
    if durations.count(durations[0]) != count:
        flags |= _DURATION
        columns.append(durations)
    if sizes.count(sizes[0]) != count:
        flags |= _SIZE
        columns.append(sizes)
    default_flags = SYNC
    row: tuple[int, ...] = ()
    if kind is MediaKind.VIDEO and (keys := keyframes.count(True)) != count:
        default_flags = NON_SYNC
        if keys == 1 and keyframes[0]:
            flags |= _FIRST_FLAGS
            row = (SYNC,)
        elif keys:
            flags |= _FLAGS
            columns.append(tuple([SYNC if key else NON_SYNC for key in keyframes]))
    if any(offsets):
        flags |= _OFFSET
        columns.append(offsets if min(offsets) >= 0 else tuple([offset & 0xFFFFFFFF for offset in offsets]))
    row += tuple(chain.from_iterable(zip(*columns, strict=True)))
    return Run((durations[0], sizes[0], default_flags), flags, count, row, sum(sizes))


def _moof(sequence_number: int, track_id: int, base_decode_time: int, run: Run) -> bytes:
    """A moof with one traf and one trun."""
    words = 4 * len(run.row)
    size = _MOOF.size + words
    return _MOOF.pack(
        *(size, b"moof"),
        *(16, b"mfhd", 0, sequence_number & 0xFFFFFFFF),
        *(size - 24, b"traf"),
        *(28, b"tfhd", _TFHD_FLAGS, track_id, *run.defaults),
        *(20, b"tfdt", _TFDT_V1, base_decode_time),
        *(20 + words, b"trun", run.flags, run.length, size + 8),
    ) + pack_row(run.row)


def pack_row(row: tuple[int, ...]) -> bytes:
    """The rows of a trun as 32-bit words."""
    return _words(len(row)).pack(*row)


@functools.lru_cache(maxsize=256)
def _words(count: int) -> struct.Struct:
    return struct.Struct(f">{count}I")


def styp() -> bytes:
    """The optional segment type box that may stand before a segment's first fragment."""
    return boxes.ftyp(b"styp", b"msdh", b"msdh", *_BRANDS)


def prft(track: Track, unix_time: float, media_time: int) -> bytes:
    """Producer reference time (14496-12, 8.16.5), to stand before a moof: the sample at ``media_time`` (track's timescale)
    was there at ``unix_time`` (seconds)."""
    whole = int(unix_time)
    ntp = (whole + _NTP_EPOCH & 0xFFFFFFFF) << 32 | int((unix_time - whole) * 0x1_0000_0000)
    return boxes.full_box(b"prft", 1, _CONSISTENT_OFFSET, struct.pack(">IQQ", TRACK_IDS[track.kind], ntp, media_time))
