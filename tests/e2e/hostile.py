"""What an RTMP server must survive, each case as the bytes that one connection sends.

``REFUSED``: nothing sane can follow, the server closes at once. ``WAITED``: little is wrong but that nothing comes of it, a
deadline closes at the latest. ``IGNORED``: the specification, or what real encoders do, says to go on.
"""

import enum
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from protocols.rtmp import amf0
from protocols.rtmp.chunk import split_message
from protocols.rtmp.message import AGGREGATE, AUDIO, COMMAND, COMMAND_AMF3, DATA, VIDEO, Control

#: Stands wherever a secret could stand. No log line may show it.
CANARY = "canary7f3a9"
#: The name under which somebody well-behaved publishes meanwhile.
GOOD = "good"


class Fate(enum.Enum):
    """What becomes of the connection."""

    REFUSED = "closed at once"
    WAITED = "closed by a deadline"
    IGNORED = "ignored"


@dataclass(frozen=True, slots=True)
class Case:
    """``pieces`` are sent one after the other, each in a packet of its own."""

    name: str
    pieces: tuple[bytes, ...]
    fate: Fate = Fate.REFUSED


# -- building blocks ---------------------------------------------------------------------------------------------------------


def message(type_id: int, body: bytes, stream_id: int = 0, timestamp: int = 0) -> bytes:
    return b"".join(split_message(type_id, timestamp, body, 128, stream_id))


def command(*values: object, stream_id: int = 0) -> bytes:
    return message(COMMAND, amf0.encode(*values), stream_id)


def header(csid: int, length: int, type_id: int, stream_id: int = 0, timestamp: int = 0) -> bytes:
    """A chunk's header of type 0, with a one-, two- or three-byte id."""
    if csid < 64:
        first = bytes((csid,))
    elif csid < 320:
        first = bytes((0, csid - 64))
    else:
        first = bytes((1, (csid - 64) & 0xFF, (csid - 64) >> 8))
    return first + timestamp.to_bytes(3, "big") + length.to_bytes(3, "big") + bytes((type_id,)) + stream_id.to_bytes(4, "little")


HANDSHAKE = b"\x03" + bytes(1536) + bytes(1536)
CONNECT = command("connect", 1.0, {"app": "live", "tcUrl": f"rtmp://host/live?token={CANARY}"})
OPEN = HANDSHAKE + CONNECT
STREAM = OPEN + command("createStream", 2.0, None)


def publish(name: str, stream_id: int = 1) -> bytes:
    return command("publish", 3.0, None, name, "live", stream_id=stream_id)


def play(name: str, stream_id: int = 1) -> bytes:
    return command("play", 3.0, None, name, -2.0, stream_id=stream_id)


def connect_with(value: bytes) -> bytes:
    """A connect whose command object is these AMF0 bytes."""
    return HANDSHAKE + message(COMMAND, amf0.encode("connect", 1.0) + value)


# -- the cases -----------------------------------------------------------------------------------------------------------------


def cases() -> Sequence[Case]:
    """All of them."""
    return (*_before_rtmp(), *_wire(), *_amf(), *_commands(), *_names(), *_media())


def _before_rtmp() -> Iterator[Case]:
    yield Case("HTTP", (b"GET /live/good.flv HTTP/1.1\r\nHost: host\r\n\r\n",))
    yield Case("TLS", (bytes.fromhex("16030100c8010000c40303") + bytes(194),))
    yield Case("noise", (b"\xff" + random.Random(1).randbytes(4000),))
    yield Case("RTMPE", (b"\x06" + bytes(1536),))
    yield Case("nothing", (), Fate.WAITED)
    yield Case("half a C1", (HANDSHAKE[:700],), Fate.WAITED)
    yield Case("no C2", (HANDSHAKE[:1537],), Fate.WAITED)
    yield Case("a handshake in drips that ends", tuple(HANDSHAKE[at : at + 1] for at in range(100)), Fate.WAITED)
    yield Case("a handshake and silence", (HANDSHAKE,), Fate.WAITED)
    yield Case("noise behind the handshake", (HANDSHAKE + b"\xff" + random.Random(2).randbytes(4000),))


def _wire() -> Iterator[Case]:
    yield Case("chunk size 0", (OPEN + message(Control.SET_CHUNK_SIZE, bytes(4)),))
    yield Case("chunk size 2^31", (OPEN + message(Control.SET_CHUNK_SIZE, b"\x80\0\0\0"),))
    yield Case("chunk size of two bytes", (OPEN + message(Control.SET_CHUNK_SIZE, b"\1\0"),))
    yield Case("chunk size 1", (OPEN + message(Control.SET_CHUNK_SIZE, b"\0\0\0\1"),), Fate.IGNORED)
    yield Case("16 MB promised in a command", (HANDSHAKE + header(3, 0xFFFFFF, COMMAND) + bytes(128),))
    yield Case("16 MB promised in a picture", (STREAM + publish("h1") + header(6, 0xFFFFFF, VIDEO, 1) + bytes(128),))
    opened = (header(csid, 8 << 20, VIDEO, 1) + bytes(128) for csid in range(3, 5000))
    yield Case("thousands of chunk streams", (HANDSHAKE + b"".join(opened),))
    slices = (header(csid, 8 << 20, VIDEO, 1) + bytes(60_000) for csid in range(3, 60))
    size = message(Control.SET_CHUNK_SIZE, (60_000).to_bytes(4, "big"))
    yield Case("a megabyte unfinished before any publish", (OPEN + size + b"".join(slices),))
    for chunk_type in (1, 2, 3):
        yield Case(f"type {chunk_type} with nothing before", (HANDSHAKE + bytes((chunk_type << 6 | 5,)) + bytes(200),))
    yield Case("type 0 inside a message", (HANDSHAKE + (header(3, 1000, COMMAND) + bytes(128)) * 2,))
    yield Case("a chunk stream of three bytes with nothing before", (HANDSHAKE + b"\xc1\xff\xff" + bytes(200),))
    yield Case("unknown message type", (OPEN + message(99, b"x"),))
    yield Case("abort of nothing", (OPEN + message(Control.ABORT, b"\0\0\0\x09"),), Fate.IGNORED)
    yield Case("abort without a stream", (OPEN + message(Control.ABORT, b""),))
    yield Case("acknowledgement window 0", (OPEN + message(Control.WINDOW_ACKNOWLEDGEMENT_SIZE, bytes(4)),), Fate.IGNORED)
    yield Case("acknowledgement window 1", (OPEN + message(Control.WINDOW_ACKNOWLEDGEMENT_SIZE, b"\0\0\0\1"),), Fate.IGNORED)
    yield Case("acknowledgement of one byte", (OPEN + message(Control.ACKNOWLEDGEMENT, b"\1"),))
    yield Case("bandwidth of nothing", (OPEN + message(Control.SET_PEER_BANDWIDTH, b""),))
    yield Case("user control of nothing", (OPEN + message(Control.USER_CONTROL, b""),))
    yield Case("unknown user control", (OPEN + message(Control.USER_CONTROL, b"\x77\x77\0\0\0\0"),), Fate.IGNORED)


def _amf() -> Iterator[Case]:
    yield Case("objects a thousand deep", (connect_with(b"\x03\x00\x01a" * 1000),))
    yield Case("an array of 2^32 values", (connect_with(b"\x0a\xff\xff\xff\xff\x05"),))
    yield Case("a string longer than its message", (connect_with(b"\x02\xff\xffabc"),))
    yield Case("a long string of 4 GB", (connect_with(b"\x0c\xff\xff\xff\xffabc"),))
    yield Case("a reference to nothing", (connect_with(b"\x07\x00\x09"),))
    yield Case("unknown AMF0 marker", (connect_with(b"\xfe"),))
    yield Case("an object without an end", (connect_with(b"\x03\x00\x03app\x02\x00\x04live"),))
    yield Case("a command without a name", (HANDSHAKE + message(COMMAND, b""),))
    yield Case("a number for a command's name", (HANDSHAKE + message(COMMAND, amf0.encode(1.0, 1.0)),))
    yield Case("AMF3 noise", (HANDSHAKE + message(COMMAND_AMF3, b"\x00\x11\x0a\xff\xff\xff\xff\x7f"),))
    yield Case("a transaction that is no number", (HANDSHAKE + command("connect", float("nan"), {"app": "live"}),), Fate.IGNORED)
    twice = b"\x03" + (b"\x00\x03app" + amf0.encode("live")) * 2 + b"\x00\x00\x09"
    yield Case("a key twice", (connect_with(twice),), Fate.IGNORED)


def _commands() -> Iterator[Case]:
    yield Case("publish before connect", (HANDSHAKE + publish(CANARY),))
    yield Case("createStream before connect", (HANDSHAKE + command("createStream", 1.0, None),))
    yield Case("connect twice", (OPEN + CONNECT,))
    yield Case("connect without an app", (HANDSHAKE + command("connect", 1.0, {}),))
    yield Case("connect to a number", (HANDSHAKE + command("connect", 1.0, {"app": 7.0}),))
    yield Case("connect to another application", (HANDSHAKE + command("connect", 1.0, {"app": f"other/{CANARY}"}),))
    yield Case("publish on no stream", (OPEN + publish("h2", stream_id=77),))
    yield Case("publish twice", (STREAM + publish("h3") + publish("h4"),))
    yield Case("play a number", (STREAM + command("play", 3.0, None, 9.0, stream_id=1),))
    yield Case("play on the second stream", (STREAM + command("createStream", 3.0, None) + play(GOOD, stream_id=2),))
    yield Case("a hundred streams", (OPEN + command("createStream", 2.0, None) * 100,))
    yield Case("deleteStream of nothing", (OPEN + command("deleteStream", 0.0, None, 9.0),), Fate.IGNORED)
    yield Case("closeStream of nothing", (OPEN + command("closeStream", 0.0, None, stream_id=9),), Fate.IGNORED)
    yield Case("FCUnpublish of somebody else", (OPEN + command("FCUnpublish", 3.0, None, GOOD),), Fate.IGNORED)
    yield Case("an unknown command", (OPEN + command(CANARY, 9.0, None),), Fate.IGNORED)
    yield Case("seek without playing", (STREAM + command("seek", 0.0, None, 1e300, stream_id=1),), Fate.IGNORED)
    yield Case("pause without playing", (STREAM + command("pause", 0.0, None, True, stream_id=1),), Fate.IGNORED)
    yield Case("connected and silent", (STREAM,), Fate.WAITED)
    yield Case("a flood of pings", (OPEN + message(Control.USER_CONTROL, b"\0\6\0\0\0\1") * 5000,), Fate.IGNORED)


def _names() -> Iterator[Case]:
    names = {
        "an empty name": "",
        "a name that climbs": f"../../{CANARY}",
        "two dots": "..",
        "a very long name": CANARY * 500,
        "a name with control characters": f"{CANARY}\r\nfake log line\x1b[31m",
        "a name that turns the text round": f"\u202e{CANARY}",
    }
    for what, name in names.items():
        yield Case(f"publish {what}", (STREAM + publish(name),))
    for what, name in names.items():
        yield Case(f"play {what}", (STREAM + play(name),))
    yield Case("publish a name that is live", (STREAM + publish(GOOD),))
    yield Case("play what does not exist", (STREAM + play("nobody"),))


def _media() -> Iterator[Case]:
    yield Case("a picture before any publish", (STREAM + message(VIDEO, b"\x17\x01\0\0\0\0\0\0\1\x65", 1),))
    yield Case("a picture on a stream that nobody publishes", (OPEN + message(VIDEO, b"\x17\x01\0\0\0", 5),))
    bodies = {
        "empty bodies": (message(VIDEO, b"", 1) + message(AUDIO, b"", 1)),
        "one-byte bodies": (message(VIDEO, b"\x17", 1) + message(AUDIO, b"\xaf", 1)),
        "unknown codecs": (message(VIDEO, b"\x1f\x01\0\0\0abc", 1) + message(AUDIO, b"\xff\x01abc", 1)),
        "a bogus SPS": message(VIDEO, b"\x17\0\0\0\0\1\x64\0\x1f\xff\xe1\0\x04\x67\xff\xff\xff\1\0\1\x68", 1),
        "a sequence header cut short": message(VIDEO, b"\x17\0\0\0\0\1\x64", 1),
        "a bogus AudioSpecificConfig": message(AUDIO, b"\xaf\0\xff\xff\xff", 1),
        "NAL lengths beyond the body": message(VIDEO, b"\x17\1\0\0\0\x7f\xff\xff\xff\x65", 1),
        "pictures without a sequence header": message(VIDEO, b"\x17\1\0\0\0\0\0\0\1\x65", 1) * 10,
        "an enhanced header cut short": message(VIDEO, b"\x90hv", 1) + message(AUDIO, b"\x90Op", 1),
        "endless ModEx": message(VIDEO, b"\x97" + b"\0\x01\x07" * 5000, 1),
        "tracks cut short": message(VIDEO, b"\x96\x11avc1\0\xff\xff\xff", 1),
        "a bogus aggregate": message(AGGREGATE, b"\x09\xff\xff\xff\0\0\0\0\0\0\0abc", 1),
        "bogus metadata": message(DATA, b"\x02\x00\x0aonMetaData\x03\xff\xff\xff", 1),
    }
    for number, (what, body) in enumerate(bodies.items()):
        yield Case(what, (STREAM + publish(f"media{number}") + body,), Fate.WAITED)
    slices = (header(csid, 8 << 20, VIDEO, 1) + bytes(60_000) for csid in (*range(7, 57),) * 1)
    more = b"".join(bytes((0xC0 | csid,)) + bytes(60_000) for csid in range(7, 57))
    size = message(Control.SET_CHUNK_SIZE, (60_000).to_bytes(4, "big"))
    yield Case("more unfinished than one may hold", (STREAM + publish("held") + size + b"".join(slices) + more * 6,))
