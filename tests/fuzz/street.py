"""The engine's pure houses as targets: packaging of hostile media, and players' requests."""

import random
from collections.abc import Sequence

from mediaserver.addresses import client_address
from mediaserver.config import HlsConfig
from mediaserver.delivery.httpflv import FlvWire
from mediaserver.delivery.request import MediaRequest, RequestError, looks_like_http, read_head, read_target
from mediaserver.delivery.response import Cors, refusal, render, respond
from mediaserver.delivery.websocket import FrameReader, WebSocketError, check, close_code
from mediaserver.hub.gop import GopCache
from mediaserver.hub.stream import LiveStream
from mediaserver.packaging.answer import Missing, Ready
from mediaserver.packaging.packagers import Packagers
from protocols.errors import RemoteProtocolError
from protocols.flv import DATA, TagReader, read_metadata
from protocols.hls import read_reload
from protocols.media import Packet, Track
from tests.fuzz import seeds
from tests.fuzz.harness import Target
from tests.fuzz.mutate import mutate, pieces
from tests.fuzz.targets import mutate_tags

_NOW = 1_800_000_000.0
_RESOURCES = [
    "index.m3u8",
    "video.m3u8",
    "audio.m3u8",
    "manifest.mpd",
    "video/init-0.mp4",
    "video/1.m4s",
    "video/1-900000.m4s",
    "audio/1.0.m4s",
    "96p/video.m3u8",
]
_SETTINGS = HlsConfig(segment_duration=0.5, part_duration=0.1)
_CORS = Cors(["*"])
_BODY = Ready(bytes(range(256)), "video/mp4", 1.0)
_HEADS = [
    b"GET /live/name/video.m3u8?_HLS_msn=42&_HLS_part=3&_HLS_skip=YES HTTP/1.1\r\nHost: host\r\nAccept-Encoding: gzip;q=0.5\r\n"
    b"Origin: https://page\r\nX-Forwarded-For: 1.2.3.4, ::1\r\nUser-Agent: x\r\n\r\n",
    b"HEAD /live/name/video/17.m4s HTTP/1.0\r\nRange: bytes=0-99\r\nConnection: close\r\n\r\n",
    b"GET /live/name.flv HTTP/1.1\r\nHost: host\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    b"GET /live/%6eame/..%2f..%2fetc/passwd?a=%41&b=%zz HTTP/1.1\r\nHost: host\r\nRange: bytes=-5\r\n\r\n",
    b"OPTIONS /live/name/index.m3u8 HTTP/1.1\r\nHost: host\r\nAccess-Control-Request-Method: GET\r\n\r\n",
]
_FRAMES = [b"\x89\x85abcdhello", b"\x82\xfe\x00\x80" + bytes(132), b"\x88\x82abcd\x03\xe8", b"\x01\x81abcdx\x80\x81abcdy"]
_QUERIES = [
    "_HLS_msn=1",
    "_HLS_msn=0&_HLS_part=0",
    "_HLS_msn=99999999999999999999",
    "_HLS_skip=v2",
    "_HLS_msn=1&_HLS_part=4294967296",
    "",
]


class _Hub:
    """One stream, or none."""

    def __init__(self) -> None:
        self.stream = LiveStream("name", GopCache(1 << 20, 10_000), 0.0)

    def find(self, name: str) -> LiveStream | None:
        return self.stream if name == "name" else None


def _publish(tags: Sequence[seeds.Tag]) -> Packagers:
    """Package ``tags`` as they come in, and let a player of FLV have them too."""
    hub = _Hub()
    clock = [_NOW]
    packagers = Packagers(hub, _SETTINGS, lambda: clock[0])
    packagers.start("name", 0.0)
    stream, reader, wire = hub.stream, TagReader(), FlvWire()
    for type_id, timestamp, body in tags:
        clock[0] += 0.04
        word = reader.read(type_id, timestamp, body)
        if isinstance(word, Track):
            stream.write_track(word)
            wire.pieces((word,), 0)
        elif isinstance(word, Packet):
            stream.write(word)
            wire.pieces((word,), 0)
        elif type_id == DATA and (metadata := read_metadata(body)) is not None:
            stream.write_metadata(metadata)
            wire.pieces((metadata,), 0)
    return packagers


def _publication(rng: random.Random) -> list[seeds.Tag]:
    return mutate_tags(rng, rng.choice(seeds.PUBLICATIONS))


def _run_packaging(tags: list[seeds.Tag]) -> None:
    packagers = _publish(tags)
    for resource in _RESOURCES:
        packagers.answer("name", resource, {}, 1.0)


_PACKAGED = _publish(seeds.tags(*list(seeds.CLIPS)[:1], *list(seeds.CLIPS)[4:5], count=100))


def _question(rng: random.Random) -> tuple[str, str]:
    resource, query = rng.choice(_RESOURCES).encode(), rng.choice(_QUERIES).encode()
    path = b"/live/name/" + (mutate(rng, resource) if rng.random() < 0.5 else resource)
    return path.decode("latin-1"), mutate(rng, query).decode("latin-1")


def _run_playlist(question: tuple[str, str]) -> None:
    target = read_target(*question)
    if target is not None:
        read_reload(target.query)
        _PACKAGED.answer(target.name, target.resource, target.query, 2.0)


def _head(rng: random.Random) -> bytes:
    return mutate(rng, rng.choice(_HEADS))


def _run_request(head: bytes) -> None:
    looks_like_http(head)
    request = read_head(head)
    if request is None:
        return
    _answer(request)
    client_address("127.0.0.1", request.forwarded, ())
    if request.target is not None:
        read_reload(request.target.query)


def _answer(request: MediaRequest) -> None:
    if request.websocket is not None:
        check(request, _CORS)
    for answer in (_BODY, Missing()):
        render(respond(request, answer, _CORS), "now", keep_alive=request.keep_alive)
    render(refusal(request, 400, "no", _CORS), "now", keep_alive=False)


def _frames(rng: random.Random) -> list[bytes]:
    return pieces(rng, mutate(rng, b"".join(rng.choice(_FRAMES) for _ in range(3))))


def _run_frames(data: list[bytes]) -> None:
    reader = FrameReader()
    for piece in data:
        for _, payload in reader.receive(piece):
            close_code(payload)


TARGETS = [
    Target("packaging", _publication, _run_packaging, weight=0.2),
    Target("playlists", _question, _run_playlist, (RequestError, RemoteProtocolError)),
    Target("requests", _head, _run_request, (RequestError, RemoteProtocolError)),
    Target("websocket", _frames, _run_frames, (WebSocketError,)),
]
