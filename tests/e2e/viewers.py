"""Viewers that poll playlists over HTTP as players do, keep every segment, and decode what they kept."""

import io
from dataclasses import dataclass
from urllib.parse import urljoin

import m3u8  # type: ignore[import-untyped]
from mpegdash.nodes import Representation  # type: ignore[import-untyped]
from mpegdash.parser import MPEGDASHParser  # type: ignore[import-untyped]

from tests.e2e.players import Seen, watch
from tests.mpd import addresses
from tests.peers import Server, wait_until


@dataclass(frozen=True, slots=True)
class Kept:
    """One segment as it was listed and fetched."""

    sequence: int
    init: bytes
    data: bytes
    discontinuity: bool
    seconds: float


class HlsViewer:
    """Follows one media playlist. What it is told is noted, and must never go back."""

    def __init__(self, server: Server, name: str, kind: str = "video") -> None:
        self.server = server
        self.playlist_path = f"/live/{name}/{kind}.m3u8"
        self.kept: dict[int, Kept] = {}
        self.media_sequences: list[int] = []
        self.discontinuity_sequences: list[int] = []
        self.ended = False
        self._inits: dict[str, bytes] = {}

    def poll(self) -> m3u8.M3U8 | None:
        """Ask once, and fetch what is new. None while there is nobody to ask, or nothing there."""
        try:
            status, _, body = self.server.get(self.playlist_path)
            if status != 200:
                return None
            playlist = m3u8.loads(body.decode())
            self.media_sequences.append(playlist.media_sequence)
            self.discontinuity_sequences.append(playlist.discontinuity_sequence or 0)
            self.ended = playlist.is_endlist
            for number, segment in enumerate(playlist.segments, playlist.media_sequence):
                if number not in self.kept and not segment.gap_tag and segment.uri:
                    self._keep(number, segment)
        except OSError:
            return None
        assert self.media_sequences == sorted(self.media_sequences), "MEDIA-SEQUENCE went back"
        assert self.discontinuity_sequences == sorted(self.discontinuity_sequences), "DISCONTINUITY-SEQUENCE went back"
        return playlist

    def _keep(self, number: int, segment: m3u8.Segment) -> None:
        init, data = self._init(segment.init_section.uri), self._fetch(segment.uri)
        if data:
            self.kept[number] = Kept(number, init, data, segment.discontinuity, segment.duration)

    def _init(self, uri: str) -> bytes:
        if uri not in self._inits:
            self._inits[uri] = self._fetch(uri)
        return self._inits[uri]

    def _fetch(self, uri: str) -> bytes:
        status, _, body = self.server.get(urljoin(self.playlist_path, uri))
        assert status in (200, 404), f"{uri}: {status}"
        return body if status == 200 else b""

    def follow(self, segments: int, timeout: float = 20) -> None:
        """Poll until so many more segments are kept."""
        wanted = len(self.kept) + segments

        def more() -> bool:
            self.poll()
            return len(self.kept) >= wanted

        wait_until(more, f"{segments} more segments of {self.playlist_path}", timeout)

    def follow_to_end(self, timeout: float = 20) -> None:
        """Poll until the playlist says that it is over."""

        def over() -> bool:
            self.poll()
            return self.ended

        wait_until(over, f"the end of {self.playlist_path}", timeout)

    def stretches(self) -> list[list[Kept]]:
        """What was kept, cut where a discontinuity was announced or something is missing."""
        stretches: list[list[Kept]] = []
        for number in sorted(self.kept):
            segment = self.kept[number]
            if not stretches or segment.discontinuity or number - 1 not in self.kept:
                stretches.append([])
            stretches[-1].append(segment)
        return stretches

    def seen(self) -> list[Seen]:
        """Each stretch, decoded."""
        return [watch(io.BytesIO(part[0].init + b"".join(kept.data for kept in part))) for part in self.stretches()]


def watch_dash(server: Server, name: str, segments: int) -> Seen:
    """The last ``segments`` whole segments of the MPD, picture and sound, as soon as there are so many."""
    path = f"/live/{name}/manifest.mpd"
    representations = wait_until(lambda: _representations(server, path, segments), f"{segments} segments in {path}")
    both = Seen()
    for representation in representations:
        seen = watch(io.BytesIO(_dash_bytes(server, path, representation, segments)))
        if seen.numbers:
            both.numbers, both.times = seen.numbers, seen.times
        both.sound += seen.sound
        both.codecs += seen.codecs
    return both


def _representations(server: Server, path: str, segments: int) -> list[Representation]:
    """Those of the last period, once each of them lists enough whole segments."""
    status, _, body = server.get(path)
    if status != 200:
        return []
    sets = MPEGDASHParser.parse(body.decode()).periods[-1].adaptation_sets
    representations = [representation for adaptation in sets for representation in adaptation.representations]
    return representations if all(len(_whole(each)) >= segments for each in representations) else []


def _whole(representation: Representation) -> list[str]:
    # The last one listed is still being made.
    return addresses(representation.segment_templates[0])[:-1]


def _dash_bytes(server: Server, path: str, representation: Representation, segments: int) -> bytes:
    template = representation.segment_templates[0]
    uris = [template.initialization, *_whole(representation)[-segments:]]
    answers = [server.get(urljoin(path, uri)) for uri in uris]
    assert [status for status, _, _ in answers] == [200] * len(answers)
    return b"".join(body for _, _, body in answers)
