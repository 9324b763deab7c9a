"""The wire formats as targets: everything that reads bytes from a stranger without I/O."""

import contextlib
import random
from typing import Any

from protocols import codec as codecs
from protocols.codec import nal
from protocols.errors import RemoteProtocolError
from protocols.flv import AUDIO, DATA, VIDEO, FlvReader, TagReader, read_metadata
from protocols.media import Codec, MediaKind, Packet, Track
from protocols.mp4.fragment import Sample, fragment, init_segment
from protocols.rtmp import amf0, amf3
from protocols.rtmp.amf_values import Budget
from protocols.rtmp.chunk import split_message
from protocols.rtmp.chunk_reader import ChunkReader
from protocols.rtmp.client import ClientSession
from protocols.rtmp.events import ConnectRequested, DataReceived, MediaReceived, PlayRequested, PublishRequested
from protocols.rtmp.limits import SessionLimits
from protocols.rtmp.session import ServerSession
from protocols.timebase import REGULAR_LIMIT, Timeline
from tests.fuzz import seeds
from tests.fuzz.harness import Target
from tests.fuzz.mutate import mutate, pieces

HANDSHAKE = 3073
_REFUSALS = (RemoteProtocolError,)
_CONVERSATIONS = {goal: seeds.conversation(goal) for goal in ("publish", "play")}
_PLAIN_HELLO = b"\x03" + bytes(3072)
_CONNECT = b"".join(split_message(20, 0, amf0.encode("connect", 1, {"app": "live", "tcUrl": "rtmp://host/live"}), 128, 0))
_COMMAND_TYPES = (20, 20, 20, 20, 17, 18)
_NAMES = (
    *("connect", "createStream", "createStream", "publish", "publish", "play", "play2", "pause", "seek", "closeStream"),
    *("deleteStream", "releaseStream", "FCPublish", "FCUnpublish", "FCSubscribe", "getStreamLength", "receiveAudio", "_checkbw"),
    *("_result", "_error", "onStatus", "onBWDone", "@setDataFrame", "", "constructor", "\u202ename\x00"),
)
_ARGUMENTS: tuple[object, ...] = (
    *(None, None, None, 0, 1, 1, 2, -1, 1e308, float("nan"), float("inf"), True, False, amf0.UNDEFINED),
    *("name", "name?key=1&key=2", "", "../..", "x" * 5000, "live", "append", "\u202e", "a/b/c", "?", {}, [], [[[]]], {"code": 1}),
    *({"app": "live?x=1", "tcUrl": 5, "fourCcList": ["*", 7, None], "videoFourCcInfoMap": [], "capsEx": "x"}, amf0.Date(0.0)),
)
_CONTROLS = ((1, 4), (2, 4), (3, 4), (4, 6), (5, 4), (6, 5))


# -- AMF -----------------------------------------------------------------------------------------------------------------


def _amf0(rng: random.Random) -> bytes:
    return mutate(rng, rng.choice(seeds.AMF0))


def _amf3(rng: random.Random) -> bytes:
    return mutate(rng, rng.choice(seeds.AMF3))


def _run_amf0(data: bytes) -> None:
    values = amf0.decode_all(data)
    if b"\x11" not in data:  # what AMF3 can say beyond AMF0 has no way back
        amf0.encode(*values)


def _run_amf3(data: bytes) -> None:
    budget, offset = Budget(), 0
    while offset < len(data):
        _, offset = amf3.decode_value(data, offset, 0, budget)


# -- FLV -----------------------------------------------------------------------------------------------------------------


def mutate_tags(rng: random.Random, tags: list[seeds.Tag]) -> list[seeds.Tag]:
    """A publication with tags that are changed, dropped, repeated, out of order, of another type or at another time."""
    tags = list(tags)
    for _ in range(rng.randint(1, 4)):
        if not tags:
            break
        at = rng.randrange(len(tags))
        type_id, timestamp, body = tags[at]
        change = rng.random()
        if change < 0.5:
            tags[at] = (type_id, timestamp, mutate(rng, body))
        elif change < 0.6:
            del tags[at]
        elif change < 0.7:
            tags.insert(rng.randrange(len(tags)), tags[at])
        elif change < 0.75:
            tags[at] = (rng.choice((AUDIO, VIDEO, DATA, 15, 22)), timestamp, body)
        else:
            jump = rng.choice((0, -1, 1, -500, 15_000, 1 << 31, rng.getrandbits(32)))
            tags[at:] = [(kind, (when + jump) % (1 << 32), data) for kind, when, data in tags[at:]]
    return tags


def _tags(rng: random.Random) -> list[seeds.Tag]:
    return mutate_tags(rng, rng.choice(seeds.PUBLICATIONS))


def _run_tags(tags: list[seeds.Tag]) -> None:
    reader, timeline = TagReader(), Timeline()
    last = dict.fromkeys(MediaKind, -1)
    for type_id, timestamp, body in tags:
        word = reader.read(type_id, timestamp, body)
        if isinstance(word, Packet):
            placed = timeline.place(word.kind, word.dts)
            if placed < last[word.kind] or word.offset >= len(body):
                raise AssertionError(f"{word.kind} went from {last[word.kind]} to {placed}")
            last[word.kind] = placed
        elif type_id == DATA:
            read_metadata(body)


def _file(rng: random.Random) -> list[bytes]:
    return pieces(rng, mutate(rng, rng.choice(seeds.FILES)))


def _run_file(data: list[bytes]) -> None:
    reader, tags = FlvReader(), TagReader()
    for piece in data:
        for type_id, timestamp, body in reader.receive_data(piece):
            tags.read(type_id, timestamp, body)


def _metadata(rng: random.Random) -> bytes:
    return mutate(rng, seeds.METADATA)


def _clocks(rng: random.Random) -> list[tuple[MediaKind, int]]:
    """Two clocks that run, stop, tremble, jump and part. A step of -1 stands for the publisher's return."""
    times = [rng.choice((0, 1 << 31, (1 << 32) - 500, rng.getrandbits(32))) for _ in range(2)]
    if rng.random() < 0.7:
        times[1] = times[0] + rng.randint(-30, 30)
    steps = []
    for _ in range(rng.randint(1, 150)):
        which = rng.randrange(2)
        chance = rng.random()
        if chance < 0.9:
            times[which] += rng.choice((20, 33, 40, 40, 40, 0))
        elif chance < 0.97:
            times[which] += rng.choice((-1, -40, -900, -5000, 900, 9_000, 11_000, 15_000))
        elif chance < 0.99:
            times = [time + rng.choice((3_600_000, -3_600_000, 10_500, 1 << 31)) for time in times]
        else:
            steps.append((MediaKind.VIDEO, -1))
        steps += [((MediaKind.VIDEO, MediaKind.AUDIO)[which], times[which] % (1 << 32))] * rng.choice((1, 1, 1, 1, 1, 40))
    return steps


def _run_clocks(steps: list[tuple[MediaKind, int]]) -> None:
    timeline, last, gap = Timeline(), dict.fromkeys(MediaKind, -1), 0
    for kind, timestamp in steps:
        if timestamp < 0:
            timeline.resume(100)
            gap = 100
            continue
        placed, latest = timeline.place(kind, timestamp), max(last.values())
        if placed < max(last[kind], 0) or (latest >= 0 and placed > latest + max(REGULAR_LIMIT, gap)):
            raise AssertionError(f"{kind} went from {last[kind]} to {placed}, the latest was {latest}")
        last[kind], gap = placed, 0


# -- codecs --------------------------------------------------------------------------------------------------------------


def _track(rng: random.Random) -> tuple[Track, bytes]:
    codec = rng.choice(list(seeds.CLIPS))
    config, packet = seeds.CLIPS[codec]
    if rng.random() < 0.6:
        config = mutate(rng, config)
    if rng.random() < 0.5:
        packet = mutate(rng, packet)
    return Track(codec, config if rng.random() < 0.95 else b""), packet


def _run_track(data: tuple[Track, bytes]) -> None:
    track, packet = data
    for read in (lambda: codecs.is_keyframe(track.codec, packet), lambda: codecs.packet_duration(track, packet)):
        _try(read)
    payload = codecs.sample_data(track.codec, packet)
    track = codecs.complete(track, packet)
    codecs.parameters(track)
    init_segment(track)
    fragment(1, track, 0, [Sample(payload, 1024, 0, True)])


def _try(read: Any) -> None:
    with contextlib.suppress(RemoteProtocolError):
        read()


def _nal(rng: random.Random) -> bytes:
    packet = seeds.CLIPS[rng.choice((Codec.H264, Codec.HEVC))][1]
    return mutate(rng, packet if rng.random() < 0.5 else nal.length_prefixed_to_annexb(packet))


def _run_nal(data: bytes) -> None:
    nal.annexb_to_length_prefixed(data)
    nal.unescape(data)
    for size in (1, 2, 4):
        _try(lambda size=size: list(nal.split_length_prefixed(data, size)))


# -- RTMP ----------------------------------------------------------------------------------------------------------------


def _handshake(rng: random.Random) -> list[bytes]:
    said = rng.choice((_CONVERSATIONS["publish"][0], _PLAIN_HELLO, b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01"))
    return pieces(rng, mutate(rng, said[: HANDSHAKE + 300]))


def _run_handshake(data: list[bytes]) -> None:
    _serve(data, hello=b"")


def _commands(rng: random.Random) -> list[bytes]:
    """A client's conversation, changed anywhere behind its handshake."""
    return pieces(rng, mutate(rng, _CONVERSATIONS[rng.choice(("publish", "play"))][0][HANDSHAKE:]))


def _orders(rng: random.Random) -> list[bytes]:
    """Commands in any order and number, of any stream, with arguments of any type."""
    out = [_CONNECT] if rng.random() < 0.9 else []
    for _ in range(rng.randint(1, 12)):
        arguments = [rng.choice(_ARGUMENTS) for _ in range(rng.randint(0, 4))]
        body = amf0.encode(rng.choice(_NAMES), rng.choice((0, 1, 2, 5)), *arguments)
        type_id, stream_id = rng.choice(_COMMAND_TYPES), rng.choice((0, 0, 1, 1, 2, 77))
        out += split_message(type_id, 0, b"\x00" + body if type_id == 17 else body, 128, stream_id)
    return pieces(rng, b"".join(out))


def _messages(rng: random.Random) -> list[bytes]:
    """A publication of whole messages, some of them controls with any content, in chunks of sizes that change."""
    chunk_size = 128
    out = [_CONVERSATIONS["publish"][0][HANDSHAKE:], *split_message(1, 0, chunk_size.to_bytes(4), chunk_size, 0)]
    for type_id, timestamp, body in mutate_tags(rng, rng.choice(seeds.PUBLICATIONS)):
        chance = rng.random()
        if chance < 0.01:
            control, length = rng.choice(_CONTROLS)
            out += split_message(control, 0, mutate(rng, rng.randbytes(length), 1), chunk_size, 0)
        elif chance < 0.03:
            wanted = rng.choice((1, 2, 64, 4096, 0x7FFFFFFF))
            out += split_message(1, 0, wanted.to_bytes(4), chunk_size, 0)
            chunk_size = min(wanted, 0xFFFFFF)
        elif chance < 0.04:
            out += split_message(20, 0, mutate(rng, rng.choice(seeds.AMF0)), chunk_size, rng.choice((0, 1, 1, 2)))
        out += split_message(type_id, timestamp, body, chunk_size, rng.choice((1, 1, 1, 1, 1, 1, 0, 2)))
    data = b"".join(out)
    return pieces(rng, mutate(rng, data, 1) if rng.random() < 0.5 else data)


def _run_server(data: list[bytes]) -> None:
    _serve(data, hello=_PLAIN_HELLO)


def _serve(data: list[bytes], hello: bytes) -> None:
    session, reader, timeline = ServerSession(entropy=b"s"), TagReader(), Timeline()
    for piece in (hello, *data):
        for event in session.receive_data(piece):
            match event:
                case MediaReceived(type_id, _, timestamp, body):
                    word = reader.read(type_id, timestamp, body)
                    if isinstance(word, Packet):
                        timeline.place(word.kind, word.dts)
                case DataReceived(body=body):
                    read_metadata(body)
                case ConnectRequested():
                    session.accept_connect()
                case PublishRequested() as request:
                    session.accept_publish(request)
                case PlayRequested() as request:
                    session.accept_play(request)
        session.data_to_send()


def _answers(rng: random.Random) -> tuple[str, list[bytes]]:
    goal = rng.choice(("publish", "play"))
    said = _CONVERSATIONS[goal][1]
    changed = mutate(rng, said[HANDSHAKE:])
    if rng.random() < 0.1:
        return goal, pieces(rng, mutate(rng, said))
    return goal, pieces(rng, said[:HANDSHAKE] + changed)


def _run_client(data: tuple[str, list[bytes]]) -> None:
    goal, answers = data
    client = ClientSession("live", "rtmp://host/live", entropy=b"c")
    client.start()
    if goal == "publish":
        client.publish("name")
    else:
        client.play("name")
    for piece in answers:
        client.receive_data(piece)
        client.data_to_send()


def _chunks(rng: random.Random) -> list[bytes]:
    if rng.random() < 0.2:
        return pieces(rng, rng.randbytes(rng.randint(1, 200)))
    messages = [split_message(kind, when, body, 128) for kind, when, body in seeds.PUBLICATIONS[0][:6]]
    parts = [part for message in messages for part in message]
    if rng.random() < 0.3:
        rng.shuffle(parts)
    return pieces(rng, mutate(rng, b"".join(parts)))


def _run_chunks(data: list[bytes]) -> None:
    reader = ChunkReader(SessionLimits())
    for piece in data:
        reader.receive(piece)


def _floods(rng: random.Random) -> list[bytes]:
    """One small thing again and again, 64 kB of it in one read, at any stage of a conversation: what costs most for its bytes."""
    goal = rng.choice(("", "publish", "play"))
    said = _CONVERSATIONS[goal][0][HANDSHAKE:] if goal else b""
    chunk_size, stream_id = rng.choice((1, 2, 128, 1 << 16)), rng.choice((0, 1))
    type_id, body = rng.choice(_SMALL)
    said += b"".join(split_message(1, 0, chunk_size.to_bytes(4), 128 if not goal else 60_000, 0))
    once = split_message(type_id, 0, body, chunk_size, stream_id)
    unit = b"".join(once)
    if rng.random() < 0.7:  # a repetition is a chunk of type 3 with the same body
        said += unit
        unit = b"".join((bytes((once[0][0] | 0xC0,)), *once[1:]))
    return [said, unit * ((rng.choice((2000, 8000, 65_536)) - len(said)) // len(unit) + 1)]


def _small() -> list[tuple[int, bytes]]:
    arguments: tuple[tuple[object, ...], ...] = ((), (None, "name"), (None, [None] * 100), ({"": {}},))
    metadata: tuple[list[object], ...] = ([], [None] * 4000, [{}] * 1000)
    calls = [amf0.encode(name, 1, *values) for name in _NAMES for values in arguments]
    data = [amf0.encode("onMetaData", {"a": values}) for values in metadata]
    return [
        *((20, call) for call in calls),
        *((18, each) for each in (*data, b"", b"\2\0\0")),
        *((type_id, body) for type_id in (8, 9) for body in (b"", b"x", b"\xaf\x01x", b"\x27\x01\0\0\0x", bytes(700))),
        *((22, tag * count) for tag in (b"\x08" + bytes(14), b"\x12\0\0\x01" + bytes(11)) for count in (1, 100, 4000)),
        *((type_id, bytes(3) + b"\x01") for type_id in (1, 2, 3, 5, 6)),
        *((4, bytes((0, event, 0, 0, 0, 1))) for event in (0, 1, 6, 7, 31)),
    ]


_SMALL = _small()


TARGETS = [
    Target("handshake", _handshake, _run_handshake, _REFUSALS),
    Target("chunks", _chunks, _run_chunks, _REFUSALS),
    Target("commands", _commands, _run_server, _REFUSALS),
    Target("orders", _orders, _run_server, _REFUSALS),
    Target("messages", _messages, _run_server, _REFUSALS),
    Target("floods", _floods, _run_server, _REFUSALS, weight=0.05),
    Target("client", _answers, _run_client, _REFUSALS),
    Target("amf0", _amf0, _run_amf0, _REFUSALS),
    Target("amf3", _amf3, _run_amf3, _REFUSALS),
    Target("flv tags", _tags, _run_tags),
    Target("flv file", _file, _run_file, _REFUSALS),
    Target("clocks", _clocks, _run_clocks, weight=0.5),
    Target("metadata", _metadata, read_metadata),
    Target("codecs", _track, _run_track, _REFUSALS),
    Target("nal", _nal, _run_nal, _REFUSALS),
]
