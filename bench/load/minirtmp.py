"""Stand-in for protocols.rtmp.session.ClientSession until that is there. Not to stay."""

import os
from dataclasses import dataclass
from typing import NamedTuple

from protocols.rtmp import amf0


@dataclass(frozen=True, slots=True)
class Connected:
    properties: object


@dataclass(frozen=True, slots=True)
class StatusReceived:
    stream_id: int
    level: str
    code: str
    description: str


class MediaReceived(NamedTuple):
    type_id: int
    stream_id: int
    timestamp: int
    body: bytes


class ClientSession:
    def __init__(self, app: str, tc_url: str) -> None:
        self.app, self.tc_url = app, tc_url
        self.out = bytearray()
        self.buffer = bytearray()
        self.shaken = False
        self.chunk_size = 128
        self.streams: dict[int, list] = {}
        self.want: tuple[str, str] | None = None

    def start(self) -> None:
        self.out += b"\x03" + bytes(8) + os.urandom(1528)

    def data_to_send(self) -> bytes:
        data = bytes(self.out)
        self.out.clear()
        return data

    def _send(self, csid: int, type_id: int, stream_id: int, body: bytes) -> None:
        head = bytes([csid]) + bytes(3) + len(body).to_bytes(3, "big") + bytes([type_id]) + stream_id.to_bytes(4, "little")
        parts = [body[at : at + 4096] for at in range(0, len(body), 4096)]
        self.out += head + bytes([0xC0 | csid]).join(parts)

    def _connect(self) -> None:
        self._send(2, 1, 0, (4096).to_bytes(4, "big"))
        self._send(3, 20, 0, amf0.encode("connect", 1.0, {"app": self.app, "tcUrl": self.tc_url, "flashVer": "LNX 9,0,124,2"}))

    def play(self, name: str) -> None:
        self.want = ("play", name)
        self._send(3, 20, 0, amf0.encode("createStream", 2.0, None))

    def publish(self, name: str) -> None:
        self.want = ("publish", name)
        self._send(3, 20, 0, amf0.encode("createStream", 2.0, None))

    def receive_data(self, data: bytes) -> list:
        self.buffer += data
        events: list = []
        if not self.shaken:
            if len(self.buffer) < 3073:
                return events
            self.out += self.buffer[1:1537]
            del self.buffer[:3073]
            self.shaken = True
            self._connect()
        b = self.buffer
        pos = 0
        while pos < len(b):
            fmt, csid = b[pos] >> 6, b[pos] & 63
            assert csid >= 2
            hl = (11, 7, 3, 0)[fmt]
            if len(b) < pos + 1 + hl:
                break
            st = self.streams.setdefault(csid, [0, 0, 0, 0, b"", 0])  # ts, delta, len, type, partial, sid
            at = pos + 1
            if st[4] == b"" or fmt != 3:
                if fmt <= 2:
                    v = int.from_bytes(b[at : at + 3], "big")
                    assert v != 0xFFFFFF
                    if fmt <= 1:
                        length, type_id = int.from_bytes(b[at + 3 : at + 6], "big"), b[at + 6]
                    else:
                        length, type_id = st[2], st[3]
                    ts, delta = (v, 0) if fmt == 0 else (st[0] + v, v)
                else:
                    ts, delta, length, type_id = st[0] + st[1], st[1], st[2], st[3]
            else:
                ts, delta, length, type_id = st[:4]
            at += hl
            n = min(self.chunk_size, length - len(st[4]))
            if len(b) < at + n:
                break
            body = st[4] + bytes(b[at : at + n])
            pos = at + n
            if len(body) == length:
                st[:5] = [ts, delta, length, type_id, b""]
                self._message(type_id, ts, body, events)
            else:
                st[:5] = [ts, delta, length, type_id, body]
        del b[:pos]
        return events

    def _message(self, type_id: int, ts: int, body: bytes, events: list) -> None:
        if type_id == 1:
            self.chunk_size = int.from_bytes(body, "big")
        elif type_id in (8, 9):
            events.append(MediaReceived(type_id, 1, ts, body))
        elif type_id == 20:
            name, tid, *rest = amf0.decode_all(body)
            if name == "_result" and tid == 1.0:
                events.append(Connected(rest))
            elif name == "_result" and tid == 2.0 and self.want:
                if self.want[0] == "play":
                    self._send(8, 20, 1, amf0.encode("play", 0.0, None, self.want[1]))
                else:
                    self._send(8, 20, 1, amf0.encode("publish", 0.0, None, self.want[1], "live"))
            elif name == "onStatus":
                s = rest[1]
                events.append(StatusReceived(1, str(s["level"]), str(s["code"]), str(s.get("description"))))
