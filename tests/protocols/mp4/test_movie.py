import struct

import pytest

from protocols.errors import LocalProtocolError, RemoteProtocolError
from protocols.media import Codec, MediaKind, Track
from protocols.mp4 import boxes
from protocols.mp4.fragment import Sample
from protocols.mp4.movie import TrackRun, duration_patch, movie_fragment, movie_header
from protocols.mp4.progressive import SampleTable, progressive_head
from protocols.mp4.reader import StoredRun, StoredTrack, box_header, child, children, read_fragment, read_tracks
from tests.protocols.mp4.test_boxes import ASC, AVC, wrapped

AAC = Track(Codec.AAC, ASC)
I_P = [Sample(b"III", 3000, 6000, True), Sample(b"p", 3001, -3000, False)]
SOUND = [Sample(b"aa", 1024, 0, True)] * 2


def movie() -> bytes:
    return movie_header([AVC, AAC], {MediaKind.VIDEO: 6000})


def moov(header: bytes) -> bytes:
    return child(header, b"moov")


def tracks() -> dict[int, StoredTrack]:
    return read_tracks(moov(movie()))


# -- writing ---------------------------------------------------------------------------------------------------------


def test_a_movie_of_two_tracks_is_read_back() -> None:
    video, sound = tracks().values()
    assert (video.track_id, video.timescale, video.is_video, video.defaults) == (1, 90_000, True, (0, 0, 0x01010000))
    assert (sound.track_id, sound.timescale, sound.is_video, sound.defaults) == (2, 44_100, False, (0, 0, 0x02000000))
    assert child(video.trak, b"edts", b"elst") == bytes.fromhex("01000000 00000001 0000000000000000 0000000000001770 00010000")
    assert b"edts" not in sound.trak


def test_the_duration_goes_where_room_was_kept() -> None:
    header = movie()
    place, patch = duration_patch(header, 2.5) or (0, b"")
    patched = header[:place] + patch + header[place + len(patch) :]
    assert child(moov(patched), b"mvex", b"mehd") == bytes.fromhex("01000000 0000000000036ee8")
    assert duration_patch(patched, 2.5) == (place, patch)
    assert duration_patch(b"no movie", 1.0) is None
    assert duration_patch(header.replace(b"free", b"skip"), 1.0) is None


def test_a_fragment_of_two_tracks_byte_by_byte() -> None:
    written = movie_fragment(7, [TrackRun(AVC, 90_000, I_P), TrackRun(AAC, 1 << 33, SOUND)])
    assert written == (
        wrapped(
            "moof",
            wrapped("mfhd", "00000000 00000007"),
            wrapped(
                "traf",
                wrapped("tfhd", "00020038 00000001 00000bb8 00000003 01010000"),
                wrapped("tfdt", "01000000 0000000000015f90"),
                wrapped(
                    "trun",
                    "01000b05 00000002 000000d4 02000000 00000bb8 00000003 00001770 00000bb9 00000001 fffff448",
                ),
            ),
            wrapped(
                "traf",
                wrapped("tfhd", "00020038 00000002 00000400 00000002 02000000"),
                wrapped("tfdt", "01000000 0000000200000000"),
                wrapped("trun", "01000001 00000002 000000d8"),
            ),
        )
        + wrapped("mdat", b"IIIpaaaa")
    )


def test_a_fragment_is_read_back() -> None:
    written = movie_fragment(1, [TrackRun(AVC, 90_000, I_P), TrackRun(AAC, 5, SOUND)])
    video, sound = read_fragment(child(written, b"moof"), tracks())
    assert (video.track_id, video.base, written[video.data : video.data + 4]) == (1, 90_000, b"IIIp")
    assert (*video.durations,) == (3000, 3001)
    assert (*video.sizes,) == (3, 1)
    assert (*video.offsets,) == (6000, -3000)
    assert (*video.keyframes,) == (True, False)
    assert (sound.base, written[sound.data :]) == (5, b"aaaa")
    assert (*sound.durations, *sound.sizes, *sound.offsets, *sound.keyframes) == (1024, 1024, 2, 2, 0, 0, True, True)


def test_what_does_not_fit_is_our_mistake() -> None:
    with pytest.raises(LocalProtocolError, match="no tracks"):
        movie_fragment(1, [])
    with pytest.raises(LocalProtocolError, match="no samples"):
        movie_fragment(1, [TrackRun(AAC, 0, [])])
    with pytest.raises(LocalProtocolError, match="does not fit"):
        movie_fragment(1, [TrackRun(AAC, 1 << 64, SOUND)])


# -- reading ---------------------------------------------------------------------------------------------------------


def test_box_headers() -> None:
    assert box_header(bytes.fromhex("00000008") + b"free") == (b"free", 8, 8)
    assert box_header(bytes.fromhex("00000001") + b"mdat" + (1 << 33).to_bytes(8)) == (b"mdat", 1 << 33, 16)
    for broken in ("", "00000008", "0000000766726565", "0000000166726565", "00000001667265650000000000000008"):
        with pytest.raises(RemoteProtocolError):
            box_header(bytes.fromhex(broken))


def test_children_stay_within_their_parent() -> None:
    assert list(children(wrapped("free", b"x") + wrapped("skip"))) == [(b"free", b"x"), (b"skip", b"")]
    with pytest.raises(RemoteProtocolError, match="beyond"):
        list(children(wrapped("free", b"xyz")[:-1]))
    with pytest.raises(RemoteProtocolError, match="no edts box"):
        child(wrapped("free"), b"edts")


def trak(scale: int, *, version: int = 0, track_id: int = 3) -> bytes:
    times = bytes(16 if version else 8)
    tkhd = wrapped("tkhd", bytes((version, 0, 0, 7)) + times + struct.pack(">II", track_id, 0) + bytes(8 + 60))
    mdhd = wrapped(
        "mdhd", bytes((version, 0, 0, 0)) + times + struct.pack(">I", scale) + bytes(8 if version else 4) + b"\x55\xc4\0\0"
    )
    stbl = wrapped("stbl", wrapped("stsd", bytes(8)))
    media = wrapped(
        "mdia", mdhd, wrapped("hdlr", bytes(8) + b"soun" + bytes(13)), wrapped("minf", wrapped("smhd", bytes(8)), stbl)
    )
    return wrapped("trak", tkhd, media)


def test_headers_with_64_bits_are_read_too() -> None:
    (track,) = read_tracks(trak(48_000, version=1) + wrapped("mvex")).values()
    assert (track.track_id, track.timescale, track.is_video, track.defaults) == (3, 48_000, False, (0, 0, 0))


@pytest.mark.parametrize(
    "content",
    [
        trak(48_000),
        trak(0) + wrapped("mvex"),
        wrapped("mvex", wrapped("trex", bytes(8))),
        wrapped("mvex") + wrapped("trak", wrapped("tkhd", bytes(4))),
    ],
)
def test_a_malformed_movie_is_told(content: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        read_tracks(content)


def traf(tfhd: str, *rest: bytes) -> bytes:
    return wrapped("traf", wrapped("tfhd", tfhd), *rest)


def test_defaults_come_from_the_fragment_or_the_track() -> None:
    known = {1: StoredTrack(1, 1000, True, b"", (40, 9, 0x01010000))}
    content = traf(
        "0000000a 00000001 00000001 00000032",
        wrapped("tfdt", "00000000 00000064"),
        wrapped("trun", "00000001 00000002 00000010"),
        wrapped("trun", "00000201 00000001 00000020 00000007"),
        wrapped("free"),
    )
    first, second = read_fragment(content + wrapped("free"), known)
    assert (first.base, second.base) == (100, None)
    assert (*first.durations, *first.sizes, *first.keyframes) == (50, 50, 9, 9, False, False)
    assert (*second.sizes, *second.offsets) == (7, 0)


def test_a_sample_description_index_and_each_sample_s_flags() -> None:
    known = {1: StoredTrack(1, 1000, True, b"", (40, 9, 0))}
    (run,) = read_fragment(
        traf("00000002 00000001 00000001", wrapped("trun", "00000c01 00000002 00000010 00010000 ffffffff 00000000 00000001")),
        known,
    )
    assert (*run.keyframes,) == (False, True)
    assert (*run.offsets,) == (0xFFFFFFFF, 1)
    assert run.base is None


def test_an_empty_run_with_flags_for_its_first_sample() -> None:
    known = {1: StoredTrack(1, 1000, True, b"", (40, 9, 0))}
    (run,) = read_fragment(traf("00000000 00000001", wrapped("trun", "00000005 00000000 00000010 02000000")), known)
    assert not run.sizes


@pytest.mark.parametrize(
    "content",
    [
        traf("00000001 00000001 0000000000000000"),
        traf("00000000 00000001", wrapped("trun", "00000000 00000001")),
        traf("00000000 00000001", wrapped("trun", "00000001 ffffffff 00000010")),
        traf("00000000 00000001", wrapped("trun", "00000101 00000004 00000010 00000001")),
        traf("00000000 00000001", wrapped("trun", "00000001 00000001")),
        traf("0000"),
    ],
)
def test_a_malformed_fragment_is_told(content: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        read_fragment(content, {1: StoredTrack(1, 1000, True, b"", (0, 0, 0))})


def test_tracks_that_nobody_knows_are_left_out() -> None:
    assert read_fragment(traf("00000000 00000009"), {}) == []


# -- plain movies ------------------------------------------------------------------------------------------------------


def plain(*runs: StoredRun, track: StoredTrack | None = None, media: int = 100) -> bytes:
    table = SampleTable(track or tracks()[1])
    for number, run in enumerate(runs):
        table.add(run, number * 10)
    return progressive_head([table, SampleTable(tracks()[2])], media)


def run(base: int | None, *durations: int, offsets: tuple[int, ...] = (), keyframes: tuple[bool, ...] = ()) -> StoredRun:
    count = len(durations)
    return StoredRun(1, base, 0, durations, (7,) * count, offsets or (0,) * count, keyframes or (True,) * count)


def table(head: bytes, kind: bytes) -> str:
    return child(head, b"moov", b"trak", b"mdia", b"minf", b"stbl", kind).hex(" ", 4)


def test_tables_byte_by_byte() -> None:
    head = plain(
        run(6000, 3000, 3000, offsets=(6000, -3000), keyframes=(True, False)),
        run(12_000, 3000, keyframes=(True,), offsets=(0,)),
    )
    assert table(head, b"stts") == "00000000 00000001 00000003 00000bb8"
    assert table(head, b"ctts") == "01000000 00000003 00000001 00001770 00000001 fffff448 00000001 00000000"
    assert table(head, b"stss") == "00000000 00000002 00000001 00000003"
    assert table(head, b"stsc") == "00000000 00000002 00000001 00000002 00000001 00000002 00000001 00000001"
    assert table(head, b"stsz") == "00000000 00000000 00000003 00000007 00000007 00000007"
    assert table(head, b"stco") == f"00000000 00000002 {len(head):08x} {len(head) + 10:08x}"
    assert head[-16:] == struct.pack(">I4sQ", 1, b"mdat", 116)
    assert [kind for kind, _ in children(child(head, b"moov"))] == [b"mvhd", b"trak"], "an empty track is left out"


def test_samples_of_one_sort_need_fewer_tables() -> None:
    with pytest.raises(RemoteProtocolError, match="ctts"):
        table(plain(run(0, 3000)), b"ctts")
    with pytest.raises(RemoteProtocolError, match="stss"):
        table(plain(run(0, 3000)), b"stss")
    assert table(plain(run(0, 3000, offsets=(5,))), b"ctts").startswith("00000000 00000001")


def test_a_gap_makes_the_sample_before_it_longer_and_an_overlap_shorter() -> None:
    head = plain(run(0, 3000), run(9000, 3000), run(None, 3000), run(14_000, 3000), run(0, 3000), run(0))
    assert table(head, b"stts") == (
        "00000000 00000005 00000001 00002328 00000001 00000bb8 00000001 000007d0 00000001 00000000 00000001 00000bb8"
    )


def test_large_files_have_long_offsets() -> None:
    head = plain(run(0, 3000), media=1 << 32)
    assert table(head, b"co64") == f"00000000 00000001 00000000 {len(head):08x}"


def edits(head: bytes) -> str:
    return child(head, b"moov", b"trak", b"edts", b"elst")[8:].hex(" ", 4)


def test_what_begins_later_than_the_movie_waits() -> None:
    # The movie begins at 6000, as the fragmented one's edit list says.
    assert edits(plain(run(6000, 9000))) == "00000000 00000064 00000000 00000000 00010000"
    assert edits(plain(run(96_000, 9000, offsets=(9,)))).startswith(
        "00000000 000003e9 ffffffff ffffffff 00010000 00000000 00000064"
    )
    assert edits(plain(run(0, 9000))) == "00000000 00000022 00000000 00001770 00010000"


@pytest.mark.parametrize("version", [0, 1])
def test_foreign_headers_keep_their_form(version: int) -> None:
    elst = bytes((version, 0, 0, 0)) + struct.pack(">I", 2) + (
        struct.pack(">QqIQqI", 5, -1, 1, 9, 50, 1) if version else struct.pack(">IiIIiI", 5, -1, 1, 9, 50, 1)
    )  # fmt: skip
    foreign = trak(1000, version=version)
    content = child(foreign, b"trak") + wrapped("edts", wrapped("elst", elst)) + wrapped("udta")
    stored = StoredTrack(3, 1000, False, content, (0, 0, 0))
    head = plain(StoredRun(3, 50, 0, (1000,), (7,), (0,), (True,)), track=stored)
    kinds = [kind for kind, _ in children(child(head, b"moov", b"trak"))]
    assert kinds == [b"tkhd", b"edts", b"mdia", b"udta"]
    tkhd = child(head, b"moov", b"trak", b"tkhd")
    assert int.from_bytes(tkhd[28:36] if version else tkhd[20:24]) == 1000
    assert child(head, b"moov", b"trak", b"mdia", b"mdhd")[-4:] == b"\x55\xc4\0\0"


def test_a_movie_of_nothing_is_our_mistake() -> None:
    with pytest.raises(LocalProtocolError):
        progressive_head([], 0)


def test_times_that_no_table_holds_are_told() -> None:
    with pytest.raises(RemoteProtocolError, match="does not fit"):
        plain(run(0, 1, offsets=(1 << 31,)))


def test_times_beyond_everything_are_told() -> None:
    slow = StoredTrack(3, 1, False, child(trak(1), b"trak"), (0, 0, 0))
    with pytest.raises(RemoteProtocolError, match="does not fit"):
        plain(run((1 << 64) - 10, 3000), track=slow)
    assert table(plain(run(0, 3000), run(1 << 40, 3000)), b"stts") == ("00000000 00000002 00000001 ffffffff 00000001 00000bb8")


def test_the_byte_order_of_the_machine_does_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    little = plain(run(0, 3000))
    monkeypatch.setattr("protocols.mp4.progressive.sys.byteorder", "big")
    assert plain(run(0, 3000)) != little, "the test runs on a machine with the smallest byte first"


def test_an_edit_list_byte_by_byte() -> None:
    assert boxes.edts((5, -1)) == wrapped("edts", wrapped("elst", "01000000 00000001 0000000000000005 ffffffffffffffff 00010000"))
