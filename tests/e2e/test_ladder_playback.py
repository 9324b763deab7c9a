"""A push that the server makes a ladder of, played by HLS and DASH: segments of all rungs, their pictures and their edges."""

import io
import re
from collections.abc import Iterator
from urllib.parse import urljoin

import m3u8  # type: ignore[import-untyped]
import pytest
from mpegdash.parser import MPEGDASHParser  # type: ignore[import-untyped]

from tests.e2e.players import Seen, watch
from tests.media import Clips
from tests.peers import Peers, Server, running_server, wait_until

INDEX = "/live/show/index.m3u8"
HEIGHTS = (480, 360, 240)


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory, clips: Clips) -> Iterator[Server]:
    """``show`` with two rungs below it, and a few segments of each."""
    # Where a clip begins anew the steps in time are odd, and its rate is another in a row of segments with two such places.
    clip, folder = clips.get(width=640, height=480, seconds=24), tmp_path_factory.mktemp("town")
    peers = Peers(folder)
    with running_server(folder, {"transcode": {"ladder": ["360p", "240p"]}, "hls": {"always": True}}) as server:
        try:
            peers.ffmpeg_push(clip, server.rtmp("show"))
            wait_until(lambda: len(variants(server)) == len(HEIGHTS), "the source and two rungs in the list", 40)
            uris = [variant.absolute_uri for variant in variants(server)]
            wait_until(lambda: all(len(whole(server, uri)) >= 4 for uri in uris), "four segments of each", 40)
            yield server
        finally:
            peers.stop()


def text(server: Server, path: str) -> str:
    status, _, body = server.get(path)
    return body.decode() if status == 200 else ""


def variants(server: Server) -> list[m3u8.Playlist]:
    found = m3u8.loads(text(server, INDEX), uri=urljoin(server.url(""), INDEX))
    return list(found.playlists)


def whole(server: Server, uri: str) -> dict[int, m3u8.Segment]:
    """The segments of a playlist that are whole, by number."""
    playlist = m3u8.loads(text(server, uri.removeprefix(server.url(""))), uri=uri)
    numbered = enumerate(playlist.segments, playlist.media_sequence)
    return {number: segment for number, segment in numbered if segment.uri and not segment.gap_tag}


def decode(server: Server, segments: list[m3u8.Segment]) -> Seen:
    paths = [segments[0].init_section.absolute_uri, *(segment.absolute_uri for segment in segments)]
    answers = [server.get(path.removeprefix(server.url(""))) for path in paths]
    assert [status for status, _, _ in answers] == [200] * len(answers)
    return watch(io.BytesIO(b"".join(body for _, _, body in answers)))


def test_all_rungs_have_the_same_pictures_in_the_same_segments(town: Server) -> None:
    playlists = [whole(town, variant.absolute_uri) for variant in variants(town)]
    shared = sorted(set.intersection(*map(set, playlists)))[-3:]
    assert len(shared) == 3
    edges = [[(segments[n].current_program_date_time, round(segments[n].duration, 3)) for n in shared] for segments in playlists]
    assert edges[1:] == [edges[0]] * 2
    seen = [decode(town, [segments[number] for number in shared]) for segments in playlists]
    assert sorted(size[1] for each in seen for size in each.sizes) == sorted(HEIGHTS)
    # A segment alone begins with its keyframe, at the same picture in each rung, shown at the same time.
    assert [each.numbers for each in seen[1:]] == [seen[0].numbers] * 2
    assert [each.times for each in seen[1:]] == [pytest.approx(seen[0].times, abs=0.002)] * 2


def test_the_list_tells_what_the_rungs_are(town: Server) -> None:
    found = {variant.stream_info.resolution[1]: variant.stream_info for variant in variants(town)}
    assert set(found) == set(HEIGHTS)
    for info in found.values():
        assert re.fullmatch(r"avc1\.[0-9a-f]{6},mp4a\.40\.2", info.codecs)
        assert info.frame_rate == 25.0
        assert info.bandwidth >= info.average_bandwidth > 0
        assert info.audio == "audio"
    (sets, sound) = MPEGDASHParser.parse(text(town, "/live/show/manifest.mpd")).periods[-1].adaptation_sets
    assert {each.height for each in sets.representations} == set(HEIGHTS)
    assert len(sound.representations) == 1


def test_a_rung_plays_on_its_own(town: Server) -> None:
    path = "/live/show@240p/index.m3u8"
    (variant,) = m3u8.loads(text(town, path), uri=urljoin(town.url(""), path)).playlists
    assert variant.stream_info.resolution[1] == 240
    segments = list(whole(town, variant.absolute_uri).values())
    assert len(decode(town, segments[-2:]).numbers) > 25
