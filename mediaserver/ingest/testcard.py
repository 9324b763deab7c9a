"""The colour bars themselves: a program that draws, encodes and publishes them until its parent goes away.

    python -m mediaserver.ingest.testcard rtmp://HOST:PORT/APP/NAME

SMPTE's bars (EG 1-1990) with a marker that runs once across in four seconds, the time of day, and a soft tone that
ticks with each second. It ends when its standard input does, so it never outlives who started it.
"""

import math
import os
import select
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from fractions import Fraction
from urllib.parse import urlsplit

import av
import numpy as np
import numpy.typing as npt

from mediaserver.errors import Refused
from protocols.errors import RemoteProtocolError
from protocols.flv import DATA, FlvReader
from protocols.rtmp.client import ClientSession
from protocols.rtmp.events import CommandFailed, Connected, StatusReceived

WIDTH, HEIGHT, FRAME_RATE, SAMPLE_RATE = 1280, 720, 30, 48000
BITRATE = 1_500_000
#: Seconds that the server may leave us waiting.
PATIENCE = 10.0

Plane = npt.NDArray[np.uint8]
Samples = npt.NDArray[np.float32]
#: What goes out: type, timestamp in ms, body.
Tag = tuple[int, int, bytes]

# 75 % bars, then what stands below them, as R, G, B in fractions.
_BARS = ((0.75, 0.75, 0.75), (0.75, 0.75, 0), (0, 0.75, 0.75), (0, 0.75, 0), (0.75, 0, 0.75), (0.75, 0, 0), (0, 0, 0.75))
_REVERSED = tuple(color if number % 2 == 0 else (0.0, 0.0, 0.0) for number, color in enumerate(reversed(_BARS)))
_FOOT = ((0, 0.13, 0.3), (1, 1, 1), (0.2, 0, 0.42), (0.05, 0.05, 0.05))

#: Which of the seven segments (a to g, IEC 60617's order) each digit lights.
_SEGMENTS = ("abcdef", "bc", "abged", "abgcd", "fgbc", "afgcd", "afgedc", "abc", "abcdefg", "abcdfg")


def _yuv(color: tuple[float, float, float]) -> tuple[int, int, int]:
    """R, G, B in fractions as 8-bit Y, Cb, Cr of narrow range (ITU-R BT.709)."""
    red, green, blue = color
    luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return round(16 + 219 * luma), round(128 + 224 * (blue - luma) / 1.8556), round(128 + 224 * (red - luma) / 1.5748)


def _fill(planes: tuple[Plane, Plane, Plane], top: float, bottom: float, colors: tuple[tuple[float, float, float], ...]) -> None:
    for number, color in enumerate(colors):
        for plane, value in zip(planes, _yuv(color), strict=True):
            height, width = plane.shape
            left, right = width * number // len(colors), width * (number + 1) // len(colors)
            plane[int(height * top) : int(height * bottom), left:right] = value


def _digits(height: int, width: int, thick: int) -> list[Plane]:
    """Ten seven-segment digits."""
    half = height // 2
    boxes = {
        "a": (0, thick, 0, width), "g": (half - thick // 2, half + thick // 2, 0, width), "d": (height - thick, height, 0, width),
        "f": (0, half, 0, thick), "b": (0, half, width - thick, width),
        "e": (half, height, 0, thick), "c": (half, height, width - thick, width),
    }  # fmt: skip
    digits = []
    for lit in _SEGMENTS:
        digit = np.full((height, width), 16, np.uint8)
        for top, bottom, left, right in (boxes[segment] for segment in lit):
            digit[top:bottom, left:right] = 235
        digits.append(digit)
    return digits


class Picture:
    """Draws one frame after the other into one buffer, planar YUV 4:2:0."""

    def __init__(self) -> None:
        self.frame = np.empty((HEIGHT * 3 // 2, WIDTH), np.uint8)
        flat = self.frame.reshape(-1)
        pixels = WIDTH * HEIGHT
        self.luma = flat[:pixels].reshape(HEIGHT, WIDTH)
        planes = (
            self.luma,
            flat[pixels : pixels * 5 // 4].reshape(HEIGHT // 2, WIDTH // 2),
            flat[pixels * 5 // 4 :].reshape(HEIGHT // 2, WIDTH // 2),
        )
        _fill(planes, 0, 2 / 3, _BARS)
        _fill(planes, 2 / 3, 3 / 4, _REVERSED)
        _fill(planes, 3 / 4, 1, _FOOT)
        for plane, value in zip(planes, (16, 128, 128), strict=True):
            height, width = plane.shape
            plane[height * 5 // 6 : height * 23 // 24, width // 4 : width * 3 // 4] = value
        self.digits = _digits(HEIGHT * 7 // 96, WIDTH // 36, WIDTH // 180)
        self.strip = slice(HEIGHT * 2 // 3, HEIGHT * 3 // 4)
        self.background = self.luma[self.strip].copy()

    def draw(self, number: int, now: datetime) -> Plane:
        """Frame ``number``, with the clock at ``now``."""
        self.luma[self.strip] = self.background
        left = number % (4 * FRAME_RATE) * (WIDTH - 16) // (4 * FRAME_RATE)
        self.luma[self.strip, left : left + 16] = 235
        top, left = HEIGHT * 41 // 48, WIDTH // 3
        height, width = self.digits[0].shape
        for character in f"{now:%H:%M:%S}.{now.microsecond // 10_000:02}":
            if character.isdigit():
                self.luma[top : top + height, left : left + width] = self.digits[int(character)]
                left += width * 4 // 3
            else:
                dot = width // 5
                for middle in (height - dot,) if character == "." else (height // 3, height * 2 // 3):
                    self.luma[top + middle : top + middle + dot, left : left + dot] = 235
                left += dot * 3
        return self.frame


def bars() -> Callable[[int], Plane]:
    """What draws the colour bars of now."""
    picture = Picture()
    return lambda number: picture.draw(number, datetime.now().astimezone())


def sound(number: int) -> Samples:
    """The samples that go with frame ``number``: 440 Hz at -34 dB, 12 dB louder for a tenth of each second."""
    count = SAMPLE_RATE // FRAME_RATE
    at = np.arange(number * count, (number + 1) * count)
    loud = np.where(at % SAMPLE_RATE < SAMPLE_RATE // 10, 0.08, 0.02)
    wave: Samples = (loud * np.sin(2 * math.pi * 440 / SAMPLE_RATE * at)).astype(np.float32)
    return wave.reshape(1, -1)


class _Pipe:
    """The file that the muxer writes to: keeps what it was given until somebody takes it."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes) -> int:
        self.data += data
        return len(data)

    def take(self) -> bytes:
        data = bytes(self.data)
        self.data.clear()
        return data


def tags(draw: Callable[[int], Plane], sound: Callable[[int], Samples], bitrate: int) -> Iterator[list[Tag]]:
    """One list of FLV tags after each frame, in real time, for ever.

    ``draw`` gives the picture of a number, planar YUV 4:2:0 of narrow range, shape (HEIGHT * 3 / 2, WIDTH); ``sound`` the
    samples that go with it, shape (1, SAMPLE_RATE / FRAME_RATE). ``bitrate`` is the picture's, in bits a second.
    """
    pipe, reader = _Pipe(), FlvReader()
    with av.open(pipe, "w", format="flv", options={"flvflags": "no_duration_filesize", "flush_packets": "1"}) as output:
        # Two seconds between key frames, no reordering: a player of any kind starts soon and stays close.
        options = {"preset": "ultrafast", "tune": "zerolatency", "x264-params": "scenecut=0:threads=1:log=-1"}
        video = output.add_stream("libx264", rate=FRAME_RATE, options=options)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        video.bit_rate, video.gop_size = bitrate, FRAME_RATE * 2
        video.codec_context.color_range, video.codec_context.colorspace = 1, 1
        audio = output.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
        audio.bit_rate = 64_000
        begin, number = time.monotonic(), 0
        while True:
            samples = av.AudioFrame.from_ndarray(sound(number), format="fltp", layout="mono")
            samples.sample_rate, samples.pts = SAMPLE_RATE, number * SAMPLE_RATE // FRAME_RATE
            samples.time_base = Fraction(1, SAMPLE_RATE)
            output.mux(audio.encode(samples))
            # The picture last: what it shows is as new as it can be.
            frame = av.VideoFrame.from_ndarray(draw(number), format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, FRAME_RATE)
            output.mux(video.encode(frame))
            yield reader.receive_data(pipe.take())
            number += 1
            time.sleep(max(0.0, begin + number / FRAME_RATE - time.monotonic()))


class Connection:
    """A blocking RTMP publisher. Raises OSError when the server goes, Refused when it says no."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        app, _, self.key = parts.path.strip("/").partition("/")
        self.session = ClientSession(app, f"rtmp://{parts.netloc}/{app}")
        self.socket = socket.create_connection((parts.hostname or "", parts.port or 1935), PATIENCE)
        self.session.start()
        self.published = False
        deadline = time.monotonic() + PATIENCE
        while not self.published:
            self.flush()
            self.receive(max(0.0, deadline - time.monotonic()))
            if time.monotonic() > deadline:
                raise TimeoutError("the server does not answer")

    def receive(self, timeout: float) -> None:
        """Take what the server says within ``timeout`` seconds."""
        if not select.select([self.socket], [], [], timeout)[0]:
            return
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionError("the server closed the connection")
        for event in self.session.receive_data(data):
            match event:
                case Connected():
                    self.session.publish(self.key)
                case StatusReceived(code="NetStream.Publish.Start"):
                    self.published = True
                case StatusReceived(level="error") | CommandFailed():
                    raise Refused(event.description)
                case _:
                    pass

    def flush(self) -> None:
        self.socket.sendall(self.session.data_to_send())

    def send(self, type_id: int, timestamp: int, body: bytes) -> None:
        if type_id == DATA:
            self.session.send_data(timestamp, body)
        else:
            self.session.send_media(type_id, timestamp, body)


def publish(url: str, draw: Callable[[int], Plane], sound: Callable[[int], Samples], bitrate: int) -> None:
    """Publish to ``url`` until the server goes: what ``tags`` makes."""
    connection = Connection(url)
    for frame in tags(draw, sound, bitrate):
        for tag in frame:
            connection.send(*tag)
        connection.flush()
        connection.receive(0)


def _end_with_parent() -> None:
    while os.read(0, 4096):  # not sys.stdin: its lock would be held when the interpreter ends
        pass
    os._exit(0)  # the main thread may be inside the encoder


def main() -> None:
    """Publish to the address that is the only argument. Exit status 1, and a line that says why, when it cannot go on."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        publish(sys.argv[1], bars(), sound, BITRATE)
    except (OSError, Refused, RemoteProtocolError) as error:
        sys.exit(f"colour bars: {error}")


if __name__ == "__main__":
    main()
