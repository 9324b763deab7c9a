"""FLV (Video File Format Specification 10.1, Annex E): tag bodies to words and back, tags to bytes and back."""

from protocols.errors import RemoteProtocolError
from protocols.media import Codec, MediaKind, Metadata, Packet, Track
from protocols.rtmp import amf0, enhanced
from protocols.rtmp.enhanced import ExTag, PacketType, TrackSlice
from protocols.rtmp.message import AUDIO, DATA, DATA_AMF3, ON_METADATA, SET_DATA_FRAME, VIDEO

__all__ = [
    "AUDIO",
    "DATA",
    "DATA_AMF3",
    "MAX_HEADER",
    "MAX_OTHER_TRACKS",
    "TAG_HEADER_SIZE",
    "VIDEO",
    "FlvReader",
    "TagReader",
    "audio_frame",
    "audio_sequence_header",
    "file_header",
    "read_metadata",
    "tag_header",
    "video_frame",
    "video_sequence_header",
    "write_tag",
]

TAG_HEADER_SIZE = 11
#: Bytes of a sequence header or of metadata that we are willing to keep and repeat to every player. Real ones have under 4 kB.
MAX_HEADER = 1 << 16
#: Tracks beside the default ones that are remembered.
MAX_OTHER_TRACKS = 16

_TAG_TYPES = frozenset({AUDIO, VIDEO, DATA, DATA_AMF3})
_MAX_FILE_HEADER = 1 << 16
_VIDEO, _AUDIO = MediaKind.VIDEO, MediaKind.AUDIO
_AVC_ID, _HEVC_ID = 7, 12  # 12 is no number of Adobe's, but what some encoders send
_NAL_CODECS = {_AVC_ID: Codec.H264, _HEVC_ID: Codec.HEVC}
# Codecs whose packets say all there is to say, and the bytes before the data. VP6's has one for the size's adjustment.
_BARE_VIDEO = {2: (Codec.H263, 1), 4: (Codec.VP6, 2)}
_BARE_AUDIO = {
    0: Codec.PCM_S16LE,
    1: Codec.ADPCM_SWF,
    2: Codec.MP3,
    3: Codec.PCM_S16LE,
    4: Codec.NELLYMOSER,
    5: Codec.NELLYMOSER,
    6: Codec.NELLYMOSER,
    7: Codec.PCM_ALAW,
    8: Codec.PCM_MULAW,
    11: Codec.SPEEX,
    14: Codec.MP3,
}
_PCM_FORMATS, _SIXTEEN_BITS = (0, 3), 2
_EX_AUDIO, _AAC = 9, 10
_BARE_EX = frozenset({Codec.MP3, Codec.AC3, Codec.EAC3})
_CTS_CODECS = frozenset({Codec.H264, Codec.HEVC})

_FLAC_MARKER, _FLAC_BLOCK, _STREAMINFO_SIZE = b"fLaC", b"\x80\x00\x00\x22", 34  # the last metadata block, of 34 bytes
# RFC 7845, 5.1: version 1, two channels, 312 samples to skip, 48 kHz, no gain, family 0.
_OPUS_STEREO = b"OpusHead\x01\x02\x38\x01\x80\xbb\x00\x00\x00\x00\x00"


class TagReader:
    """One publisher's FLV tag bodies, as words.

    ``read`` gives a Track for a sequence header that is new, a Packet for a coded access unit, and None for what carries neither:
    silence, repeated headers, ends of sequence, command frames, and whatever is malformed or unknown (counted in ``ignored``).
    Packets that come before their sequence header are of no use to anybody and are ignored too.

    A Track without body comes from a codec without sequence header (MP3, AC-3, Speex …): the tag that it was taken from is
    a Packet as well, which the same call again will give.

    Of several tracks the one with id 0 is read; the parameters of others are kept in ``other_tracks``. A multitrack body, even
    of one track, becomes a plain one of its track 0, so that any player of FourCC bodies can follow.
    """

    __slots__ = ("_aac", "_audio", "_avc", "_plans", "_video", "ignored", "other_tracks")

    def __init__(self) -> None:
        self.ignored = 0
        self.other_tracks: dict[tuple[MediaKind, int], Track] = {}
        self._video: Track | None = None
        self._audio: Track | None = None
        self._avc = False
        self._aac = False
        self._plans: dict[bytes, tuple[bool, int]] = {}  # of FourCC bodies, see _plan

    def read(self, type_id: int, timestamp: int, body: bytes) -> Track | Packet | None:
        """The body of one audio or video tag; ``timestamp`` becomes the Packet's dts as it is."""
        if type_id == VIDEO:
            if self._avc and len(body) > 5 and body[1] == 1:
                first = body[0]
                if first == 0x27:
                    cts = body[2] << 16 | body[3] << 8 | body[4]
                    return Packet(_VIDEO, timestamp, False, body, 5, cts if cts < 0x800000 else cts - 0x1000000)
                if first == 0x17:
                    cts = body[2] << 16 | body[3] << 8 | body[4]
                    return Packet(_VIDEO, timestamp, True, body, 5, cts if cts < 0x800000 else cts - 0x1000000)
            return self._read_video(timestamp, body)
        if type_id == AUDIO:
            if self._aac and len(body) > 2 and body[1] == 1 and body[0] >> 4 == _AAC:
                return Packet(_AUDIO, timestamp, True, body, 2)
            return self._read_audio(timestamp, body)
        return None

    def _read_video(self, timestamp: int, body: bytes) -> Track | Packet | None:
        if not body:
            return None
        if body[0] & 0x80:
            return self._read_enhanced(_VIDEO, timestamp, body)
        frame_type, codec_id = body[0] >> 4, body[0] & 15
        if frame_type == enhanced.COMMAND_FRAME:
            return None
        if codec_id in _NAL_CODECS and len(body) >= 5:
            return self._read_nal(_NAL_CODECS[codec_id], timestamp, body)
        if codec_id in _BARE_VIDEO:
            codec, offset = _BARE_VIDEO[codec_id]
            return self._bare(codec, Packet(_VIDEO, timestamp, _is_key(frame_type), body, offset))
        self.ignored += 1
        return None

    def _read_nal(self, codec: Codec, timestamp: int, body: bytes) -> Track | Packet | None:
        packet_type = body[1]
        if packet_type == 0:
            return self._declare(Track(codec, body[5:], body))
        if packet_type == 1:
            cts = int.from_bytes(body[2:5], signed=True)
            return self._coded(codec, Packet(_VIDEO, timestamp, _is_key(body[0] >> 4), body, 5, cts))
        self.ignored += packet_type != 2
        return None

    def _read_audio(self, timestamp: int, body: bytes) -> Track | Packet | None:
        if not body:
            return None
        audio_format = body[0] >> 4
        if audio_format == _EX_AUDIO:
            return self._read_enhanced(_AUDIO, timestamp, body)
        if audio_format == _AAC:
            if len(body) < 2 or body[1] > 1:
                self.ignored += 1
                return None
            if body[1] == 0:
                return self._declare(Track(Codec.AAC, body[2:], body))
            return self._coded(Codec.AAC, Packet(_AUDIO, timestamp, True, body, 2))
        codec = _BARE_AUDIO.get(audio_format)
        if codec is None or (audio_format in _PCM_FORMATS and not body[0] & _SIXTEEN_BITS):
            self.ignored += 1
            return None
        return self._bare(codec, Packet(_AUDIO, timestamp, True, body, 1))

    def _read_enhanced(self, kind: MediaKind, timestamp: int, body: bytes) -> Track | Packet | None:
        plan = self._plans.get(body[:5])
        if plan is not None:
            keyframe, offset = plan
            cts = int.from_bytes(body[5:8], signed=True) if offset == 8 else 0
            return Packet(kind, timestamp, keyframe, body, offset, cts) if len(body) > offset else None
        tag = enhanced.parse(kind, body)
        if tag is None:
            self.ignored += 1
            return None
        default = None
        for track in tag.tracks:
            if track.codec is None:
                self.ignored += 1
            elif track.track_id == 0:
                default = track
            elif tag.packet_type is PacketType.SEQUENCE_START:
                self._remember(track.codec, track, body)
        if default is None or default.codec is None:
            return None
        return self._read_track(tag, default.codec, default, timestamp, body)

    def _read_track(self, tag: ExTag, codec: Codec, track: TrackSlice, timestamp: int, body: bytes) -> Track | Packet | None:
        offset = track.start
        if tag.multitrack:
            header = enhanced.header(tag.packet_type, codec, tag.frame_type)
            body, offset = header + body[offset : track.end], len(header)
        if tag.packet_type is PacketType.SEQUENCE_START:
            return self._declare(Track(codec, _configuration(codec, body[offset:]), body))
        if tag.packet_type not in (PacketType.CODED_FRAMES, PacketType.CODED_FRAMES_X):
            return None
        cts = 0
        if tag.packet_type is PacketType.CODED_FRAMES and codec in _CTS_CODECS:
            cts = int.from_bytes(body[offset : offset + 3], signed=True)
            offset += 3
        keyframe = codec.kind is _AUDIO or _is_key(tag.frame_type)
        packet = Packet(codec.kind, timestamp, keyframe, body, offset, cts)
        return self._bare(codec, packet) if codec in _BARE_EX else self._coded(codec, packet)

    def _remember(self, codec: Codec, track: TrackSlice, body: bytes) -> None:
        key = codec.kind, track.track_id
        if track.end - track.start > MAX_HEADER or (key not in self.other_tracks and len(self.other_tracks) >= MAX_OTHER_TRACKS):
            self.ignored += 1
            return
        config = _configuration(codec, body[track.start : track.end])
        self.other_tracks[key] = Track(codec, config, track_id=track.track_id)

    def _declare(self, track: Track) -> Track | None:
        current = self._video if track.kind is _VIDEO else self._audio
        if current is not None and current.body == track.body and current.codec is track.codec:
            return None
        if len(track.body) > MAX_HEADER or (not track.config and track.codec not in _BARE_EX):
            self.ignored += 1
            return None
        return self._adopt(track)

    def _adopt(self, track: Track) -> Track:
        if track.kind is _VIDEO:
            self._video = track
            self._avc = track.codec is Codec.H264
        else:
            self._audio = track
            self._aac = track.codec is Codec.AAC
        self._plans = {}
        for current in (self._video, self._audio):
            if current is not None and current.codec in enhanced.FOURCC:
                self._plans |= _plan(current.codec)
        return track

    def _coded(self, codec: Codec, packet: Packet) -> Packet | None:
        current = self._video if packet.kind is _VIDEO else self._audio
        if len(packet.body) <= packet.offset:
            return None
        if current is None or current.codec is not codec:
            self.ignored += 1
            return None
        return packet

    def _bare(self, codec: Codec, packet: Packet) -> Track | Packet | None:
        current = self._video if packet.kind is _VIDEO else self._audio
        if len(packet.body) <= packet.offset:
            return None
        if current is None or current.codec is not codec:
            return self._adopt(Track(codec, b""))
        return packet


def _plan(codec: Codec) -> dict[bytes, tuple[bool, int]]:
    """How to read the plain bodies of a codec without taking them apart: keyframe and offset by their first five bytes."""
    if codec.kind is _AUDIO:
        return {enhanced.header(PacketType.CODED_FRAMES, codec): (True, 5)}
    plan = {}
    for frame_type in (enhanced.KEY_FRAME, enhanced.INTER_FRAME):
        keyframe = _is_key(frame_type)
        plan[enhanced.header(PacketType.CODED_FRAMES, codec, frame_type)] = (keyframe, 8 if codec in _CTS_CODECS else 5)
        plan[enhanced.header(PacketType.CODED_FRAMES_X, codec, frame_type)] = (keyframe, 5)
    return plan


def _is_key(frame_type: int) -> bool:
    return frame_type in (enhanced.KEY_FRAME, enhanced.GENERATED_KEY_FRAME)


def _configuration(codec: Codec, data: bytes) -> bytes:
    """A sequence header's data in the form that Track.config promises."""
    if codec is Codec.OPUS and not data:
        return _OPUS_STEREO
    if codec is Codec.FLAC and data.startswith(_FLAC_MARKER):
        return data[8 : 8 + _STREAMINFO_SIZE]
    return data


def read_metadata(body: bytes) -> Metadata | None:
    """The body of a data message, with or without ``@setDataFrame``. None if it is not onMetaData, or not sound."""
    body = body.removeprefix(SET_DATA_FRAME)
    if len(body) > MAX_HEADER or not body.startswith(ON_METADATA):
        return None
    try:
        values = amf0.decode_all(body)
    except RemoteProtocolError:
        return None
    if len(values) < 2 or not isinstance(values[1], dict):
        return None
    return Metadata(body, values[1])


def file_header(has_audio: bool, has_video: bool) -> bytes:
    """What an FLV file begins with: the header and PreviousTagSize0."""
    return b"FLV\x01" + bytes((has_audio << 2 | has_video,)) + b"\x00\x00\x00\x09\x00\x00\x00\x00"


def tag_header(type_id: int, timestamp: int, length: int) -> bytes:
    """The 11 bytes before a tag's body. Only the low 32 bits of ``timestamp`` (ms) fit."""
    low, high = timestamp & 0xFFFFFF, timestamp >> 24 & 0xFF
    return (type_id << 56 | length << 32 | low << 8 | high).to_bytes(8) + b"\x00\x00\x00"


def write_tag(type_id: int, timestamp: int, body: bytes) -> bytes:
    """A whole tag, PreviousTagSize after it included."""
    return b"".join((tag_header(type_id, timestamp, len(body)), body, (len(body) + TAG_HEADER_SIZE).to_bytes(4)))


class FlvReader:
    """An FLV byte stream in pieces of any size, to tags. Holds one incomplete tag, so at most 16 MiB and what came last.

    Tolerates an absent file header, a longer one, any version, and wrong PreviousTagSize fields, which it does not read.
    """

    __slots__ = ("_buffer", "_started")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._started = False

    def receive_data(self, data: bytes) -> list[tuple[int, int, bytes]]:
        """Every tag that became complete: (type id, timestamp in ms, body). Raises RemoteProtocolError."""
        buffer = self._buffer
        buffer += data
        if not self._started and not self._start():
            return []
        tags = []
        offset, size = 0, len(buffer)
        while size - offset >= TAG_HEADER_SIZE:
            type_id = buffer[offset]
            if type_id not in _TAG_TYPES:
                raise RemoteProtocolError(f"FLV tag of type {type_id}")
            start = offset + TAG_HEADER_SIZE
            end = start + int.from_bytes(buffer[offset + 1 : offset + 4])
            if size < end + 4:
                break
            timestamp = buffer[offset + 7] << 24 | int.from_bytes(buffer[offset + 4 : offset + 7])
            tags.append((type_id, timestamp, bytes(buffer[start:end])))
            offset = end + 4
        del buffer[:offset]
        return tags

    def _start(self) -> bool:
        """Skip the file header; False while it is not all there."""
        buffer = self._buffer
        if buffer[:1] != b"F":
            self._started = len(buffer) > 0
            return self._started
        if len(buffer) < 9:
            return False
        length = int.from_bytes(buffer[5:9])
        if buffer[:3] != b"FLV" or not 9 <= length <= _MAX_FILE_HEADER:
            raise RemoteProtocolError("not an FLV file header")
        if len(buffer) < length + 4:
            return False
        del buffer[: length + 4]
        self._started = True
        return True


def video_sequence_header(codec: Codec, config: bytes) -> bytes:
    """The body that declares a video track: legacy for H.264, FourCC for others. LocalProtocolError if it has neither."""
    if codec is Codec.H264:
        return b"\x17\x00\x00\x00\x00" + config
    return enhanced.header(PacketType.SEQUENCE_START, codec) + config


def audio_sequence_header(codec: Codec, config: bytes) -> bytes:
    """The body that declares an audio track: legacy for AAC, FourCC for others. LocalProtocolError if it has neither."""
    if codec is Codec.AAC:
        return b"\xaf\x00" + config
    if codec is Codec.FLAC:
        config = _FLAC_MARKER + _FLAC_BLOCK + config
    return enhanced.header(PacketType.SEQUENCE_START, codec) + config


def video_frame(codec: Codec, keyframe: bool, cts: int, data: bytes) -> bytes:
    """The body of a coded picture; ``cts`` in ms, for H.264 and HEVC. ``data`` is as Packet.payload has it."""
    frame_type = enhanced.KEY_FRAME if keyframe else enhanced.INTER_FRAME
    if codec is Codec.H264:
        return bytes((frame_type << 4 | _AVC_ID, 1)) + cts.to_bytes(3, signed=True) + data
    if codec is Codec.HEVC and cts:
        return enhanced.header(PacketType.CODED_FRAMES, codec, frame_type) + cts.to_bytes(3, signed=True) + data
    packet_type = PacketType.CODED_FRAMES_X if codec is Codec.HEVC else PacketType.CODED_FRAMES
    return enhanced.header(packet_type, codec, frame_type) + data


def audio_frame(codec: Codec, data: bytes) -> bytes:
    """The body of a coded audio frame: legacy for AAC and MP3, FourCC for others. LocalProtocolError if it has neither."""
    if codec is Codec.AAC:
        return b"\xaf\x01" + data
    if codec is Codec.MP3:
        return b"\x2f" + data
    return enhanced.header(PacketType.CODED_FRAMES, codec) + data
