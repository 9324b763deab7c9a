"""Playlists that mean no good: what they cost, and what is said of them."""

import itertools
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from mediaserver.ingest import pull_allowance, pull_hls
from mediaserver.ingest.pull_allowance import BURST
from mediaserver.ingest.pull_cipher import decrypt
from mediaserver.ingest.pull_hls import MOST_REQUESTS, SHORTEST_RELOAD, read
from mediaserver.ingest.pull_terms import SourceEnded, SourceLost, SourceRefused, Terms
from mediaserver.ports import InputType
from protocols.media import MediaKind, Packet
from tests.e2e.test_pull_hls import Answer, folder, web
from tests.media import Clips
from tests.peers import program

KEY, VECTOR = bytes(range(16)), bytes(range(16, 32))


def terms(url: str, timeout: float = 30.0, *, private: bool = True) -> Terms:
    return Terms(InputType.HLS, url, False, private, timeout, (), 1 << 23, 1 << 30, 10**9, "", True)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time in s, which only passes for who sleeps."""
    now = [100.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    for module in (pull_hls, pull_allowance):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))
    return now


def encrypt(data: bytes, vector: bytes) -> bytes:
    command = [program("openssl"), "enc", "-aes-128-cbc", "-K", KEY.hex(), "-iv", vector.hex()]
    return subprocess.run(command, input=data, capture_output=True, check=True).stdout


LIVE = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n"


def keyed(other: dict[str, bytes | None]) -> Answer:
    """A segment that is encrypted with KEY, but for ``other``."""
    playlist = LIVE + b'#EXT-X-KEY:METHOD=AES-128,URI="k"\n#EXTINF:1,\na.ts\n#EXT-X-ENDLIST\n'
    return ({"/index.m3u8": playlist, "/k": KEY, "/a.ts": bytes(64)} | other).get


HOSTILE: dict[str, tuple[Answer, str]] = {
    "itself as a segment": (lambda _: LIVE + b"#EXTINF:1,\nindex.m3u8\n", "refers to playlists"),
    "itself as a variant": (lambda _: b"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nindex.m3u8\n", "refers to playlists"),
    "itself as a segment for ever": (
        lambda _: LIVE + b"#EXT-X-GAP\n#EXTINF:0,\nindex.m3u8\n" * 1000,
        "nothing but gaps",
    ),
    "no end": (lambda _: LIVE + b"# and so on\n" * 300_000, "more than 2097152 bytes"),
    "a huge segment": (
        lambda path: LIVE + b"#EXTINF:1,\na.ts\n" if path == "/index.m3u8" else bytes(65 << 20),
        "more than 67108864 bytes",
    ),
    "nothing in it": (
        lambda path: LIVE + b"#EXTINF:1,\na.ts\n#EXT-X-ENDLIST\n" if path == "/index.m3u8" else bytes(188),
        "cannot be read",
    ),
    "a file of this machine": (lambda _: LIVE + b"#EXTINF:1,\nfile:///etc/passwd\n", "not http or https"),
    "keys of its own": (lambda _: LIVE + b'#EXT-X-KEY:METHOD=SAMPLE-AES,URI="k"\n#EXTINF:1,\na.ts\n', "only AES-128 can"),
    "a key that is too long": (keyed({"/k": bytes(32)}), "a key that has not 16 bytes"),
    "a key without an end": (keyed({"/k": bytes(1 << 20)}), "more than 65536 bytes"),
    "a key that is not there": (keyed({"/k": None}), "status 404"),
    "a wrong key": (keyed({"/k": bytes(16)}), "cannot be read"),
    "half a block": (keyed({"/a.ts": bytes(17)}), "cut off"),
    "a key on this machine's disk": (
        lambda _: LIVE + b'#EXT-X-KEY:METHOD=AES-128,URI="file:///etc/passwd"\n#EXTINF:1,\na.ts\n',
        "not http or https",
    ),
    "not a playlist": (lambda _: b"<html>", "not a playlist"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_playlist_that_means_no_good(what: str) -> None:
    answer, reason = HOSTILE[what]
    with web(answer) as (url, asked):
        with pytest.raises((SourceLost, SourceRefused), match=reason):
            list(read(terms(f"{url}/index.m3u8")))
        assert len(asked) <= 3


def test_a_live_playlist_that_never_changes_is_asked_for_no_faster_than_it_may(clips: Clips, clock: list[float]) -> None:
    segment = clips.get(seconds=1.0, container="ts", b_frames=0).read_bytes()
    playlist = b"#EXTM3U\n#EXT-X-TARGETDURATION:0\n#EXTINF:0,\na.ts\n"
    with web(lambda path: playlist if path == "/index.m3u8" else segment) as (url, asked):
        with pytest.raises(SourceLost, match="stands still"):
            list(read(terms(f"{url}/index.m3u8")))
        assert asked.count("/a.ts") == 1
        assert asked.count("/index.m3u8") <= (clock[0] - 100) / SHORTEST_RELOAD + 1
        assert clock[0] - 100 == pytest.approx(30, abs=1)


def test_a_playlist_is_no_hammer_for_other_servers(clock: list[float]) -> None:
    """However many segments it names, and however little is in each of them."""
    playlist = LIVE + b"#EXTINF:1,\na.ts\n" * 10_000 + b"#EXT-X-ENDLIST\n"
    with web(lambda path: playlist if path == "/index.m3u8" else b"\x47") as (url, asked):
        with pytest.raises(SourceLost, match="more than 10 requests a second"):
            list(read(terms(f"{url}/index.m3u8", 10.0)))
        assert len(asked) <= MOST_REQUESTS * (BURST + clock[0] - 100) + 2
        assert clock[0] - 100 == pytest.approx(10, abs=1)


def test_a_segment_that_is_missing_or_numbers_that_begin_anew_lose_the_source(clips: Clips, clock: list[float]) -> None:
    segment = clips.get(seconds=1.0, container="ts", b_frames=0).read_bytes()
    playlists = [
        b"#EXTM3U\n#EXT-X-TARGETDURATION:0\n#EXT-X-MEDIA-SEQUENCE:%d\n#EXTINF:0,\n%d.ts\n" % (number, number)
        for number in (900, 1)
    ]

    def answer(path: str) -> bytes | None:
        if path == "/index.m3u8":
            return playlists.pop(0) if len(playlists) > 1 else playlists[0]
        return segment if path == "/900.ts" else None

    with web(answer) as (url, _), pytest.raises(SourceLost, match="begun anew"):
        list(read(terms(f"{url}/index.m3u8")))
    with web(answer) as (url, _), pytest.raises(SourceLost, match="status 404"):
        list(read(terms(f"{url}/index.m3u8")))


def test_a_discontinuity_and_a_gap_open_the_next_segment_anew(clips: Clips) -> None:
    segment = clips.get(seconds=1.0, container="ts", b_frames=0).read_bytes()
    playlist = (
        b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\na.ts\n#EXT-X-DISCONTINUITY\n#EXTINF:1,\nb.ts\n"
        b"#EXT-X-GAP\n#EXTINF:1,\nc.ts\n#EXTINF:1,\nd.ts\n#EXT-X-ENDLIST\n"
    )
    packets: list[Packet] = []
    with web(lambda path: playlist if path == "/index.m3u8" else segment) as (url, asked):
        with pytest.raises(SourceEnded):
            packets.extend(item for item in read(terms(f"{url}/index.m3u8")) if isinstance(item, Packet))
        assert asked == ["/index.m3u8", "/a.ts", "/b.ts", "/d.ts"]


@pytest.mark.parametrize("kind", ["mpegts", "fmp4"])
def test_parts_of_a_file_are_each_played_once_from_a_server_that_gives_all_of_it(kind: str, clips: Clips, tmp_path: Path) -> None:
    """As the simplest of servers do (RFC 9110, 14.2)."""
    clip = clips.get(seconds=4.0, b_frames=0)
    options = ["-f", "hls", "-hls_time", "1", "-hls_playlist_type", "vod", "-hls_flags", "single_file", "-hls_segment_type", kind]
    command = [program("ffmpeg"), "-v", "error", "-i", str(clip), "-c", "copy", *options, str(tmp_path / "index.m3u8")]
    subprocess.run(command, check=True)
    packets: list[Packet] = []
    with web(folder(tmp_path)) as (url, asked):
        with pytest.raises(SourceEnded):
            packets.extend(item for item in read(terms(f"{url}/index.m3u8")) if isinstance(item, Packet))
        assert len(asked) >= 5
    pictures = [packet for packet in packets if packet.kind is MediaKind.VIDEO]
    sounds = [packet for packet in packets if packet.kind is MediaKind.AUDIO]
    assert [packet.keyframe for packet in pictures] == [number % 25 == 0 for number in range(100)]
    assert {b.dts - a.dts for a, b in itertools.pairwise(pictures)} == {40}
    assert {b.dts - a.dts for a, b in itertools.pairwise(sounds)} <= {21, 22}
    assert sounds[-1].dts - sounds[0].dts > 3900


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 70_000])
def test_what_openssl_encrypts_is_decrypted(size: int) -> None:
    data = bytes(number % 251 for number in range(size))
    assert decrypt(encrypt(data, VECTOR), KEY, VECTOR) == data


def test_keys_change_between_segments_and_each_is_fetched_once(clips: Clips) -> None:
    segment = clips.get(seconds=1.0, container="ts", b_frames=0).read_bytes()
    playlist = (
        b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:7\n#EXTINF:1,\nclear.ts\n"
        b'#EXT-X-KEY:METHOD=AES-128,URI="key"\n#EXTINF:1,\nnumbered.ts\n'
        b'#EXT-X-KEY:METHOD=AES-128,URI="key",IV=0x%s\n#EXTINF:1,\nvector.ts\n#EXT-X-ENDLIST\n'
    ) % VECTOR.hex().encode()
    answers = {
        "/index.m3u8": playlist,
        "/clear.ts": segment,
        "/key": KEY,
        "/numbered.ts": encrypt(segment, (8).to_bytes(16)),
        "/vector.ts": encrypt(segment, VECTOR),
    }
    packets: list[Packet] = []
    with web(answers.get) as (url, asked):
        with pytest.raises(SourceEnded):
            packets.extend(item for item in read(terms(f"{url}/index.m3u8")) if isinstance(item, Packet))
        assert asked == ["/index.m3u8", "/clear.ts", "/numbered.ts", "/key", "/vector.ts"]


def test_a_key_is_fetched_from_nowhere_else_than_anything_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mediaserver.transport.targets.is_public", lambda address: address == "127.0.0.2")
    answers: dict[str, bytes] = {"/a.ts": bytes(32)}
    with web(lambda _: KEY) as (inside, asked_inside), web(answers.get, "127.0.0.2") as (url, asked):
        answers["/index.m3u8"] = LIVE + f'#EXT-X-KEY:METHOD=AES-128,URI="{inside}/key"\n#EXTINF:1,\na.ts\n'.encode()
        with pytest.raises(SourceLost, match="not a public address"):
            list(read(terms(f"{url}/index.m3u8", private=False)))
        assert asked == ["/index.m3u8", "/a.ts"]
        assert asked_inside == []
