"""What a camera may say through the tunnel: nothing that FFmpeg could take for leave to go elsewhere."""

import pytest

from mediaserver.transport.tunnel import RtspInspector
from protocols.errors import RemoteProtocolError

LOCATION = b"Location: rtsp://127.0.0.1/a\r\n"
MOVED = b"RTSP/1.0 302 Moved\r\nCSeq: 2\r\n" + LOCATION + b"\r\n"

HONEST = (
    b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nPublic: OPTIONS, DESCRIBE\r\n\r\n"
    b'RTSP/1.0 401 Unauthorized\r\nCSeq: 2\r\nWWW-Authenticate: Digest realm="x", nonce="y"\r\n\r\n'
    b"RTSP/1.0 200 OK\r\nCSeq: 3\r\nContent-Base: rtsp://camera/a/\r\ncontent-length:  5 \r\n\r\nv=0\r\n"
    b"$\x00\x00\x04\r\n\r\n"
    b"OPTIONS rtsp://camera/a RTSP/1.0\r\nCSeq: 1\r\n\r\n"
    b"RTSP/1.0 200\r\n\r\n"
)


@pytest.mark.parametrize("size", [1, 7, 64, 10_000])
def test_a_camera_is_heard_whatever_the_pieces(size: int) -> None:
    inspector = RtspInspector()
    heard = [inspector.look(HONEST[at : at + size]) for at in range(0, len(HONEST), size)]
    assert b"".join(heard) == HONEST


@pytest.mark.parametrize(
    "said",
    [
        MOVED,
        MOVED.replace(b"302", b"+302"),
        MOVED.replace(b"302", b"0302"),
        MOVED.replace(b" 302", b"  302"),
        MOVED.replace(b" 302", b"\t302"),
        b" " + MOVED,
        b"\r\n" + MOVED,
        b"REDIRECT rtsp://camera/a RTSP/1.0\r\nCSeq: 1\r\n" + LOCATION + b"\r\n",
        # Lines that end in a line feed alone: an answer within the head of another.
        b"RTSP/1.0 200 OK\nCSeq: 1\n\n" + MOVED.replace(b"\r\n", b"\n") + b"\r\n\r\n",
        b"RTSP/1.0 200 OK\r\nCSeq: 1\n\n" + MOVED,
        # A length that only one of two readers believes: an answer within the body of another.
        b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n Content-Length: 300\r\n\r\n" + MOVED,
        b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Length : 300\r\n\r\n" + MOVED,
        b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Length: 300\r\nContent-Length: 0\r\n\r\n" + MOVED,
        b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Length: \x0b300\r\n\r\n" + MOVED,
        # A frame that begins between two lines of a head.
        b"RTSP/1.0 200 OK\r\n$\x00\x00\x10CSeq: 1\r\n\r\n" + MOVED,
    ],
)
def test_a_camera_that_sends_us_elsewhere_is_stopped_in_every_disguise(said: bytes) -> None:
    inspector = RtspInspector()
    with pytest.raises(RemoteProtocolError):
        inspector.look(said)


def test_a_head_and_a_body_have_bounds() -> None:
    with pytest.raises(RemoteProtocolError, match="too large"):
        RtspInspector().look(b"RTSP/1.0 200 OK\r\nContent-Length: 9999999\r\n\r\n")
    with pytest.raises(RemoteProtocolError, match="not RTSP"):
        RtspInspector().look(b"x" * 70_000)
