"""Pictures and sound that lie apart: when they leave, by a clock that only sleep moves, of what real programs write."""

import math
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from mediaserver.ingest import pull_file, pull_hls, pull_http, pull_order
from mediaserver.ingest.pull_order import _cost, _Order, in_order
from mediaserver.ingest.pull_outlet import Outlet
from mediaserver.ingest.pull_remux import track
from mediaserver.ingest.pull_terms import SourceEnded, SourceLost, Terms
from mediaserver.ports import InputType
from mediaserver.worker.frames import PacketFrame, TrackFrame
from protocols.media import Codec, MediaKind, Packet, Track
from tests.e2e.test_pull_hls import folder, web
from tests.media import Clips
from tests.mediaserver.ingest.test_pull_outlet import Sent, picture, plenty, sound
from tests.peers import program

BOTH = (MediaKind.VIDEO, MediaKind.AUDIO)
#: A clip's pictures, and packets of sound.
PICTURES, SOUNDS = 150, 282
#: What ffmpeg makes of it. ``hls_time`` is kept only at keyframes, one a second.
HLS = ["-f", "hls", "-hls_playlist_type", "vod", "-hls_segment_type", "fmp4", "-hls_fmp4_init_filename", "init.mp4"]
FRAGMENTS = ["-movflags", "empty_moov+default_base_moof", "-frag_duration", "2000000"]
WAYS: dict[str, tuple[InputType, str, list[str]]] = {
    "HLS, fragments of 2 s": (InputType.HLS, "index.m3u8", [*HLS, "-hls_time", "2"]),
    "HLS, one fragment of 6 s": (InputType.HLS, "index.m3u8", [*HLS, "-hls_time", "6"]),
    "HLS, sound in a playlist of its own": (
        InputType.HLS,
        "all.m3u8",
        [*HLS, "-hls_time", "2", "-var_stream_map", "v:0,agroup:a a:0,agroup:a", "-master_pl_name", "all.m3u8"],
    ),
    "HLS, TS": (InputType.HLS, "index.m3u8", ["-f", "hls", "-hls_playlist_type", "vod", "-hls_time", "2"]),
    "HTTP, fragments of 2 s": (
        InputType.HTTP,
        "a.mp4",
        FRAGMENTS,
    ),
    "HTTP, chunks of 2 s": (InputType.HTTP, "a.mp4", ["-movflags", "faststart", "-chunk_duration", "2000000"]),
    "file, fragments of 2 s": (
        InputType.FILE,
        "a.mp4",
        FRAGMENTS,
    ),
    "file, chunks of 2 s": (InputType.FILE, "a.mp4", ["-chunk_duration", "2000000"]),
}
#: The modules that read, and by how many ms packets leave before their time.
READERS = {InputType.HLS: (pull_hls, 0), InputType.HTTP: (pull_http, 3000), InputType.FILE: (pull_file, 0)}


def everything(kind: InputType, url: str) -> list[Track | Packet]:
    """All that is read at ``url``, as fast as it can be."""
    terms = Terms(kind, url, False, True, 60.0, ("/",), 1 << 23, 1 << 30, 10**9, "", True)
    items: list[Track | Packet] = []
    with pytest.raises(SourceEnded):
        items.extend(READERS[kind][0].read(terms))
    return items


def leaves_in_time(items: Sequence[Track | Packet], lead: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every packet ``lead`` ms before its time, or at once; pictures beside the sound, from the first one on."""
    sent = Sent(monkeypatch)
    outlet = Outlet(sent, lead / 1000, 1 << 23, plenty())
    outlet.take(items)
    outlet.settle()
    assert [type(frame) for frame in sent.frames].index(PacketFrame) == 2, "both tracks before the first packet"
    assert {frame.track.kind for frame in sent.frames[:2] if isinstance(frame, TrackFrame)} == set(BOTH)
    left = [(at, frame.packet) for at, frame in zip(sent.times, sent.frames, strict=True) if isinstance(frame, PacketFrame)]
    odd = [(at, packet.kind, packet.dts) for at, packet in left if abs(at * 1000 - max(packet.dts - lead, 0)) > 1]
    assert odd == []
    assert sum(packet.kind is MediaKind.VIDEO for _, packet in left) == PICTURES
    assert abs(len(left) - PICTURES - SOUNDS) <= 2
    assert 5900 < left[-1][1].dts < 6100


@pytest.mark.parametrize("way", WAYS)
def test_what_ffmpeg_writes_leaves_in_time(way: str, clips: Clips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kind, name, options = WAYS[way]
    file = tmp_path / (name if "all.m3u8" not in name else "%v.m3u8")
    # Beside itself, as a playlist may be: ffmpeg puts an init segment of that name where it runs.
    command = [
        program("ffmpeg"),
        "-v",
        "error",
        "-i",
        str(clips.get(seconds=6.0, container="mp4")),
        "-c",
        "copy",
        *options,
        str(file),
    ]
    subprocess.run(command, check=True, cwd=tmp_path)
    if kind is InputType.FILE:
        items = everything(kind, str(file))
    else:
        with web(folder(tmp_path)) as (url, _):
            items = everything(kind, f"{url}/{name}")
    leaves_in_time(items, READERS[kind][1], monkeypatch)


@pytest.mark.parametrize("late", [MediaKind.AUDIO, MediaKind.VIDEO])
@pytest.mark.parametrize("kind", [InputType.FILE, InputType.HTTP])
def test_a_transport_stream_whose_sound_lies_elsewhere(
    late: MediaKind, kind: InputType, clips: Clips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One kind's packets a second and a half behind, or before, the other's, as multiplexers of encoders put them."""
    data = clips.get(seconds=6.0, container="ts").read_bytes()
    packets = [data[at : at + 188] for at in range(0, len(data), 188)]
    shift = len(packets) // 4
    pid = 0x100 if late is MediaKind.VIDEO else 0x101  # as FFmpeg numbers them

    def place(number: int) -> int:
        return number + shift * ((packets[number][1] & 0x1F) << 8 | packets[number][2] == pid)

    (tmp_path / "a.ts").write_bytes(b"".join(packets[number] for number in sorted(range(len(packets)), key=place)))
    if kind is InputType.FILE:
        items = everything(kind, str(tmp_path / "a.ts"))
    else:
        with web(folder(tmp_path)) as (url, _):
            items = everything(kind, f"{url}/a.ts")
    leaves_in_time(items, READERS[kind][1], monkeypatch)


# -- the order alone ---------------------------------------------------------------------------------------------------------


def stamps(items: Iterator[Track | Packet]) -> list[tuple[str, int]]:
    return [(item.kind.value[0], item.dts) for item in items if isinstance(item, Packet)]


def test_a_track_stays_before_its_packet() -> None:
    first, second, other = track(Codec.H264, b"v"), track(Codec.H264, b"w"), track(Codec.AAC, b"a")
    items = [first, picture(0), second, picture(40), other, sound(10), sound(50)]
    found = list(in_order(items, BOTH, 1000))
    assert found == [items[0], items[1], items[4], items[5], items[2], items[3], items[6]]


def test_a_kind_that_does_not_come_is_not_waited_for_any_more() -> None:
    given: list[int] = []

    def source() -> Iterator[Packet]:
        for dts in range(0, 4000, 40):
            given.append(dts)
            yield picture(dts)
        yield sound(3970)
        yield sound(3990)
        yield picture(4000)
        yield picture(4040)
        yield sound(4010)

    behind = [given[-1] - packet.dts for packet in in_order(source(), BOTH, 1000) if isinstance(packet, Packet)]
    assert max(behind) == 1040, "until it had been waited for"
    assert behind[27:100] == [0] * 73
    assert stamps(in_order(source(), BOTH, 1000))[-4:] == [("a", 3990), ("v", 4000), ("a", 4010), ("v", 4040)]


def test_what_is_a_little_ahead_does_not_wait_where_there_is_slack() -> None:
    items = [picture(0), picture(40), sound(0), picture(80), picture(500), picture(501), sound(30), sound(600)]
    taken: list[Packet] = []
    source = (taken.append(item) or item for item in items)
    found = [(item.dts, len(taken)) for item in in_order(source, BOTH, 5000, slack=500) if isinstance(item, Packet)]
    assert found == [(0, 3), (0, 3), (40, 3), (80, 4), (500, 5), (30, 7), (501, 7), (600, 8)]


def test_bytes_that_are_held_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pull_order, "_ROOM", 20_000)
    given: list[int] = []
    items = (given.append(number) or picture(0, size=1000) for number in range(100))
    assert next(in_order(items, BOTH, 1000)) is not None
    assert len(given) == 14


def test_tracks_that_are_held_are_bounded_with_their_packets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pull_order, "_ROOM", 20_000)
    given: list[Track] = []

    def source() -> Iterator[Track | Packet]:
        for number in range(100):
            given.append(Track(Codec.H264, bytes(400), bytes(500)))
            yield given[-1]
            yield picture(number)

    order = _Order(BOTH, 1000, 0, math.inf)
    found = [item for given in source() for item in order.take(given)]
    assert len(found) > 150
    assert len([*found, *order.rest()]) == 200
    assert order._size == 0
    given.clear()
    assert next(in_order(source(), BOTH, 1000)) is given[0]
    assert len(given) == 11


def test_only_the_last_track_before_a_packet_is_kept() -> None:
    tracks = [track(Codec.H264, bytes([number])) for number in range(5)]
    order = _Order(BOTH, 1000, 0, math.inf)
    for each in tracks:
        assert list(order.take(each)) == []
    assert order._size == _cost(tracks[-1])
    items = [*tracks, picture(0), *tracks[:2], sound(0), *tracks[2:4]]
    assert list(in_order(items, BOTH, 1000)) == [tracks[4], items[5], items[8], tracks[3]]


def test_sound_that_comes_now_and_then_does_not_put_pictures_on_hold_each_time() -> None:
    given: list[int] = []

    def source() -> Iterator[Packet]:
        for dts in range(0, 40_000, 40):
            given.append(dts)
            if dts % 8400 == 0:
                yield sound(dts)
            yield picture(dts)

    behind = [given[-1] - packet.dts for packet in in_order(source(), BOTH, 4000) if packet.kind is MediaKind.VIDEO]
    assert max(behind[:110]) == 4040
    assert set(behind[110:]) == {0}


@pytest.mark.parametrize("pace", [1.0, 0.1])
def test_waiting_for_sound_is_no_silence_however_slowly_the_source_sends(pace: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds of ``pace`` for one of the source: a hole in its sound; as much of it may be waited for as has been read."""
    now = 0.0
    monkeypatch.setattr(pull_order.time, "monotonic", lambda: now)

    def source() -> Iterator[Packet]:
        nonlocal now
        for dts in range(0, 30_000, 40):
            now += 0.04 * pace
            yield picture(dts)
            if not 2000 < dts < 14_000:
                yield sound(dts)

    left, kinds, last = 0.0, set(), -1
    for packet in in_order(source(), BOTH, 15_000, patience=5.0):
        assert now - left < 5.1
        left = now
        kinds.add(packet.kind)
        if pace < 1:
            assert packet.dts >= last
            last = packet.dts
    assert kinds == set(BOTH)


def test_a_file_that_comes_over_http_waits_for_half_of_what_would_be_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []

    def read_container(*_: object, patience: float, **__: object) -> Iterator[Packet]:
        asked.append(patience)
        return iter([picture(0)])

    monkeypatch.setattr(pull_http, "read_container", read_container)
    with web(lambda _: bytes(1000)) as (url, _):
        terms = Terms(InputType.HTTP, f"{url}/a.ts", False, True, 60.0, ("/",), 1 << 23, 1 << 30, 10**9, "", True)
        with pytest.raises(SourceEnded):
            list(pull_http.read(terms))
    assert asked == [30.0]


def test_a_jump_of_the_clock_is_passed_on_as_one() -> None:
    """Neither kind waits until the other has come as far as it was before."""
    items = [picture(9960), sound(9970), picture(10_000), picture(3), sound(9990), picture(43), sound(5), sound(26), picture(83)]
    found = stamps(in_order(iter(items), BOTH, 5000))
    assert found[:3] == [("v", 9960), ("a", 9970), ("v", 10_000)]
    assert [dts for kind, dts in found if kind == "v"] == [9960, 10_000, 3, 43, 83]
    assert [dts for kind, dts in found if kind == "a"] == [9970, 9990, 5, 26]


def test_what_is_held_leaves_when_the_source_is_lost() -> None:
    def source() -> Iterator[Track | Packet]:
        yield picture(0)
        yield picture(40)
        yield track(Codec.AAC, b"a")
        raise SourceLost("gone")

    order = in_order(source(), BOTH, 1000)
    assert [next(order).kind for _ in range(3)] == [MediaKind.VIDEO, MediaKind.VIDEO, MediaKind.AUDIO]
    with pytest.raises(SourceLost):
        next(order)
