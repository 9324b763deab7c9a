import itertools
from pathlib import Path

import pytest

from mediaserver.ingest.pull_file import allowed, open_file, read
from mediaserver.ingest.pull_terms import SourceEnded, SourceLost, SourceRefused, Terms
from mediaserver.ports import InputType
from protocols.media import MediaKind, Packet
from tests.media import Clips


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder of files, a secret beside it, and links that lead there."""
    (tmp_path / "secret.mp4").write_bytes(b"secret")
    folder = tmp_path / "media"
    (folder / "deep").mkdir(parents=True)
    (folder / "a b.mp4").write_bytes(b"media")
    (folder / "deep" / "c.mp4").write_bytes(b"media")
    (folder / "inside.mp4").symlink_to(folder / "a b.mp4")
    (folder / "outside.mp4").symlink_to(tmp_path / "secret.mp4")
    (folder / "up").symlink_to(tmp_path)
    (folder / "loop").symlink_to(folder / "loop")
    return folder


@pytest.mark.parametrize(
    "name", ["{}/a b.mp4", "a b.mp4", "deep/c.mp4", "{}/deep/../a b.mp4", "inside.mp4", "file://{}/a%20b.mp4"]
)
def test_files_in_the_folders_are_found(name: str, root: Path) -> None:
    assert allowed(name.format(root), ("/nowhere", str(root))).read_bytes() == b"media"


@pytest.mark.parametrize(
    "name",
    ["/etc/passwd", "{}/../secret.mp4", "../secret.mp4", "outside.mp4", "up/secret.mp4", "{}/up/secret.mp4", "loop", "gone.mp4",
     "file://{}/%2e%2e/secret.mp4", "a\0b", "x" * 5000, "{}x/a.mp4", "../media-else/a.mp4"],
)  # fmt: skip
def test_nothing_else_is(name: str, root: Path) -> None:
    (root.parent / "media-else").mkdir()
    (root.parent / "media-else" / "a.mp4").write_bytes(b"secret")
    with pytest.raises(SourceRefused, match=r"there is no such file in pull\.file_roots"):
        allowed(name.format(root), (str(root),))


def test_without_folders_there_are_no_files(root: Path) -> None:
    with pytest.raises(SourceRefused, match="is empty"):
        allowed(str(root / "a b.mp4"), ())


def test_a_link_that_took_the_place_of_a_file_is_not_followed(root: Path) -> None:
    path = allowed("a b.mp4", (str(root),))
    path.unlink()
    path.symlink_to(root.parent / "secret.mp4")
    with pytest.raises(OSError):
        open_file(path)


def test_what_is_no_file_is_not_read(root: Path) -> None:
    with pytest.raises(SourceRefused, match="not a file"):
        open_file(root / "deep")
    with pytest.raises(SourceRefused, match="not a file"):
        open_file(Path("/dev/zero"))


def terms(path: Path, *, loop: bool) -> Terms:
    return Terms(InputType.FILE, str(path), loop, False, 5.0, (str(path.parent),), 1 << 20, 1 << 30, 10**9, "", True)


def test_terms_survive_the_way_to_the_worker(root: Path) -> None:
    written = terms(root / "a", loop=True)
    assert Terms.read(written.settings()) == written
    assert "media" not in repr(written).partition("roots")[0]


@pytest.mark.parametrize("container", ["mp4", "ts", "mkv", "flv"])
def test_a_loop_goes_on_where_the_round_before_it_ended(container: str, clips: Clips) -> None:
    file = clips.get(seconds=1.0, container=container)
    pictures: list[Packet] = []
    sounds: list[Packet] = []
    for item in read(terms(file, loop=True)):
        if isinstance(item, Packet):
            (pictures if item.kind is MediaKind.VIDEO else sounds).append(item)
        if len(pictures) == 80:
            break
    steps = {b.dts - a.dts for a, b in itertools.pairwise(pictures)}
    assert steps <= {39, 40, 41}
    assert [number for number, packet in enumerate(pictures) if packet.keyframe] == [0, 25, 50, 75]
    # The pictures are shown one after the other, too.
    shown = sorted(packet.pts for packet in pictures[:75])
    assert {b - a for a, b in itertools.pairwise(shown)} <= {39, 40, 41}
    # A round of sound does not begin before the one before it has ended, nor much later.
    assert all(15 < b.dts - a.dts < 45 for a, b in itertools.pairwise(sounds))


def test_a_file_without_loop_ends(clips: Clips) -> None:
    with pytest.raises(SourceEnded):
        list(read(terms(clips.get(seconds=1.0, container="mp4"), loop=False)))


def test_what_is_no_media_says_so(root: Path) -> None:
    with pytest.raises(SourceLost, match="cannot be read"):
        list(read(terms(root / "a b.mp4", loop=True)))


def test_a_container_that_names_other_files_does_not_get_them(tmp_path: Path, clips: Clips) -> None:
    for name, text in {
        "list.ffconcat": f"ffconcat version 1.0\nfile {clips.get(seconds=1.0)}\n",
        "list.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{clips.get(seconds=1.0, container='ts')}\n#EXT-X-ENDLIST\n",
        "session.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    }.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(SourceLost, match="cannot be read"):
            list(read(terms(tmp_path / name, loop=False)))
