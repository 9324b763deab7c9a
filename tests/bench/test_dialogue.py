"""What the load's HTTP-FLV player understands of HTTP."""

import pytest

from bench.load.dialogue import FlvDialogue, Unchunker
from bench.load.process import LoadError
from protocols.flv import file_header, write_tag

CODED = b"5\r\nhello\r\n1\r\n!\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n"


@pytest.mark.parametrize("cut", [1, 2, 3, 7, len(CODED)])
def test_chunks_come_in_any_cut(cut: int) -> None:
    unchunker = Unchunker()
    content = b"".join(unchunker.receive(CODED[at : at + cut]) for at in range(0, len(CODED), cut))
    assert content == b"hello!0123456789abcdef"
    assert unchunker.ended


@pytest.mark.parametrize("coded", [b"zz\r\n", b"2\r\nabc\r\n"])
def test_broken_chunks_are_told(coded: bytes) -> None:
    with pytest.raises(LoadError):
        Unchunker().receive(coded)


@pytest.mark.parametrize("chunked", [True, False])
def test_flv_is_heard_with_and_without_chunks(chunked: bool) -> None:
    heard: list[tuple[int, int, bytes]] = []
    dialogue = FlvDialogue("show", lambda *message: heard.append(message))
    assert dialogue.opening().startswith(b"GET /live/show.flv HTTP/1.1\r\n")
    flv = file_header(has_audio=True, has_video=True) + write_tag(9, 40, b"\x27\x01frame")
    coding = b"Transfer-Encoding: chunked\r\n" if chunked else b""
    content = b"%x\r\n%s\r\n" % (len(flv), flv) if chunked else flv
    dialogue.receive(b"HTTP/1.1 200 OK\r\n" + coding)
    assert not dialogue.established
    dialogue.receive(b"\r\n" + content)
    assert dialogue.established
    assert heard == [(9, 40, b"\x27\x01frame")]


def test_another_status_ends_the_dialogue() -> None:
    with pytest.raises(LoadError, match="404"):
        FlvDialogue("show").receive(b"HTTP/1.1 404 Not Found\r\n\r\n")
