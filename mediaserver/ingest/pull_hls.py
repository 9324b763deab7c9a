"""Pulling HLS: playlists and segments are fetched here, within limits, and a demuxer only sees bytes. In a worker process.

libavformat's own HLS goes wherever a playlist says, as often as it says: it is not used.
"""

import heapq
import time
from collections.abc import Iterator

from mediaserver.errors import Refused
from mediaserver.ingest.pull_allowance import Allowance
from mediaserver.ingest.pull_cipher import KEY_SIZE, decrypt
from mediaserver.ingest.pull_container import read as read_container
from mediaserver.ingest.pull_http import fetcher_for
from mediaserver.ingest.pull_playlist import MAGIC, ByteRange, Choice, Key, MediaPlaylist, Piece, parse
from mediaserver.ingest.pull_terms import SourceEnded, SourceLost, SourceRefused, Terms, barred
from mediaserver.transport.fetch import Fetcher, FetchError
from protocols.media import MediaKind, Packet, Track

MAX_PLAYLIST, MAX_SEGMENT = 2 << 20, 64 << 20
#: Bytes of a key: some servers answer with an error in words and a status that says nothing of it.
_LARGEST_KEY = 1 << 16
#: Seconds between two requests for a playlist, at least, whatever its target duration.
SHORTEST_RELOAD = 0.5
#: Target durations that a live playlist is begun behind its end (RFC 8216bis, 6.3.3), or may stand still.
_BEHIND, _STILL = 3, 4
#: Segments in a row that may be gaps or empty.
_MOST_EMPTY = 20
#: Keys that are kept: a live playlist changes them now and then, and goes back to none.
_MOST_KEYS = 8
#: Requests a second: a playlist names whatever servers it likes, and we are nobody's hammer.
MOST_REQUESTS = 10
#: Seconds by which pictures and sound may be apart beyond a segment's length, and altogether.
_APART, _MOST_APART = 1.0, 30.0
#: What segments may be.
_FORMATS = "mpegts,mov,aac,mp3"

#: Place in the order of both renditions: the discontinuity, then dts.
_Placed = tuple[int, int, Track | Packet]


def read(terms: Terms) -> Iterator[Track | Packet]:
    """The best variant of the playlist at ``terms.url``, with the sound that belongs to it."""
    fetcher = fetcher_for(terms)
    try:
        try:
            first, url = _fetch_playlist(fetcher, terms.url)
        except Refused as refusal:
            raise barred(refusal) from None
        if isinstance(first, MediaPlaylist):
            lanes = [_place(Follower(fetcher, url, terms.timeout, first), None)]
        elif first.audio:
            lanes = [
                _place(Follower(fetcher, first.video, terms.timeout), MediaKind.VIDEO),
                _place(Follower(fetcher, first.audio, terms.timeout), MediaKind.AUDIO),
            ]
        else:
            lanes = [_place(Follower(fetcher, first.video, terms.timeout), None)]
        for _, _, item in heapq.merge(*lanes, key=lambda placed: placed[:2]):
            yield item
    except FetchError as error:
        raise SourceLost(str(error)) from None
    except Refused as refusal:
        raise SourceLost(refusal.reason) from None
    raise SourceEnded("the playlist has ended")


def _fetch_playlist(fetcher: Fetcher, url: str) -> tuple[MediaPlaylist | Choice, str]:
    data, url = fetcher.get(url, MAX_PLAYLIST)
    return parse(data, url), url


def _place(follower: "Follower", kind: MediaKind | None) -> Iterator[_Placed]:
    """What ``follower`` finds, of one kind or of both, each item with its place."""
    at = 0
    while (tape := follower.tape()) is not None:
        try:
            for item in read_container(tape, formats=_FORMATS, span=tape.span):
                if isinstance(item, Packet):
                    at = item.dts
                if kind is None or item.kind is kind:
                    yield tape.discontinuity, at, item
        except SourceLost:
            # Most likely because the demuxer was told of an end too early.
            if tape.failure is None:
                raise
        if tape.failure is not None:
            raise tape.failure


class Tape:
    """The bytes of segments that belong together, as a file that can only be read on: up to a discontinuity, or a gap."""

    def __init__(self, follower: "Follower", piece: Piece) -> None:
        self.name = ""
        self.discontinuity = piece.discontinuity
        #: How far pictures and sound may be apart, in ms: a segment may give all of one, then all of the other.
        self.span = round(1000 * min(max(piece.duration, follower.target) + _APART, _MOST_APART))
        self.failure: Exception | None = None
        self._follower = follower
        self._data = follower.fetch_init(piece) + follower.fetch(piece)
        self._position = 0
        self._last = piece
        self._ended = False

    def read(self, size: int = 1 << 16) -> bytes:
        """Up to ``size`` bytes; empty at the end."""
        while self._position >= len(self._data):
            if self._ended:
                return b""  # demuxers ask again
            try:
                piece = self._follower.following(self._last)
                if piece is None:
                    self._ended = True
                    return b""
                self._data, self._position, self._last = self._follower.fetch(piece), 0, piece
            except (SourceLost, SourceRefused, FetchError, Refused) as error:
                self.failure, self._ended = error, True  # the demuxer hears of an end
                return b""
        data = self._data[self._position : self._position + size]
        self._position += len(data)
        return data


class Follower:
    """One media playlist: its segments in order, as they come."""

    def __init__(self, fetcher: Fetcher, url: str, timeout: float, playlist: MediaPlaylist | None = None) -> None:
        self._fetcher, self._url, self._timeout = fetcher, url, timeout
        complaint = f"the playlist leads to more than {MOST_REQUESTS} requests a second"
        self._requests = Allowance(MOST_REQUESTS, timeout, complaint)
        self._playlist = playlist or self._load()
        self._loaded = time.monotonic()
        self._next = self._begin()
        self._empty = 0
        self._keys: dict[str, bytes] = {}

    def _get(self, url: str, limit: int, part: ByteRange | None = None) -> bytes:
        """All of a resource, or ``part`` of it."""
        self._requests.spend(1)
        return self._fetcher.get(url, limit, part.bytes if part else None)[0]

    @property
    def target(self) -> float:
        """Seconds that the longest segment lasts."""
        return self._playlist.target

    def tape(self) -> Tape | None:
        """What comes next; None when the playlist has ended."""
        piece = self._wait()
        while piece is not None and piece.gap:
            self._count_empty()
            piece = self._wait()
        return None if piece is None else Tape(self, piece)

    def following(self, last: Piece) -> Piece | None:
        """The segment that goes on where ``last`` ended; None where there is a break, or the end."""
        piece = self._peek()
        if piece is None or piece.gap or piece.number != last.number + 1:
            return None
        same = (piece.discontinuity, piece.init) == (last.discontinuity, last.init)
        return self._wait() if same else None

    def fetch(self, piece: Piece) -> bytes:
        """The bytes of a segment."""
        data = self._get(piece.url, MAX_SEGMENT, piece.range)
        if piece.key is not None and data:
            data = decrypt(data, self._fetch_key(piece.key), piece.key.vector_for(piece.number))
        if data.startswith(MAGIC):
            raise SourceRefused("a playlist that refers to playlists where segments belong")
        if not data:
            self._count_empty()
        else:
            self._empty = 0
        return data

    def fetch_init(self, piece: Piece) -> bytes:
        """The init segment of ``piece``, if it has one."""
        init = piece.init
        if init is None:
            return b""
        data = self._get(init.url, MAX_PLAYLIST, init.range)
        return data if init.key is None else decrypt(data, self._fetch_key(init.key), init.key.vector_for(0))

    def _fetch_key(self, key: Key) -> bytes:
        """The key, asked for once, within the limits and to where the server may go as anything else."""
        found = self._keys.pop(key.url, None)
        if found is None:
            found = self._get(key.url, _LARGEST_KEY)
            if len(found) != KEY_SIZE:
                raise SourceLost(f"a key that has not {KEY_SIZE} bytes")
        self._keys[key.url] = found
        if len(self._keys) > _MOST_KEYS:
            del self._keys[next(iter(self._keys))]
        return found

    def _count_empty(self) -> None:
        self._empty += 1
        if self._empty > _MOST_EMPTY:
            raise SourceLost("the playlist leads to nothing but gaps")

    def _begin(self) -> int:
        """The number of the segment to begin with."""
        pieces = self._playlist.pieces
        if self._playlist.ended or not pieces:
            return pieces[0].number if pieces else 0
        left = _BEHIND * self._playlist.target
        for piece in reversed(pieces):
            left -= piece.duration
            if left <= 0:
                return piece.number
        return pieces[0].number

    def _wait(self) -> Piece | None:
        """The next segment, taken."""
        piece = self._peek()
        if piece is not None:
            self._next = piece.number + 1
        return piece

    def _peek(self) -> Piece | None:
        """The next segment, once it is there; None when there is none any more."""
        since = time.monotonic()
        unchanged = False
        while True:
            pieces = self._playlist.pieces
            if pieces and pieces[-1].number >= self._next:
                return next(piece for piece in pieces if piece.number >= self._next)
            if self._playlist.ended:
                return None
            if pieces and pieces[-1].number + len(pieces) + 1 < self._next:
                raise SourceLost("the playlist has begun anew")
            if time.monotonic() - since > max(self._timeout, _STILL * self._playlist.target):
                raise SourceLost("the playlist stands still")
            pause = self._playlist.target / (2 if unchanged else 1)
            time.sleep(max(0.0, self._loaded + max(pause, SHORTEST_RELOAD) - time.monotonic()))
            before = pieces[-1:] if pieces else ()
            self._playlist = self._load()
            self._loaded = time.monotonic()
            unchanged = self._playlist.pieces[-1:] == before

    def _load(self) -> MediaPlaylist:
        playlist, _ = _fetch_playlist(self._fetcher, self._url)
        if not isinstance(playlist, MediaPlaylist):
            raise SourceRefused("a playlist that refers to playlists where segments belong")
        return playlist
