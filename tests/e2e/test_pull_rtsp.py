"""RTSP pulled from a small camera: media interleaved on its connection (RFC 2326, RFC 6184, RFC 3640)."""

import base64
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from mediaserver.events import PullChanged
from mediaserver.ingest.pull_container import read
from mediaserver.ports import InputType, PublishGrant, PullSource
from protocols.codec import avc
from protocols.codec.nal import split_length_prefixed
from protocols.media import MediaKind, Packet, Track
from tests.e2e.players import breaks
from tests.e2e.test_pull_sources import PICTURES, live, pictures, pull_of, pulling, url_of, watching
from tests.media import Clips

MTU = 1200
RATES = {MediaKind.VIDEO: 90_000, MediaKind.AUDIO: 48_000}


class Camera:
    """Plays a clip in real time, over and over, to whoever asks. ``redirect``: sends everybody there instead."""

    def __init__(self, clip: Path, redirect: str = "", password: str = "") -> None:
        with clip.open("rb") as file:
            self.items = list(read(file))
        # Milliseconds: its pictures, at 25 a second.
        self.length = 40 * sum(isinstance(item, Packet) and item.kind is MediaKind.VIDEO for item in self.items)
        self.redirect, self.password = redirect, password
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        self.asked: list[str] = []
        self.threads = [threading.Thread(target=self.accept, daemon=True)]
        self.connections: list[socket.socket] = []
        self.sequence = {MediaKind.VIDEO: 0, MediaKind.AUDIO: 0}

    def __enter__(self) -> "Camera":
        self.threads[0].start()
        return self

    def __exit__(self, *exc_details: object) -> None:
        with contextlib.suppress(OSError):
            self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()
        self.cut()
        for thread in self.threads:
            thread.join()

    def cut(self) -> None:
        """Lose everybody."""
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.server.accept()
                self.connections.append(connection)
                self.threads.append(threading.Thread(target=self.serve, args=(connection,), daemon=True))
                self.threads[-1].start()

    def serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError), connection.makefile("rb") as requests:
            while line := requests.readline().decode():
                headers = {}
                while header := requests.readline().decode().strip():
                    headers[header.partition(":")[0].lower()] = header.partition(":")[2].strip()
                self.asked.append(line.split()[0])
                if self.answer(connection, line.split()[0], headers):
                    self.play(connection)
                    return

    def answer(self, connection: socket.socket, method: str, headers: dict[str, str]) -> bool:
        """Answer one request; whether the media shall follow."""
        status, more, body = "200 OK", "", ""
        wanted = f"Basic {base64.b64encode(f'me:{self.password}'.encode()).decode()}"
        if self.password and headers.get("authorization") != wanted:
            status, more = "401 Unauthorized", 'WWW-Authenticate: Basic realm="camera"\r\n'
        elif method == "DESCRIBE" and self.redirect:
            status, more = "302 Moved", f"Location: {self.redirect}\r\n"
        elif method == "DESCRIBE":
            body = self.description()
            more = f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n"
        elif method == "SETUP":
            more = f"Transport: {headers['transport']}\r\nSession: 1\r\n"
        connection.sendall(f"RTSP/1.0 {status}\r\nCSeq: {headers['cseq']}\r\n{more}\r\n{body}".encode())
        return method == "PLAY"

    def description(self) -> str:
        tracks = {item.kind: item for item in self.items if isinstance(item, Track)}
        sets = ",".join(
            base64.b64encode(unit).decode() for units in avc.read_record(tracks[MediaKind.VIDEO].config) for unit in units
        )
        lines = [
            "v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=camera", "t=0 0",
            "m=video 0 RTP/AVP 96", "a=rtpmap:96 H264/90000", "a=control:streamid=0",
            f"a=fmtp:96 packetization-mode=1;sprop-parameter-sets={sets}",
            "m=audio 0 RTP/AVP 97", "a=rtpmap:97 mpeg4-generic/48000/2", "a=control:streamid=1",
            "a=fmtp:97 streamtype=5;profile-level-id=1;mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;"
            f"config={tracks[MediaKind.AUDIO].config.hex()}",
        ]  # fmt: skip
        return "\r\n".join(lines) + "\r\n"

    def play(self, connection: socket.socket) -> None:
        packets = [item for item in self.items if isinstance(item, Packet)]
        begin, number = time.monotonic(), 0
        while True:
            for packet in packets:
                at = packet.dts - packets[0].dts + number * self.length
                time.sleep(max(0.0, begin + at / 1000 - time.monotonic()))
                for data, last in payloads(packet):
                    self.send(connection, packet.kind, at, data, last)
            number += 1

    def send(self, connection: socket.socket, kind: MediaKind, at: int, data: bytes, last: bool) -> None:
        video = kind is MediaKind.VIDEO
        self.sequence[kind] = (self.sequence[kind] + 1) & 0xFFFF
        stamp = at * RATES[kind] // 1000 & 0xFFFFFFFF
        head = (
            bytes((0x80, (96 if video else 97) | last << 7)) + self.sequence[kind].to_bytes(2, "big") + stamp.to_bytes(4, "big")
        )
        rtp = head + (1 if video else 2).to_bytes(4, "big") + data
        connection.sendall(b"$" + bytes((0 if video else 2,)) + len(rtp).to_bytes(2, "big") + rtp)


def payloads(packet: Packet) -> Iterator[tuple[bytes, bool]]:
    """RTP payloads, and which of them is the last of its picture."""
    if packet.kind is MediaKind.AUDIO:
        yield b"\x00\x10" + (len(packet.payload) << 3).to_bytes(2, "big") + packet.payload, True
        return
    units = list(split_length_prefixed(packet.payload))
    for index, unit in enumerate(units):
        if len(unit) <= MTU:
            yield unit, index == len(units) - 1
            continue
        for start in range(1, len(unit), MTU):
            end = start + MTU >= len(unit)
            flags = (start == 1) << 7 | end << 6
            yield (
                bytes((unit[0] & 0x60 | 28, flags | unit[0] & 0x1F)) + unit[start : start + MTU],
                end and index == len(units) - 1,
            )


async def test_a_camera_is_pulled_and_comes_back(clips: Clips) -> None:
    # So long that it is not cut where it begins anew, which would be no break.
    clip, period = clips.get(b_frames=0, bitrate=2_000_000, seconds=PICTURES / 25), PICTURES
    with Camera(clip, password="secret") as camera:
        async with pulling(clip.parent, longest_retry=0.3) as town:
            url = f"rtsp://me:secret@127.0.0.1:{camera.port}/stream"
            town.engine.start_pull(PullSource(InputType.RTSP, url), PublishGrant("show"))
            await live(town, "show")
            async with watching(url_of(town, "show")) as player:
                await pictures(town, player, 40)
                assert not breaks(player.seen.numbers, period)
                camera.cut()
                await town.notes.wait_for(PullChanged, 3)
                await pictures(town, player, 30)
            assert len(breaks(player.seen.numbers, period)) == 1
            assert player.seen.seconds_of_sound > 1.5
            assert player.seen.times == sorted(player.seen.times)
            assert pull_of(town).address == f"127.0.0.1:{camera.port}"
            assert "secret" not in str(town.notes.events) + str(town.engine.snapshot())


async def test_a_camera_that_sends_us_elsewhere_is_not_followed(clips: Clips) -> None:
    clip = clips.get(b_frames=0)
    with Camera(clip) as inside, Camera(clip, redirect=f"rtsp://127.0.0.1:{inside.port}/secret") as camera:
        async with pulling(clip.parent) as town:
            source = PullSource(InputType.RTSP, f"rtsp://127.0.0.1:{camera.port}/stream")
            town.engine.start_pull(source, PublishGrant("show"))
            told = await town.notes.wait_for(PullChanged)
            assert isinstance(told, PullChanged)
            assert "elsewhere" in told.reason
            assert "DESCRIBE" in camera.asked
            assert inside.asked == []


async def test_a_camera_that_says_nothing_is_given_up(clips: Clips) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        async with pulling(Path("/nowhere"), timeout=0.3) as town:
            source = PullSource(InputType.RTSP, f"rtsp://127.0.0.1:{server.getsockname()[1]}/stream")
            town.engine.start_pull(source, PublishGrant("show"))
            told = await town.notes.wait_for(PullChanged)
            assert isinstance(told, PullChanged)
            assert not told.connected
