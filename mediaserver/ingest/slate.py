"""A slate: a short reel of packets like the source's own, made once by a worker, shown in place of a source that is lost."""

import asyncio
import os
from dataclasses import dataclass, field, replace

from mediaserver.config import Config, RtmpConfig
from mediaserver.config_values import PLAIN
from mediaserver.hub.hub import Publisher
from mediaserver.hub.stream import LiveStream
from mediaserver.ports import PublishGrant, Slate
from mediaserver.worker.frames import Frame, Note, PacketFrame, TrackFrame
from mediaserver.worker.process import Worker
from protocols import codec
from protocols.errors import ProtocolError
from protocols.media import Codec, MediaKind, Packet, Track

#: Seconds that a worker may take to make a slate, and to end.
MAKING, PATIENCE = 120.0, 2.0
#: Bytes of a slate; the worker stops below this.
MOST_BYTES = 32 << 20
#: A slate's frame rate is one of these: the source's, as far as it was measured.
FRAME_RATES = (10, 12, 15, 20, 24, 25, 30, 48, 50, 60)
#: Bytes that may wait for a worker, which is told nothing but the form.
_BACKLOG = 1 << 16
_DEFAULT_RATE, _DEFAULT_SIZE, _DEFAULT_SOUND = 25, (1280, 720), (48_000, 2)
#: Samples in a packet, and per second, of sound that does not tell.
_DEFAULT_PACKET = 1024
_MODULE = "mediaserver.ingest.slate_worker"


def slate_of(grant: PublishGrant, config: RtmpConfig) -> Slate | None:
    """What bridges the lost source of a stream of ``grant``: its own slate, or the one that the configuration has for all."""
    if grant.slate is not None or not config.slate:
        return grant.slate
    return Slate("" if config.slate == PLAIN else os.path.abspath(config.slate), config.slate_longest)


class SlateFailed(Exception):
    """A slate could not be made."""


@dataclass(frozen=True, slots=True)
class SlateForm:
    """What a slate is like: FFmpeg's names of the source's codecs, its size and rates; 0 where it has no pictures or sound."""

    video: str = ""
    width: int = 0
    height: int = 0
    frame_rate: int = 0
    audio: str = ""
    sample_rate: int = 0
    channels: int = 0
    path: str = ""

    def settings(self, config: Config) -> dict[str, object]:
        """As a worker's settings."""
        # A worker's working folder is another. What the configuration names, it allows.
        roots = [os.path.abspath(root) for root in config.pull.file_roots]
        if self.path == os.path.abspath(config.rtmp.slate):
            roots.append(os.path.dirname(self.path))
        return {
            "video": self.video,
            "width": self.width,
            "height": self.height,
            "frame_rate": self.frame_rate or _DEFAULT_RATE,
            "audio": self.audio,
            "sample_rate": self.sample_rate,
            "channels": self.channels,
            "path": self.path,
            "roots": roots,
            "memory": config.pull.memory,
        }


def form_of(stream: LiveStream, measured_rate: float, path: str) -> SlateForm:
    """What a slate for ``stream``, of the file at ``path`` if any, must be like. A frame rate of 0: it is not known yet."""
    form = SlateForm(path=path)
    video, audio = stream.tracks.get(MediaKind.VIDEO), stream.tracks.get(MediaKind.AUDIO)
    if video is not None:
        size, rate = _picture(stream, video)
        rate = measured_rate or rate
        nearest = min(FRAME_RATES, key=lambda each: abs(each - rate)) if rate else 0
        form = replace(form, video=video.codec.value, width=size[0], height=size[1], frame_rate=nearest)
    if audio is not None:
        sample_rate, channels = _sound(stream, audio)
        form = replace(form, audio=audio.codec.value, sample_rate=sample_rate, channels=channels)
    return form


def _first(stream: LiveStream, kind: MediaKind) -> bytes:
    return next((packet.payload for packet in stream.gop if packet.kind is kind and packet.keyframe), b"")


def _picture(stream: LiveStream, track: Track) -> tuple[tuple[int, int], float]:
    try:
        payload = _first(stream, MediaKind.VIDEO)
        found = codec.parameters(codec.complete(track, payload) if payload else track)
    except ProtocolError:
        return _DEFAULT_SIZE, 0.0
    return ((found.width, found.height), found.frame_rate) if isinstance(found, codec.VideoParameters) else (_DEFAULT_SIZE, 0.0)


def _sound(stream: LiveStream, track: Track) -> tuple[int, int]:
    try:
        payload = _first(stream, MediaKind.AUDIO)
        found = codec.parameters(codec.complete(track, payload) if payload else track)
    except ProtocolError:
        return _DEFAULT_SOUND
    return (found.sample_rate, found.channels or 2) if isinstance(found, codec.AudioParameters) else _DEFAULT_SOUND


@dataclass(slots=True)
class Reel:
    """A slate that is ready: its tracks, its packets in order, and how much of a second each lasts."""

    frame_rate: int
    tracks: list[Track] = field(default_factory=list)
    pictures: list[Packet] = field(default_factory=list)
    sounds: list[Packet] = field(default_factory=list)
    #: Samples in a packet of sound, and in a second.
    samples: tuple[int, int] = (_DEFAULT_PACKET, 48_000)

    @property
    def nbytes(self) -> int:
        return sum(len(packet.body) for packets in (self.pictures, self.sounds) for packet in packets)

    def picture_at(self, number: int) -> Packet:
        """Picture ``number`` of a show, counted from 0, with its time in ms."""
        return _copy(self.pictures[number % len(self.pictures)], number * 1000 // self.frame_rate)

    def sound_at(self, number: int) -> Packet:
        """Likewise sound: what belongs to the picture that is shown then, however long each of them is."""
        size, rate = self.samples
        at = number * size
        if self.pictures:
            at %= max(1, len(self.pictures) * rate // self.frame_rate)
        return _copy(self.sounds[at // size % len(self.sounds)], number * size * 1000 // rate)


def _copy(packet: Packet, dts: int) -> Packet:
    return Packet(packet.kind, dts, packet.keyframe, packet.body, packet.offset, packet.cts)


class _Maker:
    """Takes a slate from the worker that makes it. A WorkerHandler."""

    def __init__(self, frame_rate: int) -> None:
        self.reel = Reel(frame_rate)
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._size = 0

    def on_frame(self, frame: Frame) -> None:
        match frame:
            case TrackFrame(track=track):
                self.reel.tracks.append(track)
            case PacketFrame(packet=packet) if packet.kind is MediaKind.VIDEO:
                self._keep(self.reel.pictures, packet)
            case PacketFrame(packet=packet) if packet.dts >= 0:  # what an encoder starts from is not heard
                self._keep(self.reel.sounds, packet)
            case Note(values) if "done" in values:
                self._finish("" if self.reel.pictures or self.reel.sounds else "it is empty")
            case Note(values):
                self._finish(str(values.get("failed", "no reason given"))[:400])
            case _:
                pass

    def on_exit(self, status: int, words: str) -> None:  # noqa: ARG002
        self._finish(f"its process ended with status {status}")

    def _keep(self, packets: list[Packet], packet: Packet) -> None:
        self._size += len(packet.body)
        if self._size > MOST_BYTES:
            self._finish("it is too large")
        else:
            packets.append(packet)

    def _finish(self, failure: str) -> None:
        if not self.done.done():
            if failure:
                self.done.set_exception(SlateFailed(failure))
            else:
                self.done.set_result(None)


async def make(form: SlateForm, config: Config) -> Reel:
    """The slate of that form. Raises SlateFailed."""
    maker = _Maker(form.frame_rate or _DEFAULT_RATE)
    worker = Worker(_MODULE, form.settings(config), maker, _BACKLOG)
    try:
        async with asyncio.timeout(MAKING):
            await worker.start()
            await maker.done
    except TimeoutError:
        raise SlateFailed("it takes too long") from None
    except OSError as error:
        raise SlateFailed(f"no process can be started: {error.strerror}") from None
    finally:
        worker.kill()
        await worker.close(PATIENCE)
    for track in maker.reel.tracks:
        if track.kind is MediaKind.AUDIO and maker.reel.sounds:
            maker.reel.samples = _samples(track, maker.reel.sounds[0].payload, form.sample_rate)
    return maker.reel


def _samples(track: Track, payload: bytes, sample_rate: int) -> tuple[int, int]:
    try:
        complete = codec.complete(track, payload)
        found = codec.parameters(complete)
        size = codec.packet_duration(complete, payload)
    except ProtocolError:
        return _DEFAULT_PACKET, sample_rate
    rate = found.sample_rate if isinstance(found, codec.AudioParameters) else sample_rate
    return size or (4608 if track.codec is Codec.FLAC else _DEFAULT_PACKET), rate


async def show(reel: Reel, publisher: Publisher) -> None:
    """Write ``reel`` over and over, in real time, until cancelled."""
    for track in reel.tracks:
        publisher.write_track(track)
    loop = asyncio.get_running_loop()
    begin = loop.time()
    picture = sound = 0
    while True:
        now = (loop.time() - begin) * 1000
        due: list[Packet] = []
        while reel.pictures and picture * 1000 // reel.frame_rate <= now:
            due.append(reel.picture_at(picture))
            picture += 1
        size, rate = reel.samples
        while reel.sounds and sound * size * 1000 // rate <= now:
            due.append(reel.sound_at(sound))
            sound += 1
        for packet in sorted(due, key=lambda packet: packet.dts):
            publisher.session.bytes_in += len(packet.body)
            publisher.write(packet)
        following = [picture / reel.frame_rate] if reel.pictures else [sound * size / rate]
        await asyncio.sleep(max(0.001, begin + following[0] - loop.time()))
