"""HLS playlists that others wrote (RFC 8216bis), read within limits. Pure: text in, values out."""

import re
from dataclasses import dataclass, field
from urllib.parse import urljoin

from mediaserver.ingest.pull_terms import SourceRefused

MAGIC = b"#EXTM3U"
#: Variants, renditions and segments in one playlist that we are willing to look at.
MAX_ENTRIES = 20_000
#: Ways in which one playlist may give its keys.
_MOST_KEYS = 20

_ATTRIBUTE = re.compile(r'([A-Z0-9-]+)=("[^"\r\n]*"|[^",\r\n]*)')
_LONGEST_SEGMENT = 3600.0
#: An initialization vector: 128 bits.
_VECTOR = re.compile(r"0[xX]([0-9A-Fa-f]{1,32})")
#: How a key is given where nothing else is said (RFC 8216bis, 4.4.4.4): as it is.
_IDENTITY = "identity"


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes of a resource."""

    length: int
    start: int

    @property
    def bytes(self) -> range:
        return range(self.start, self.start + self.length)


@dataclass(frozen=True, slots=True)
class Key:
    """Where the key is that AES-128 needs, and the initialization vector; without one, a segment's number is that."""

    url: str = field(repr=False)
    vector: bytes | None = None

    def vector_for(self, number: int) -> bytes:
        """The initialization vector for segment ``number``."""
        return self.vector if self.vector is not None else number.to_bytes(16)


@dataclass(frozen=True, slots=True)
class Init:
    """An init segment."""

    url: str
    range: ByteRange | None = None
    key: Key | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """One media segment: ``number`` in the playlist, how many discontinuities there were before it, its init segment."""

    url: str
    number: int
    duration: float
    discontinuity: int
    range: ByteRange | None = None
    init: Init | None = None
    key: Key | None = None
    gap: bool = False


@dataclass(frozen=True, slots=True)
class MediaPlaylist:
    """Segments, the longest of which lasts ``target`` seconds. ``ended``: no more will come."""

    target: float
    pieces: tuple[Piece, ...]
    ended: bool


@dataclass(frozen=True, slots=True)
class Choice:
    """The best variant of a multivariant playlist, and the rendition of sound that belongs to it, if that is on its own."""

    video: str
    audio: str


def parse(data: bytes, url: str) -> MediaPlaylist | Choice:
    """The playlist ``data`` that was found at ``url``. Raises SourceRefused for what is none, or beyond what we read."""
    if not data.startswith(MAGIC):
        raise SourceRefused("this is not a playlist")
    lines = [line.strip() for line in data.decode("utf-8", "replace").splitlines()]
    if any(line.startswith("#EXT-X-STREAM-INF") for line in lines):
        return _choose(lines, url)
    return _Media(url).read(lines)


def _attributes(line: str) -> dict[str, str]:
    return {name: value.strip('"') for name, value in _ATTRIBUTE.findall(line.partition(":")[2])}


def _choose(lines: list[str], url: str) -> Choice:
    variants: list[tuple[int, str, str]] = []
    sounds: dict[str, tuple[bool, str]] = {}
    waiting: dict[str, str] | None = None
    for line in lines:
        if line.startswith("#EXT-X-STREAM-INF"):
            waiting = _attributes(line)
        elif line.startswith("#EXT-X-MEDIA:"):
            media = _attributes(line)
            default = media.get("DEFAULT") == "YES"
            if media.get("TYPE") == "AUDIO" and (media.get("GROUP-ID", "") not in sounds or default):
                sounds[media.get("GROUP-ID", "")] = default, media.get("URI", "")
        elif line and not line.startswith("#") and waiting is not None:
            variants.append((_whole(waiting.get("BANDWIDTH", "0")), line, waiting.get("AUDIO", "")))
            waiting = None
        if len(variants) + len(sounds) > MAX_ENTRIES:
            raise SourceRefused("a playlist with too many entries")
    if not variants:
        raise SourceRefused("a playlist without anything to play")
    _, video, group = max(variants, key=lambda variant: variant[0])
    audio = sounds.get(group, (False, ""))[1]
    return Choice(_join(url, video), _join(url, audio) if audio else "")


class _Media:
    """Reads a media playlist line by line."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._target = 0.0
        self._number = self._discontinuity = 0
        self._duration: float | None = None
        self._range = ""
        self._ends: dict[str, int] = {}
        self._init: Init | None = None
        self._keys: dict[str, dict[str, str]] = {}  # attributes by the way that the key is given
        self._gap = self._ended = False
        self._pieces: list[Piece] = []

    def read(self, lines: list[str]) -> MediaPlaylist:
        for line in lines:
            if line.startswith("#EXT"):
                self._tag(*line.partition(":")[::2])
            elif line and not line.startswith("#") and self._duration is not None:
                self._piece(line, self._duration)
        target = self._target or max((piece.duration for piece in self._pieces), default=0.0)
        return MediaPlaylist(target, tuple(self._pieces), self._ended)

    def _tag(self, name: str, value: str) -> None:
        match name:
            case "#EXTINF":
                self._duration = _seconds(value.partition(",")[0])
            case "#EXT-X-TARGETDURATION":
                self._target = _seconds(value)
            case "#EXT-X-MEDIA-SEQUENCE":
                self._number = _whole(value)
            case "#EXT-X-DISCONTINUITY-SEQUENCE":
                self._discontinuity = _whole(value)
            case "#EXT-X-DISCONTINUITY":
                self._discontinuity += 1
            case "#EXT-X-BYTERANGE":
                self._range = value
            case "#EXT-X-GAP":
                self._gap = True
            case "#EXT-X-ENDLIST":
                self._ended = True
            case "#EXT-X-MAP":
                attributes = _attributes(f":{value}")
                place = _join(self._url, attributes.get("URI", ""))
                self._init = Init(place, self._byte_range(attributes.get("BYTERANGE", ""), place), self._key())
                if self._init.key is not None and self._init.key.vector is None:
                    raise SourceRefused("an encrypted init segment without an initialization vector")
            case "#EXT-X-KEY":
                attributes = _attributes(f":{value}")
                if attributes.get("METHOD", "NONE") == "NONE":
                    self._keys.clear()
                else:
                    self._keys[attributes.get("KEYFORMAT", _IDENTITY)] = attributes
                if len(self._keys) > _MOST_KEYS:
                    raise SourceRefused("a playlist with too many entries")
            case _:
                pass

    def _piece(self, line: str, duration: float) -> None:
        if len(self._pieces) >= MAX_ENTRIES:
            raise SourceRefused("a playlist with too many entries")
        url = _join(self._url, line)
        piece_range = self._byte_range(self._range, url)
        key = self._key()
        self._pieces.append(Piece(url, self._number, duration, self._discontinuity, piece_range, self._init, key, self._gap))
        self._number += 1
        self._duration, self._range, self._gap = None, "", False

    def _key(self) -> Key | None:
        """What is in force now. Raises SourceRefused for what we cannot decrypt."""
        if not self._keys:
            return None
        attributes = self._keys.get(_IDENTITY)
        if attributes is None:
            raise SourceRefused("encrypted segments whose key is given in a way of its own cannot be read")
        method = attributes["METHOD"]
        if method != "AES-128":
            raise SourceRefused(f"encrypted segments ({_shown(method)}) cannot be read, only AES-128 can")
        text = attributes.get("IV", "")
        vector = _VECTOR.fullmatch(text)
        if "URI" not in attributes or (text and vector is None):
            raise SourceRefused("a playlist with a key that is none")
        return Key(_join(self._url, attributes["URI"]), int(vector[1], 16).to_bytes(16) if vector else None)

    def _byte_range(self, text: str, url: str) -> ByteRange | None:
        if not text:
            return None
        length, _, start = text.partition("@")
        found = ByteRange(_whole(length), _whole(start) if start else self._ends.get(url, 0))
        if not found.length:
            raise SourceRefused("a playlist with an empty byte range")
        self._ends[url] = found.start + found.length
        return found


def _join(url: str, reference: str) -> str:
    try:
        return urljoin(url, reference)
    except ValueError:
        raise SourceRefused("a playlist with an address that is none") from None


def _shown(method: str) -> str:
    """``method``, which the source wrote, fit to be shown."""
    return re.sub(r"[^A-Z0-9-]", "", method)[:20]


def _whole(text: str) -> int:
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else 0


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return min(max(value, 0.0), _LONGEST_SEGMENT) if value == value else 0.0
