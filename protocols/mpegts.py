"""MPEG transport streams (ITU-T H.222.0) of one program: a picture track, a sound track, or both, as files carry them."""

import struct
from collections.abc import Callable, Iterator, Mapping

from protocols.codec import AudioParameters, avc, hevc, parameters
from protocols.codec.nal import split_length_prefixed
from protocols.errors import RemoteProtocolError
from protocols.media import Codec, MediaKind, Track

PACKET_SIZE = 188
#: Ticks a second of the clock for PTS and DTS, which wraps at 2**33.
CLOCK = 90_000
WRAP = 1 << 33
#: Ticks by which everything is stamped later than the program clock says: the time that a decoder has to get it.
PRELOAD = CLOCK // 10

PIDS = {MediaKind.VIDEO: 0x100, MediaKind.AUDIO: 0x101}
_PMT_PID, _NULL_PID = 0x1000, 0x1FFF
_STREAM_TYPES = {
    Codec.H264: 0x1B,
    Codec.HEVC: 0x24,
    Codec.AAC: 0x0F,
    Codec.MP3: 0x03,
    Codec.AC3: 0x81,  # as ATSC A/52 has it, which players know better than DVB's
    Codec.EAC3: 0x87,
    Codec.OPUS: 0x06,
}
_REGISTRATIONS = {Codec.HEVC: b"HEVC", Codec.AC3: b"AC-3", Codec.EAC3: b"EAC3", Codec.OPUS: b"Opus"}
_VIDEO_ID, _AUDIO_ID, _PRIVATE_ID = 0xE0, 0xC0, 0xBD
_STREAM_IDS = {Codec.AC3: _PRIVATE_ID, Codec.EAC3: _PRIVATE_ID, Codec.OPUS: _PRIVATE_ID}
_START = b"\0\0\0\1"
_AUD_H264, _AUD_HEVC = 9, 35
_OPUS_CONTROL = b"\x7f\xe0"  # the prefix of a control header that has nothing but a size
#: A packet that carries nothing: it stands where a part ends, so that a file can be cut there.
NULL_PACKET = struct.pack(">BHB", 0x47, _NULL_PID, 0x10) + b"\xff" * 184


class TransportWriter:
    """One program's packets. RemoteProtocolError for a track that has no form here."""

    def __init__(self, tracks: Mapping[MediaKind, Track]) -> None:
        self._elements = {kind: elementary(track) for kind, track in tracks.items()}
        self._counters: dict[int, int] = {}
        self._clock_pid = PIDS[MediaKind.VIDEO if MediaKind.VIDEO in tracks else MediaKind.AUDIO]
        self._pat = _section(0, struct.pack(">HBBBHH", 1, 0xC1, 0, 0, 1, 0xE000 | _PMT_PID))
        streams = b"".join(
            struct.pack(">BHH", _STREAM_TYPES[track.codec], 0xE000 | PIDS[kind], 0xF000 | len(descriptors := _descriptors(track)))
            + descriptors
            for kind, track in tracks.items()
        )
        self._pmt = _section(2, struct.pack(">HBBBHH", 1, 0xC1, 0, 0, 0xE000 | self._clock_pid, 0xF000) + streams)
        self._ids = {kind: _STREAM_IDS.get(track.codec, _id_of(kind)) for kind, track in tracks.items()}

    def tables(self) -> bytes:
        """What a decoder needs that begins here: PAT and PMT."""
        return self._packet(0, b"\0" + self._pat, table=True) + self._packet(_PMT_PID, b"\0" + self._pmt, table=True)

    def access_unit(self, kind: MediaKind, dts: int, pts: int, data: bytes, *, keyframe: bool) -> bytes:
        """One access unit as ISO BMFF has it; times in ticks, of which the first should be 0. RemoteProtocolError if it is
        malformed."""
        data = self._elements[kind](data, keyframe)
        stamps = _stamp(0x3 if pts != dts else 0x2, pts + PRELOAD)
        if pts != dts:
            stamps += _stamp(0x1, dts + PRELOAD)
        length = 3 + len(stamps) + len(data)
        head = struct.pack(
            ">IHBBB", 0x100 | self._ids[kind], length if length <= 0xFFFF else 0, 0x84, 0xC0 if pts != dts else 0x80, len(stamps)
        )
        pid = PIDS[kind]
        adaptation = b""
        if pid == self._clock_pid:
            flags = 0x10 | (0x40 if keyframe else 0)
            adaptation = bytes((flags,)) + ((dts % WRAP) << 15 | 0x3F << 9).to_bytes(6)
        return self._packetize(pid, head + stamps + data, adaptation)

    def _packetize(self, pid: int, payload: bytes, adaptation: bytes) -> bytes:
        packets = [self._packet(pid, payload[: 183 - len(adaptation) if adaptation else 184], adaptation, start=True)]
        position = 183 - len(adaptation) if adaptation else 184
        counter = self._counters[pid]
        while position + 184 <= len(payload):
            counter = counter + 1 & 15
            packets.append(struct.pack(">BHB", 0x47, pid, 0x10 | counter))
            packets.append(payload[position : position + 184])
            position += 184
        self._counters[pid] = counter
        if position < len(payload):
            packets.append(self._packet(pid, payload[position:], start=False))
        return b"".join(packets)

    def _packet(self, pid: int, payload: bytes, adaptation: bytes = b"", *, start: bool = True, table: bool = False) -> bytes:
        """One packet, filled up: a table behind its content, a PES packet before it."""
        counter = self._counters[pid] = self._counters.get(pid, 15) + 1 & 15
        control = 0x10
        field = b""
        room = 184 - len(payload)
        if table:
            payload += b"\xff" * room
        elif room or adaptation:
            control = 0x30
            content = adaptation or (b"\0" if room > 1 else b"")
            field = bytes((room - 1,)) + content + b"\xff" * (room - 1 - len(content))
        return struct.pack(">BHB", 0x47, start << 14 | pid, control | counter) + field + payload


def _id_of(kind: MediaKind) -> int:
    return _VIDEO_ID if kind is MediaKind.VIDEO else _AUDIO_ID


def _stamp(marker: int, ticks: int) -> bytes:
    """A PTS or DTS: 33 bits with marker bits among them (H.222.0, 2.4.3.7)."""
    ticks %= WRAP
    return struct.pack(">BHH", marker << 4 | ticks >> 29 | 1, ticks >> 14 & 0xFFFE | 1, ticks << 1 & 0xFFFE | 1)


def _section(table_id: int, content: bytes) -> bytes:
    head = struct.pack(">BH", table_id, 0xB000 | len(content) + 4) + content
    return head + crc32(head).to_bytes(4)


def crc32(data: bytes) -> int:
    """The CRC of sections (H.222.0, Annex A): polynomial 0x04C11DB7, most significant bit first, not inverted."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1 ^ (0x04C11DB7 if value & 0x80000000 else 0)) & 0xFFFFFFFF
    return value


def _descriptors(track: Track) -> bytes:
    registration = _REGISTRATIONS.get(track.codec, b"")
    descriptors = b"\x05\x04" + registration if registration else b""
    if track.codec is Codec.OPUS:
        descriptors += bytes((0x7F, 2, 0x80, track.config[9]))  # Opus in MPEG-TS: its channels
    return descriptors


# -- access units --------------------------------------------------------------------------------------------------------

Element = Callable[[bytes, bool], bytes]


def elementary(track: Track) -> Element:
    """What makes an access unit (and whether it is a keyframe) into what a PES packet carries. RemoteProtocolError if nothing."""
    if track.codec not in _STREAM_TYPES:
        raise RemoteProtocolError(f"{track.codec.value} has no form in a transport stream here")
    described = parameters(track)
    if track.codec is Codec.H264:
        sequence_sets, picture_sets = avc.read_record(track.config)
        return _annexb((*sequence_sets, *picture_sets), track.config[4], b"\x09\xf0", lambda unit: unit[0] & 31 == _AUD_H264)
    if track.codec is Codec.HEVC:
        sets = [unit for units in hevc.read_record(track.config).values() for unit in units]
        return _annexb(sets, track.config[21], b"\x46\x01\x50", lambda unit: unit[0] >> 1 & 63 == _AUD_HEVC)
    if track.codec is Codec.AAC:
        return _adts(track.config)
    if track.codec is Codec.OPUS and isinstance(described, AudioParameters):
        if described.channels > 2:
            raise RemoteProtocolError("Opus of more than two channels has no form in a transport stream here")
        return _opus
    return lambda data, _: data


def _annexb(
    sets: "tuple[bytes, ...] | list[bytes]", length_size: int, delimiter: bytes, is_delimiter: Callable[[bytes], bool]
) -> Element:
    head = _START + delimiter
    key_head = head + b"".join(_START + unit for unit in sets)
    size = (length_size & 3) + 1

    def write(data: bytes, keyframe: bool) -> bytes:
        parts = [key_head if keyframe else head]
        for unit in split_length_prefixed(data, size):
            if unit and not is_delimiter(unit):
                parts += (_START, unit)
        return b"".join(parts)

    return write


def _adts(config: bytes) -> Element:
    """ADTS headers (ISO/IEC 14496-3, 1.A.2.2) from an AudioSpecificConfig; SBR and PS are left to be found by the decoder."""
    object_type, frequency, channels = config[0] >> 3, (config[0] & 7) << 1 | config[1] >> 7, config[1] >> 3 & 15
    profile = 1 if object_type in (5, 29) else object_type - 1
    if not 0 <= profile <= 3 or frequency > 12 or not 1 <= channels <= 7:
        raise RemoteProtocolError("AAC of a kind that ADTS cannot tell")
    fixed = 0xFFF1 << 40 | profile << 38 | frequency << 34 | channels << 30 | 0x7FF << 2

    def write(data: bytes, _: bool) -> bytes:
        if len(data) + 7 > 0x1FFF:
            raise RemoteProtocolError(f"an AAC frame of {len(data)} bytes")
        return (fixed | len(data) + 7 << 13).to_bytes(7) + data

    return write


def _opus(data: bytes, _: bool) -> bytes:
    """An Opus packet behind a control header: its length in bytes of up to 255."""
    whole, rest = divmod(len(data), 255)
    return _OPUS_CONTROL + b"\xff" * whole + bytes((rest,)) + data


# -- reading back --------------------------------------------------------------------------------------------------------


def stamps(data: bytes) -> Iterator[int]:
    """The PTS of every PES packet that begins in ``data``, whole packets as TransportWriter makes them."""
    for position in range(0, len(data) - PACKET_SIZE + 1, PACKET_SIZE):
        flags, control = struct.unpack_from(">HB", data, position + 1)
        if flags & 0x4000 and (flags & 0x1FFF) in PIDS.values():
            start = position + 4 + (1 + data[position + 4] if control & 0x20 else 0)
            high, middle, low = struct.unpack_from(">BHH", data, start + 9)
            yield (high >> 1 & 7) << 30 | middle >> 1 << 15 | low >> 1
