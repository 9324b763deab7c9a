"""Packets that can stand anywhere: sound that is silence, and keyframes that can come again. Pure."""

from protocols.media import Codec, MediaKind, Track

#: AAC elements (ISO/IEC 14496-3, 4.4.2.1) of each channel configuration: S a single channel, C a pair, L low frequencies.
_AAC_ELEMENTS = {1: "S", 2: "C", 3: "SC", 4: "SCS", 5: "SCC", 6: "SCCL", 7: "SCCCL"}
_AAC_IDS = {"S": 0, "C": 1, "L": 3}
_AAC_END = 7
#: A channel without any band: gain, window, no pulses, no noise shaping; all of it zeros.
_AAC_CHANNEL_BITS = 22
#: Object types whose packets are plain AAC-LC, with or without SBR and PS.
_AAC_OBJECTS = frozenset({2, 5, 29})

#: Opus, CELT only, full band, 20 ms, one frame that is silent (RFC 6716, 3.1); the bit beside says stereo.
_OPUS_MONO = b"\xf8\xff\xfe"
_OPUS_STEREO = b"\xfc\xff\xfe"

#: HEVC's instantaneous decoder refresh pictures (H.265, table 7-1). Its other kind of keyframe, of open GOPs, decoders take for
#: a picture that they have already when it comes again.
_HEVC_IDR = frozenset({19, 20})


def is_repeatable(track: Track, keyframe: bytes) -> bool:
    """Whether ``keyframe`` may be sent again and again."""
    if track.codec is not Codec.HEVC or len(track.config) < 22:
        return track.kind is MediaKind.VIDEO
    size, at = (track.config[21] & 3) + 1, 0
    while at + size < len(keyframe):
        start = at + size
        if keyframe[start] >> 1 & 63 in _HEVC_IDR:
            return True
        at = start + int.from_bytes(keyframe[at:start], "big")
    return False


def silent_packet(track: Track, last: bytes) -> bytes | None:
    """A packet of silence that fits ``track``, whose last packet was ``last``; None where none is known."""
    match track.codec:
        case Codec.AAC:
            return _aac(track.config)
        case Codec.OPUS:
            one_stream = len(track.config) < 19 or track.config[18] == 0
            return (_OPUS_STEREO if last[0] & 4 else _OPUS_MONO) if last and one_stream else None
        case Codec.MP3:
            # Its header, said to be without a checksum, and no side information: nothing is coded in it.
            return bytes((last[0], last[1] | 1, *last[2:4])) + bytes(len(last) - 4) if len(last) > 40 else None
        case _:
            return None


def _aac(config: bytes) -> bytes | None:
    """``config`` is an AudioSpecificConfig: object type (5 bits), rate (4, or 28 if they are all set), channels (4)."""
    if len(config) < 2:
        return None
    bits = int.from_bytes(config[:5].ljust(5, b"\0"), "big")
    channels_at = 3 if bits >> 31 & 15 == 15 else 27
    elements = _AAC_ELEMENTS.get(bits >> channels_at & 15)
    if bits >> 35 not in _AAC_OBJECTS or elements is None:
        return None
    text = ""
    counts = dict.fromkeys(_AAC_IDS, 0)
    for element in elements:
        text += f"{_AAC_IDS[element]:03b}{counts[element]:04b}"
        # A pair has no window in common.
        text += "0" * (1 + 2 * _AAC_CHANNEL_BITS if element == "C" else _AAC_CHANNEL_BITS)
        counts[element] += 1
    text += f"{_AAC_END:03b}"
    text += "0" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big")
