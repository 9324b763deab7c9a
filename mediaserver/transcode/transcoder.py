"""The transcoder of one stream, on the server's side: what goes to its process, what comes back, and what if that fails."""

import asyncio
import enum
import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any

from mediaserver import encoders
from mediaserver.config import TranscodeConfig
from mediaserver.events import TranscodeChanged
from mediaserver.hub.hub import Hub
from mediaserver.hub.stream import LiveStream
from mediaserver.ports import EncoderPolicy, EventSink, Ladder
from mediaserver.snapshot import RungSnapshot
from mediaserver.transcode.choice import Choice, choose
from mediaserver.transcode.feed import Feed
from mediaserver.transcode.knowledge import Knowledge
from mediaserver.transcode.ladder import FittedRung
from mediaserver.transcode.load import Verdict
from mediaserver.transcode.plan import SOURCE_LANE, Lane, Plan, read_sight, sounds_as_values
from mediaserver.transcode.rungs import Rungs
from mediaserver.worker.frames import Frame, Note, PacketFrame, TrackFrame
from mediaserver.worker.process import Worker
from protocols.media import MediaKind, Metadata, Packet, Track

log = logging.getLogger(__name__)

MODULE = "mediaserver.transcode.worker"
#: Bytes that may wait for the process.
BACKLOG = 16 << 20
#: Seconds that it may take to end when it is told to.
PATIENCE = 0.5
#: Seconds that the last pictures have to come out when the publisher has left.
FLUSH = 2.0
#: Milliseconds of sound without a picture after which pictures are not waited for any more.
REST = 3_000
#: Seconds after which a death is forgiven; seconds before another start, times the deaths so far.
FORGIVEN, PAUSE = 600.0, 0.3


class TranscoderState(enum.Enum):
    """IDLE: no process is needed, or none yet. STARTING, RUNNING: there is one. GIVEN_UP: it died too often, or what it was
    for fails; what is copied goes on. ENDING: the stream is over, the last pictures of its rungs are on their way. ENDED: those
    too."""

    IDLE = "idle"
    STARTING = "starting"
    RUNNING = "running"
    GIVEN_UP = "given_up"
    ENDING = "ending"
    ENDED = "ended"


#: What may follow what; an absent key is the error.
TRANSITIONS: dict[TranscoderState, frozenset[TranscoderState]] = {
    TranscoderState.IDLE: frozenset({TranscoderState.STARTING, TranscoderState.GIVEN_UP, TranscoderState.ENDED}),
    TranscoderState.STARTING: frozenset({TranscoderState.RUNNING, TranscoderState.GIVEN_UP, TranscoderState.ENDED}),
    TranscoderState.RUNNING: frozenset(
        {TranscoderState.STARTING, TranscoderState.GIVEN_UP, TranscoderState.ENDING, TranscoderState.ENDED}
    ),
    TranscoderState.GIVEN_UP: frozenset({TranscoderState.ENDED}),
    TranscoderState.ENDING: frozenset({TranscoderState.ENDED}),
}


@dataclass(frozen=True, slots=True)
class TranscoderServices:
    """What every transcoder needs. ``failures`` tells what each encoder of this machine fails with; ``admit`` whether there is
    room for one more process."""

    hub: Hub
    sink: EventSink
    spawn: Callable[[Coroutine[None, None, None]], Any]
    config: TranscodeConfig
    failures: Callable[[], Coroutine[None, None, Mapping[str, str]]]
    admit: Callable[[], bool]


class Transcoder:
    """A hub Subscriber, and the handler of its process. ``ladder`` as it was asked for, the configuration's words filled in."""

    def __init__(self, stream: LiveStream, ladder: Ladder, services: TranscoderServices) -> None:
        self.stream = stream
        self.state = TranscoderState.IDLE
        self.ended = asyncio.Event()
        self._services = services
        self._policy = ladder.policy or EncoderPolicy(services.config.policy)
        self._rungs = Rungs(services.hub, stream, ladder)
        self._encoders: dict[str, str] = {}
        self._told: dict[str, tuple[str, str]] = {}  # what the log says of each rung: who encodes it, and why
        self._known = Knowledge()
        self._number = 0  # of the plan that the process has
        self._sounds: dict[int, int] = {}  # that it was told to make
        self._failures: Mapping[str, str] = {}
        self._worker: Worker | None = None
        self._leaving: set[Worker] = set()
        self._feed = Feed(monotonic())
        self._flushes = 0
        self._left = False  # the publisher has, since the last flush was done
        self._flushing: asyncio.TimerHandle | None = None  # until the last of them is done, or has taken too long
        self._pictured: int | None = None  # the dts of the source's last picture, or of what stands for it
        self._resting = False  # sound goes on without pictures
        self._turned_away = False  # there was no room for its process
        self._deaths = 0
        self._died = 0.0

    @property
    def occupied(self) -> bool:
        """Whether it has a process."""
        return self.state in (TranscoderState.STARTING, TranscoderState.RUNNING)

    @property
    def over(self) -> bool:
        """Whether nothing is left of it."""
        return self.state is TranscoderState.ENDED and not self._leaving

    @property
    def pid(self) -> int:
        """Its process's id, 0 without one."""
        return 0 if self._worker is None else self._worker.pid

    def rungs(self) -> tuple[RungSnapshot, ...]:
        """Every rung of the ladder, made or not."""
        return self._rungs.snapshots(self._encoders)

    def _move_to(self, state: TranscoderState) -> None:
        """The one place where the state changes."""
        if state not in TRANSITIONS.get(self.state, ()):
            raise ValueError(f"a transcoder that is {self.state.value} cannot become {state.value}")
        self.state = state

    # -- the Subscriber's port ------------------------------------------------------------------------------------------

    def on_track(self, track: Track) -> None:
        self._known.on_track(track)
        self._fit()
        self._rungs.on_track(track)
        if self.state is TranscoderState.RUNNING:
            self._send_track(track)
            self._order_sound()

    def on_metadata(self, metadata: Metadata) -> None:
        before = self._known.source().frame_rate
        self._known.on_metadata(metadata)
        if self.state is TranscoderState.RUNNING and self._known.seen and self._known.source().frame_rate != before:
            # One that returns with another rate may bring the same tracks, which say nothing of it.
            self._fit()
            self._send_plan("the source's frame rate changed")

    def on_packet(self, packet: Packet) -> None:
        self._rungs.on_packet(packet)
        self._watch_picture(packet)
        if self.state is TranscoderState.RUNNING:
            self._give(packet)
        elif self.state is TranscoderState.IDLE and self._leads(packet):
            if packet.kind is MediaKind.VIDEO and self._rungs.needs_process and self._known.complete(packet):
                self._fit()
            if self._rungs.needs_process:
                self._begin()

    def on_away(self) -> None:
        self._left = True
        self._rungs.on_away()
        self._flush()

    def on_end(self) -> None:
        if self._flushing is None:
            self._end()
        else:
            self._move_to(TranscoderState.ENDING)

    def _leads(self, packet: Packet) -> bool:
        """Whether a process that begins with ``packet`` has what it needs."""
        return (
            packet.keyframe if MediaKind.VIDEO not in self._known.tracks else packet.kind is MediaKind.VIDEO and packet.keyframe
        )

    # -- the last pictures ------------------------------------------------------------------------------------------------

    def _watch_picture(self, packet: Packet) -> None:
        """Notice that sound goes on without pictures, and that those are back."""
        if packet.kind is MediaKind.VIDEO or packet.discontinuity or self._pictured is None:
            self._pictured = packet.dts
            if packet.kind is MediaKind.VIDEO and self._resting:
                self._resting = False
                self._tell("the source's picture is back")
        elif not self._resting and MediaKind.VIDEO in self._known.tracks and packet.dts - self._pictured > REST:
            self._resting = True
            self._tell("the source's picture stands still: sound goes on alone")
            self._flush()

    def _flush(self) -> None:
        """Let the process give out what it holds, for the rungs to be at rest or away then."""
        if self.state is not TranscoderState.RUNNING or self._worker is None:
            self._flushed()
            return
        self._flushes += 1
        if self._flushing is not None:
            self._flushing.cancel()
        self._flushing = asyncio.get_running_loop().call_later(FLUSH, self._flushed)
        self._worker.send(Note({"flush": self._flushes, "sound": self._left}))

    def _flushed(self) -> None:
        """What there was has come, or nobody waits for it any more. Harmless twice."""
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        if self._left:
            self._left = False
            self._rungs.follow()
        else:
            self._rungs.rest()
        if self.state is TranscoderState.ENDING:
            self._end()

    def _end(self) -> None:
        self._move_to(TranscoderState.ENDED)
        self._rungs.close()
        self._dismiss()
        self.ended.set()

    # -- what comes in, and what is made of it ------------------------------------------------------------------------------

    def _fit(self) -> None:
        self._rungs.fit(self._known.source())

    # -- the process --------------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Start the process; once it runs it is given what is kept since the last keyframe."""
        if not self._services.admit():
            # Asked again with every keyframe: others end.
            if not self._turned_away:
                self._turned_away = True
                self._tell(f"{self._services.config.max_jobs} streams are transcoded already (transcode.max_jobs)", failed=True)
            return
        self._move_to(TranscoderState.STARTING)
        self._services.spawn(self._start(0.0, replay=True))

    async def _start(self, pause: float, *, replay: bool) -> None:
        await asyncio.sleep(pause)
        self._failures = await self._services.failures()
        devices = [name.removeprefix(encoders.DECODER) for name in encoders.DECODERS if self._failures.get(name) == ""]
        settings = {"memory": self._services.config.memory, "devices": devices}
        worker = Worker(MODULE, settings, self, BACKLOG)
        if self.state is not TranscoderState.STARTING:
            return
        try:
            await worker.start()
        except OSError as error:
            if self.state is TranscoderState.STARTING:
                self._give_up(f"no process could be started: {error.strerror}")
            return
        if self.state is not TranscoderState.STARTING:
            await worker.close(0)
            return
        self._worker = worker
        self._move_to(TranscoderState.RUNNING)
        self._feed.begin(monotonic())
        self._known.on_sight(None)
        self._number, self._sounds = 0, {}
        for track in self._known.tracks.values():
            self._send_track(track)
        self._order_sound()
        for packet in self.stream.gop if replay else ():
            self._give(packet)

    def _dismiss(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            self._leaving.add(worker)
            self._services.spawn(self._see_off(worker))

    async def _see_off(self, worker: Worker) -> None:
        await worker.close(PATIENCE)
        self._leaving.discard(worker)

    async def close(self) -> None:
        """End the process, and wait for those that are on their way: the server stops."""
        workers = self._leaving if self._worker is None else {*self._leaving, self._worker}
        await asyncio.gather(*(worker.close(PATIENCE) for worker in workers))

    def _give_up(self, reason: str) -> None:
        """Go on without what has to be encoded."""
        self._move_to(TranscoderState.GIVEN_UP)
        self._rungs.give_up(reason)
        self._dismiss()
        if self._flushing is not None:
            self._flushed()
        self._tell(reason, failed=True)

    def _send_track(self, track: Track) -> None:
        if self._worker is not None:
            self._worker.send(TrackFrame(SOURCE_LANE, track))

    def _order_sound(self) -> None:
        """Say to the process which sound to make, if that is another than it was."""
        if self._worker is not None and self._rungs.sounds != self._sounds:
            self._sounds = self._rungs.sounds
            self._worker.send(Note(sounds_as_values(self._sounds, self._rungs.ladder.audio_codec)))

    def _give(self, packet: Packet) -> None:
        """Let the process have one more packet of the source."""
        if self._worker is None:
            return
        if packet.kind is MediaKind.VIDEO:
            self._feed.give_picture(packet, self._worker, monotonic(), first=self._number == 0)
        elif self._sounds:
            self._feed.give_sound(packet, self._worker, monotonic())

    # -- what the process says ----------------------------------------------------------------------------------------------

    def on_frame(self, frame: Frame) -> None:
        if self.state not in (TranscoderState.RUNNING, TranscoderState.ENDING):
            return  # it was told to end, and has not heard it yet
        self._feed.on_word(monotonic())
        match frame:
            case PacketFrame(lane, packet):
                self._rungs.on_lane_packet(lane, packet)
            case TrackFrame(lane, track):
                self._rungs.on_lane_track(lane, track)
            case Note(values):
                self._on_note(values)

    def _on_note(self, values: Mapping[str, Any]) -> None:
        if "at" in values:
            self._feed.on_progress(int(values["at"]))
        elif "flushed" in values:
            if self._flushing is not None and values["flushed"] == self._flushes:
                self._flushed()
        elif "failed" in values:
            self._on_failure(values["failed"], values["encoder"], values["reason"], values["fallback"])
        elif (sight := read_sight(values)) is not None:
            reason = "the source changed" if self._number else "another process has taken the place of the one that died"
            self._number, seen = sight
            self._known.on_sight(seen)
            self._fit()
            self._send_plan(reason if self._encoders else "begun")

    def _send_plan(self, reason: str, *, failed: bool = False) -> None:
        """Say to the process what to make, and to the world what is made."""
        self._order_sound()
        lanes = []
        for fitted in self._rungs.encoded():
            lane, choice = self._lane(fitted)
            if choice.missed and self._policy is not EncoderPolicy.SOFTWARE:
                # Nothing was tried in its place.
                self._encoders[lane.rung] = choice.missed
                self._do_without(lane.rung, choice.reason, f"{lane.rung}: {choice.reason}")
                if self.state is not TranscoderState.RUNNING:
                    return  # the policy gave up, or ended the stream
                continue
            self._encoders[lane.rung], self._rungs.reasons[lane.rung] = choice.encoder, choice.reason
            lanes.append(lane)
        if self._worker is not None:
            self._worker.send(Note(Plan(self._number, tuple(lanes), self._rungs.ladder.keyframe_interval).as_values()))
        self._tell(reason, failed=failed)

    def _lane(self, fitted: FittedRung) -> tuple[Lane, Choice]:
        rung, config = fitted.rung, self._services.config
        choice = choose(rung.codec, rung.encoder or self._rungs.ladder.encoder or config.encoder, self._failures)
        software = encoders.SOFTWARE[rung.codec]
        fallback = software if self._policy is EncoderPolicy.SOFTWARE and choice.encoder != software else ""
        lane = Lane(
            number=self._rungs.lane_of[rung.name],
            rung=rung.name,
            codec=rung.codec,
            encoder=encoders.OWN.get(choice.encoder, choice.encoder),
            fallback=fallback,
            width=fitted.width,
            height=fitted.height,
            bitrate=fitted.bitrate,
            rate=self._known.source().frame_rate,
            frame_rate=fitted.frame_rate,
            constant_bitrate=rung.constant_bitrate,
            preset=config.preset,
        )
        return lane, choice

    def _on_failure(self, rung: str, encoder: str, reason: str, fallback: str) -> None:
        """An encoder failed, and ``fallback`` has its place, if that is one."""
        encoder = self._encoders.get(rung, encoder)
        words = f"{rung}: {encoder} failed ({reason})"
        if fallback:
            self._encoders[rung], self._rungs.reasons[rung] = fallback, f"{encoder} failed: {reason}"
            self._tell(f"{words}; {fallback} goes on", failed=True)
        else:
            self._do_without(rung, f"{encoder} failed: {reason}", words)

    def _do_without(self, rung: str, reason: str, words: str) -> None:
        """Nobody encodes ``rung``: what follows is the policy's."""
        if self.state is TranscoderState.ENDING:
            return  # nobody is left to go on, or to be sent away
        if self._policy is EncoderPolicy.PASSTHROUGH:
            self._give_up(f"{words}; the stream goes on without renditions")
        elif self._policy is EncoderPolicy.FAIL:
            self._tell(words, failed=True)
            self._services.hub.end(self.stream.name, words)
        else:
            self._rungs.dropped[rung] = reason
            self._rungs.settle()
            self._tell(f"{words}; it is dropped", failed=True)

    def on_exit(self, status: int, words: str) -> None:
        if self.state not in (TranscoderState.RUNNING, TranscoderState.ENDING):
            return
        self._worker = None
        if self._flushing is not None:
            self._flushed()
        if self.state is not TranscoderState.RUNNING:
            return
        now = monotonic()
        self._deaths = 1 if now - self._died > FORGIVEN else self._deaths + 1
        self._died = now
        facts = {**self.stream.facts(), "status": status, "deaths": self._deaths, "words": words}
        log.warning("transcoder_died", extra={"facts": facts})
        if self._deaths > self._services.config.max_deaths:
            self._give_up(f"its process died {self._deaths} times; the stream goes on without renditions")
            return
        self._move_to(TranscoderState.STARTING)
        self._feed.interrupt()
        self._tell(f"its process died (status {status}) and is started again", failed=True)
        self._services.spawn(self._start(PAUSE * (self._deaths - 1), replay=False))

    # -- once a second --------------------------------------------------------------------------------------------------------

    def sweep(self, now: float) -> None:
        """Shed and restore rungs; end a process that says nothing."""
        if self.state is not TranscoderState.RUNNING or self._worker is None:
            return
        if self._feed.hangs(now, looking=not self._number and MediaKind.VIDEO in self._known.tracks):
            self._worker.kill()
            return
        if not self._known.seen:
            return
        encoded, shed = self._rungs.encoded(), self._rungs.shed
        match self._feed.load.sweep(now, encoded=len(encoded), shed=len(shed)):
            case Verdict.SHED:
                shed.append(encoded[0].rung.name)
                self._change(f"{shed[-1]} is shed for want of time", failed=True)
            case Verdict.RESTORE:
                self._change(f"{shed.pop()} is restored")

    def _change(self, reason: str, *, failed: bool = False) -> None:
        self._rungs.settle()
        self._send_plan(reason, failed=failed)
        self._feed.load.begin(monotonic())

    def _tell(self, reason: str, *, failed: bool = False) -> None:
        rungs = self._rungs.running()
        for rung in rungs:
            told = self._encoders.get(rung, ""), self._rungs.reasons.get(rung, "")
            if told[0] and self._told.get(rung) != told:
                self._told[rung] = told
                facts = {**self.stream.facts(), "rung": rung, "encoder": told[0], "reason": told[1]}
                log.info("rung_encoded", extra={"facts": facts})
        self._services.sink.emit(TranscodeChanged(self.stream.name, "", time.time(), rungs=rungs, reason=reason, failed=failed))
