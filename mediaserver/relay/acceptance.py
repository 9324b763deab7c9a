"""What a target takes: which codecs, and in which of FLV's two forms.

Every RTMP server takes H.264, AAC and MP3 in the form that Adobe described. Anything else (and only in the FourCC form of
Enhanced RTMP) goes to those that said so in their answer to connect, and to the few platforms that do without a word.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from protocols import flv
from protocols.media import Codec, MediaKind, Packet, Track
from protocols.rtmp import amf0
from protocols.rtmp.enhanced import FOURCC
from protocols.rtmp.events import Capabilities
from protocols.rtmp.message import ON_METADATA

PLAIN = frozenset({Codec.H264, Codec.AAC, Codec.MP3})
#: Hosts that take more than they announce. YouTube's documentation of live encoder settings lists HEVC and AV1 over RTMP(S).
UNANNOUNCED = {"youtube.com": frozenset({Codec.HEVC, Codec.AV1})}

_PLAIN_IDS = {Codec.H264: 7.0, Codec.AAC: 10.0, Codec.MP3: 2.0}
_EX_AUDIO = 9


@dataclass(frozen=True, slots=True)
class Acceptance:
    """The codecs that one target takes beyond the plain ones."""

    codecs: frozenset[Codec]
    announced: bool

    @classmethod
    def of(cls, host: str, capabilities: Capabilities) -> "Acceptance":
        """What ``host`` takes, by its answer to connect."""
        fourccs = capabilities.fourccs
        named = frozenset(codec for codec, fourcc in FOURCC.items() if "*" in fourccs or fourcc.decode() in fourccs)
        known = (codecs for domain, codecs in UNANNOUNCED.items() if host == domain or host.endswith(f".{domain}"))
        return cls(named.union(*known), announced=bool(fourccs))

    def objection(self, tracks: Iterable[Track]) -> str:
        """Why the target cannot be given these tracks, in words; empty if it can."""
        for track in tracks:
            if track.codec not in PLAIN and track.codec not in self.codecs:
                why = "does not list it" if self.announced else "did not say that it takes more than H.264, AAC and MP3"
                return f"the stream's {track.kind.value} is {track.codec.value} and the target {why}"
        return ""


def header_body(track: Track) -> bytes:
    """The sequence header of ``track`` in the form that targets take; empty for a codec that has none."""
    if not track.body or not _odd(track.codec, track.body):
        return track.body
    return (flv.video_sequence_header if track.kind is MediaKind.VIDEO else flv.audio_sequence_header)(track.codec, track.config)


def packet_body(codec: Codec, packet: Packet) -> bytes:
    """The body of ``packet`` in that form: the packet's own, but for encoders that dress plain codecs as FourCC ones, or
    HEVC as a plain one."""
    if not _odd(codec, packet.body):
        return packet.body
    if packet.kind is MediaKind.VIDEO:
        return flv.video_frame(codec, packet.keyframe, packet.cts, packet.payload)
    return flv.audio_frame(codec, packet.payload)


def _odd(codec: Codec, body: bytes) -> bool:
    enhanced = body[0] & 0x80 if codec.kind is MediaKind.VIDEO else body[0] >> 4 == _EX_AUDIO
    return bool(enhanced) == (codec in PLAIN)


def description(tracks: Collection[Track], sizes: tuple[int, int]) -> bytes:
    """An onMetaData for a stream whose publisher gave none: platforms wait for one. ``sizes`` are width and height."""
    values: dict[str, object] = {}
    for track in tracks:
        plain = _PLAIN_IDS.get(track.codec)
        number = float(int.from_bytes(FOURCC[track.codec])) if plain is None else plain
        values[f"{track.kind.value}codecid"] = number
    if all(sizes):
        values |= {"width": float(sizes[0]), "height": float(sizes[1])}
    return ON_METADATA + amf0.encode(values)
