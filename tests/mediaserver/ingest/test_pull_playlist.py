import pytest

from mediaserver.ingest.pull_playlist import ByteRange, Choice, Init, Key, MediaPlaylist, parse
from mediaserver.ingest.pull_terms import SourceRefused

HOME = "https://host.example/live/index.m3u8"


def media(*lines: str) -> MediaPlaylist:
    found = parse("\r\n".join(["#EXTM3U", *lines]).encode(), HOME)
    assert isinstance(found, MediaPlaylist)
    return found


def test_a_media_playlist_with_all_that_belongs_to_its_segments() -> None:
    found = media(
        "#EXT-X-TARGETDURATION:4", "#EXT-X-MEDIA-SEQUENCE:7", "#EXT-X-DISCONTINUITY-SEQUENCE:3", '#EXT-X-MAP:URI="init.mp4"',
        "#EXTINF:4.0,title", "a.m4s", "", "# a remark", "#EXT-X-GAP", "#EXTINF:3.5", "/b.m4s",
        "#EXT-X-DISCONTINUITY", '#EXT-X-MAP:URI="two.mp4",BYTERANGE="100@5"', "#EXTINF:2,", "#EXT-X-BYTERANGE:10@50", "all.mp4",
        "#EXTINF:2,", "#EXT-X-BYTERANGE:20", "all.mp4", "#EXT-X-ENDLIST",
    )  # fmt: skip
    assert (found.target, found.ended) == (4.0, True)
    assert [piece.url for piece in found.pieces] == [
        "https://host.example/live/a.m4s",
        "https://host.example/b.m4s",
        "https://host.example/live/all.mp4",
        "https://host.example/live/all.mp4",
    ]
    assert [piece.number for piece in found.pieces] == [7, 8, 9, 10]
    assert [piece.discontinuity for piece in found.pieces] == [3, 3, 4, 4]
    assert [piece.gap for piece in found.pieces] == [False, True, False, False]
    assert [piece.range for piece in found.pieces] == [None, None, ByteRange(10, 50), ByteRange(20, 60)]
    assert [piece.init for piece in found.pieces] == [Init("https://host.example/live/init.mp4")] * 2 + [
        Init("https://host.example/live/two.mp4", ByteRange(100, 5))
    ] * 2
    assert ByteRange(100, 5).bytes == range(5, 105)


def test_the_best_variant_and_the_sound_that_belongs_to_it() -> None:
    text = (
        '#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="one",DEFAULT=NO,URI="one.m3u8"\n'
        '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="two",DEFAULT=YES,URI="two.m3u8"\n'
        '#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID="s",NAME="text",URI="text.m3u8"\n'
        '#EXT-X-STREAM-INF:BANDWIDTH=100,CODECS="avc1.4d401f,mp4a.40.2"\nlow.m3u8\n'
        '#EXT-X-STREAM-INF:BANDWIDTH=900,AUDIO="a",RESOLUTION=1x1\nhigh.m3u8\n'
        "#EXT-X-STREAM-INF:BANDWIDTH=x\nodd.m3u8\n"
    )
    assert parse(text.encode(), HOME) == Choice("https://host.example/live/high.m3u8", "https://host.example/live/two.m3u8")
    plain = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=100\nlow.m3u8\n"
    assert parse(plain.encode(), HOME) == Choice("https://host.example/live/low.m3u8", "")


def test_numbers_that_are_none_are_harmless() -> None:
    found = media(
        "#EXT-X-TARGETDURATION:nan", "#EXT-X-MEDIA-SEQUENCE:-1", "#EXTINF:inf,", "a", "#EXTINF:-3,", "b", "#EXTINF:x", "c"
    )
    assert [piece.duration for piece in found.pieces] == [3600.0, 0.0, 0.0]
    assert [piece.number for piece in found.pieces] == [0, 1, 2]
    assert found.target == 3600.0
    assert media("stray.ts").pieces == ()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not a playlist"),
        ("<html>", "not a playlist"),
        ("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n", "without anything"),
        ('#EXTM3U\n#EXT-X-KEY:METHOD=SAMPLE-AES,URI="k"\n#EXTINF:1,\na\n', r"\(SAMPLE-AES\) cannot be read, only AES-128 can"),
        ('#EXTM3U\n#EXT-X-KEY:METHOD=\x1b[0m<b>,URI="k"\n#EXTINF:1,\na\n', r"\(0\) cannot"),
        ('#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="k",KEYFORMAT="com.drm"\n#EXTINF:1,\na\n', "a way of its own"),
        ("#EXTM3U\n#EXT-X-KEY:METHOD=AES-128\n#EXTINF:1,\na\n", "a key that is none"),
        ('#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="k",IV=12\n#EXTINF:1,\na\n', "a key that is none"),
        ('#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="k"\n#EXT-X-MAP:URI="m"\n', "without an initialization vector"),
        ("#EXTM3U\n" + "".join(f'#EXT-X-KEY:METHOD=AES-128,URI="k",KEYFORMAT="{n}"\n' for n in range(30)), "too many"),
        ("#EXTM3U\n#EXTINF:1,\n#EXT-X-BYTERANGE:0@0\na\n", "empty byte range"),
        ("#EXTM3U\n#EXTINF:1,\nhttp://[::1\n", "an address that is none"),
        ("#EXTM3U\n" + "#EXTINF:1,\na\n" * 20_001, "too many"),
        ("#EXTM3U\n" + "#EXT-X-STREAM-INF:BANDWIDTH=1\na\n" * 20_001, "too many"),
    ],
)
def test_what_is_not_read(text: str, reason: str) -> None:
    with pytest.raises(SourceRefused, match=reason):
        parse(text.encode(), HOME)


def test_keys_hold_from_where_they_stand_until_the_next_one() -> None:
    one, two = Key("https://host.example/live/one?secret"), Key("https://keys.example/two", bytes(15) + b"\xab")
    found = media(
        "#EXT-X-MEDIA-SEQUENCE:300", "#EXT-X-KEY:METHOD=NONE", '#EXT-X-MAP:URI="clear"', "#EXTINF:1,", "a",
        '#EXT-X-KEY:METHOD=AES-128,URI="one?secret"', '#EXT-X-KEY:METHOD=SAMPLE-AES,URI="x",KEYFORMAT="com.drm"',
        "#EXTINF:1,", "b",
        '#EXT-X-KEY:METHOD=AES-128,URI="https://keys.example/two",IV=0XaB,KEYFORMAT="identity"', '#EXT-X-MAP:URI="dark"',
        "#EXTINF:1,", "c", "#EXT-X-KEY:METHOD=NONE", "#EXTINF:1,", "d",
    )  # fmt: skip
    assert [piece.key for piece in found.pieces] == [None, one, two, None]
    clear, dark = Init("https://host.example/live/clear"), Init("https://host.example/live/dark", key=two)
    assert [piece.init for piece in found.pieces] == [clear, clear, dark, dark]
    assert one.vector_for(301) == bytes(14) + b"\x01\x2d"
    assert two.vector_for(301) == bytes(15) + b"\xab"
    assert "secret" not in repr(one)


def test_bytes_that_are_no_text_are_no_error() -> None:
    assert isinstance(parse(b"#EXTM3U\n\xff\xfe\0\n#EXTINF:1,\n\xff\n", HOME), MediaPlaylist)
