"""Boxes of ISO/IEC 14496-12: the frame of one, and those of a movie header that has no samples of its own."""

import struct

from protocols.codec.description import VideoParameters

_MATRIX = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
_UNDETERMINED = 0x55C4  # ISO 639-2 "und", 5 bits a letter
_NO_DURATION = 0  # live: unknown when the header is written


def box(kind: bytes, *parts: bytes) -> bytes:
    """A box: 32-bit size, four-character type, content."""
    content = b"".join(parts)
    return struct.pack(">I4s", 8 + len(content), kind) + content


def full_box(kind: bytes, version: int, flags: int, *parts: bytes) -> bytes:
    """A box whose content starts with a version and 24 bits of flags."""
    return box(kind, struct.pack(">I", version << 24 | flags), *parts)


def ftyp(kind: bytes, major: bytes, *compatible: bytes) -> bytes:
    """``ftyp``, or ``styp`` of a segment: brands."""
    return box(kind, major, b"\0\0\0\0", *compatible)


def mvhd(timescale: int, next_track_id: int, duration: int = _NO_DURATION) -> bytes:
    """Movie header: ``timescale`` in units a second, ``duration`` in such units."""
    times = struct.pack(">4I", 0, 0, timescale, duration)
    rate_and_volume = struct.pack(">IH10x", 0x10000, 0x0100)
    return full_box(b"mvhd", 0, 0, times, rate_and_volume, _MATRIX, bytes(24), struct.pack(">I", next_track_id))


def tkhd(track_id: int, video: VideoParameters | None) -> bytes:
    """Track header: enabled, in the movie, in the preview; the size is that of the picture as shown."""
    identity = struct.pack(">5I", 0, 0, track_id, 0, _NO_DURATION)
    layout = struct.pack(">8xHHHH", 0, 0, 0 if video else 0x0100, 0)
    width, height = (video.display_width, video.height) if video else (0, 0)
    return full_box(b"tkhd", 0, 7, identity, layout, _MATRIX, struct.pack(">II", width << 16, height << 16))


def edts(*edits: tuple[int, int]) -> bytes:
    """An edit list: each edit's duration in the movie's timescale (0: to the end, whenever that is) and its first media time in
    the track's (-1: nothing is shown)."""
    rows = b"".join(struct.pack(">QqI", duration, first, 0x10000) for duration, first in edits)
    return box(b"edts", full_box(b"elst", 1, 0, struct.pack(">I", len(edits)), rows))


def mdhd(timescale: int) -> bytes:
    """Media header: ``timescale`` in units a second, no language."""
    return full_box(b"mdhd", 0, 0, struct.pack(">4IHH", 0, 0, timescale, _NO_DURATION, _UNDETERMINED, 0))


def hdlr(handler: bytes, name: bytes) -> bytes:
    """Handler reference: ``vide`` or ``soun``, and a name for people."""
    return full_box(b"hdlr", 0, 0, struct.pack(">I4s12x", 0, handler), name, b"\0")


def minf(is_video: bool, sample_entry: bytes) -> bytes:
    """Media information: a header for the kind, data in this file, one sample entry and no samples."""
    header = full_box(b"vmhd", 0, 1, bytes(8)) if is_video else full_box(b"smhd", 0, 0, bytes(4))
    one = struct.pack(">I", 1)
    none = struct.pack(">I", 0)
    dinf = box(b"dinf", full_box(b"dref", 0, 0, one, full_box(b"url ", 0, 1)))
    tables = (
        full_box(b"stsd", 0, 0, one, sample_entry),
        full_box(b"stts", 0, 0, none),
        full_box(b"stsc", 0, 0, none),
        full_box(b"stsz", 0, 0, none, none),
        full_box(b"stco", 0, 0, none),
    )
    return box(b"minf", header, dinf, box(b"stbl", *tables))


def trex(track_id: int, default_flags: int) -> bytes:
    """Track extends: the sample flags of fragments that set none."""
    return full_box(b"trex", 0, 0, struct.pack(">5I", track_id, 1, 0, 0, default_flags))
