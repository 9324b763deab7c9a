"""HEVC: the hvcC record (ISO/IEC 14496-15, 8.3.3) and its RFC 6381 name (14496-15, Annex E)."""

from protocols.codec.bits import BitReader
from protocols.codec.description import VideoParameters
from protocols.codec.hevc_sps import NAL_PPS, NAL_SPS, NAL_VPS, parse_sps
from protocols.codec.nal import split_length_prefixed
from protocols.errors import LimitExceeded, RemoteProtocolError

_IRAP = range(16, 24)  # BLA, IDR, CRA and the types reserved for more of the kind
_MAX_SETS = 256  # 16 VPS, 16 SPS and 64 PPS are all that have an id; some SEI beside them
_PROFILE_SPACES = ("", "A", "B", "C")


def parameters(record: bytes) -> VideoParameters:
    """What an hvcC record says. RemoteProtocolError if it is malformed or has no SPS."""
    sequence_sets = read_record(record).get(NAL_SPS)
    if not sequence_sets:
        raise RemoteProtocolError("an hvcC record without a sequence parameter set")
    sps = parse_sps(sequence_sets[0])
    return VideoParameters(
        width=sps.width,
        height=sps.height,
        frame_rate=sps.frame_rate,
        rfc6381=_rfc6381(record[1:13]),
        profile=record[1] & 0x1F,
        level=record[12],
        bit_depth=sps.bit_depth_luma,
        pixel_aspect=sps.pixel_aspect,
        colour=sps.colour,
    )


def read_record(record: bytes) -> dict[int, list[bytes]]:
    """The parameter sets in an hvcC record, by NAL unit type."""
    bits = BitReader(record)
    if bits.read(8) > 1:  # 0 was written by encoders that followed the draft
        raise RemoteProtocolError("an hvcC record of a version beyond 1")
    bits.skip(21 * 8)
    units: dict[int, list[bytes]] = {}
    count = 0
    for _ in range(bits.read(8)):
        kind, members = bits.read(8) & 0x3F, bits.read(16)
        count += members
        if count > _MAX_SETS:
            raise LimitExceeded(f"an hvcC record of more than {_MAX_SETS} NAL units")
        units.setdefault(kind, []).extend(bits.read_bytes(bits.read(16)) for _ in range(members))
    return units


def configuration_record(video_sets: list[bytes], sequence_sets: list[bytes], picture_sets: list[bytes]) -> bytes:
    """An hvcC record with 4-byte lengths from VPS, SPS and PPS. RemoteProtocolError if the first SPS is malformed."""
    if not sequence_sets:
        raise RemoteProtocolError("an hvcC record needs a sequence parameter set")
    if any(len(unit) > 0xFFFF for unit in (*video_sets, *sequence_sets, *picture_sets)):
        raise RemoteProtocolError("a parameter set of more than 64 KiB")
    sps = parse_sps(sequence_sets[0])
    layers = sps.temporal_layers << 3 | sps.temporal_nesting << 2 | 3
    parts = [
        b"\x01",
        sps.profile_tier_level,
        b"\xf0\x00\xfc",  # no spatial segmentation, parallelism unknown
        bytes((0xFC | sps.chroma_format, 0xF8 | sps.bit_depth_luma - 8, 0xF8 | sps.bit_depth_chroma - 8)),
        bytes((0, 0, layers, 3)),  # average frame rate unknown; three arrays follow
    ]
    for kind, units in ((NAL_VPS, video_sets), (NAL_SPS, sequence_sets), (NAL_PPS, picture_sets)):
        parts.append(bytes((0x80 | kind,)) + len(units).to_bytes(2, "big"))
        for unit in units:
            parts += (len(unit).to_bytes(2, "big"), unit)
    return b"".join(parts)


def is_keyframe(payload: bytes, length_size: int = 4) -> bool:
    """Does a length-prefixed access unit hold a picture that decoding can start at (IRAP)?"""
    return any(unit[0] >> 1 & 0x3F in _IRAP for unit in split_length_prefixed(payload, length_size) if unit)


def _rfc6381(profile_tier_level: bytes) -> str:
    """``hvc1.1.6.L93.B0``: profile, compatibility flags backwards, tier and level, constraint bytes up to the last set."""
    first = profile_tier_level[0]
    compatibility = int(f"{int.from_bytes(profile_tier_level[1:5], 'big'):032b}"[::-1], 2)
    tier = "H" if first & 0x20 else "L"
    words = [
        f"hvc1.{_PROFILE_SPACES[first >> 6]}{first & 0x1F}",
        f"{compatibility:X}",
        f"{tier}{profile_tier_level[11]}",
        *(f"{byte:X}" for byte in profile_tier_level[5:11].rstrip(b"\0")),
    ]
    return ".".join(words)
