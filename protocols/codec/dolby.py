"""AC-3 and E-AC-3: dac3 and dec3 (ETSI TS 102 366, Annex F) and the frame headers (4.3, Annex E.1.2) they are made from."""

from protocols.codec.bits import BitReader
from protocols.codec.description import AudioParameters
from protocols.errors import RemoteProtocolError

_SYNC_WORD = 0x0B77
_FREQUENCIES = (48000, 44100, 32000)
_CHANNELS = (2, 1, 2, 3, 3, 4, 4, 5)  # by audio coding mode
_BLOCKS = (1, 2, 3, 6)
_BLOCK = 256  # samples
_AC3_FRAME = 6 * _BLOCK
# Bits of the records: rate, bit stream identification, coding mode, low frequencies.
_AC3_TELLING, _EAC3_TELLING = 0xFE3C00, 0xFE0F00
# Where in a frame's seventh byte the bit for low frequencies is, by coding mode: mix levels come before it.
_LFE_AT = (4, 4, 2, 2, 2, 0, 2, 0)
# Stream type and number of an independent substream, or of one that was AC-3 (Annex E.1.3.1.1).
_FIRST_SUBSTREAM = frozenset({0, 16})
_FULL_RATE = 8  # bsid 9 and 10 are AC-3 at a half and a quarter of the rate


def ac3_parameters(config: bytes) -> AudioParameters:
    """What the content of a dac3 box says; unknown rate and channels while ``config`` is empty."""
    if not config:
        return AudioParameters(0, 0, "ac-3", _AC3_FRAME)
    bits = BitReader(config)
    frequency = _frequency(bits.read(2))
    halvings = max(bits.read(5) - _FULL_RATE, 0)
    bits.skip(3)
    mode, lfe = bits.read(3), bits.read(1)
    bits.skip(10)
    return AudioParameters(frequency >> halvings, _CHANNELS[mode] + lfe, "ac-3", _AC3_FRAME)


def eac3_parameters(config: bytes) -> AudioParameters:
    """What the content of a dec3 box says of its first substream; unknown while ``config`` is empty."""
    if not config:
        return AudioParameters(0, 0, "ec-3")
    bits = BitReader(config)
    bits.skip(16)  # data rate, number of substreams
    frequency = _frequency(bits.read(2))
    bits.skip(10)
    mode, lfe = bits.read(3), bits.read(1)
    bits.skip(8)
    return AudioParameters(frequency, _CHANNELS[mode] + lfe, "ec-3")


def ac3_differs(config: bytes, frame: bytes) -> bool:
    """Whether ``frame`` has another rate, coding mode or another use of low frequencies than the dac3 box says."""
    if len(frame) < 7 or len(config) < 3:
        return False
    mode = frame[6] >> 5
    lfe = frame[6] >> _LFE_AT[mode] & 1
    told = frame[4] >> 6 << 22 | frame[5] >> 3 << 17 | mode << 11 | lfe << 10
    return (told ^ int.from_bytes(config[:3], "big")) & _AC3_TELLING != 0


def eac3_differs(config: bytes, frame: bytes) -> bool:
    """The same of a dec3 box. Frames of substreams that others lean on, or beside the first, say nothing."""
    if len(frame) < 6 or len(config) < 5 or frame[2] >> 3 not in _FIRST_SUBSTREAM:
        return False
    told = frame[4] >> 6 << 22 | frame[5] >> 3 << 17 | (frame[4] & 15) << 8
    return (told ^ int.from_bytes(config[:5], "big")) & _EAC3_TELLING != 0


def complete_ac3_record(frame: bytes) -> bytes:
    """The content of a dac3 box from an AC-3 frame. RemoteProtocolError if it is not one."""
    bits = _synchronized(frame)
    bits.skip(16)  # crc1
    frequency, size = bits.read(2), bits.read(6)
    identification, kind, mode = bits.read(5), bits.read(3), bits.read(3)
    if identification > _FULL_RATE + 2:
        raise RemoteProtocolError("an E-AC-3 frame on an AC-3 track")
    if mode & 1 and mode != 1:
        bits.skip(2)  # centre mix level
    if mode & 4:
        bits.skip(2)  # surround mix level
    if mode == 2:
        bits.skip(2)  # Dolby Surround mode
    _frequency(frequency)
    word = frequency << 22 | identification << 17 | kind << 14 | mode << 11 | bits.read(1) << 10 | size >> 1 << 5
    return word.to_bytes(3, "big")


def complete_eac3_record(frame: bytes) -> bytes:
    """The content of a dec3 box from an E-AC-3 frame: its one independent substream. RemoteProtocolError if it is not one.

    Substreams that depend on it are found by the decoder in the packets.
    """
    size, sample_rate, blocks, frequency, bits = _read_eac3(frame)
    mode, lfe, identification = bits.read(3), bits.read(1), bits.read(5)
    if not 11 <= identification <= 16:
        raise RemoteProtocolError("an AC-3 frame on an E-AC-3 track")
    rate = min(size * 8 * sample_rate // (blocks * _BLOCK * 1000), 0x1FFF)
    word = rate << 27 | frequency << 22 | identification << 17 | mode << 9 | lfe << 8
    return word.to_bytes(5, "big")


def eac3_packet_duration(frame: bytes) -> int:
    """Samples in an E-AC-3 frame; 0 if it is malformed."""
    try:
        return _read_eac3(frame)[2] * _BLOCK
    except RemoteProtocolError:
        return 0


def _read_eac3(frame: bytes) -> tuple[int, int, int, int, BitReader]:
    """→ bytes, sample rate, audio blocks, fscod of an E-AC-3 frame, and the reader at its audio coding mode."""
    bits = _synchronized(frame)
    bits.skip(5)  # stream type, substream
    size, frequency = 2 * (bits.read(11) + 1), bits.read(2)
    return size, _frequency(frequency), _BLOCKS[bits.read(2)], frequency, bits


def _synchronized(frame: bytes) -> BitReader:
    bits = BitReader(frame)
    if bits.read(16) != _SYNC_WORD:
        raise RemoteProtocolError("an AC-3 frame without its sync word")
    return bits


def _frequency(code: int) -> int:
    if code == 3:
        raise RemoteProtocolError("AC-3 with a reserved sample rate")
    return _FREQUENCIES[code]
