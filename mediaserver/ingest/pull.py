"""One pull: a worker process fetches the source, what it sends is published, and when it is lost it is tried again."""

import asyncio
import enum
import os
import time
from random import SystemRandom

from mediaserver.config import Config
from mediaserver.errors import Refused
from mediaserver.events import PullChanged
from mediaserver.hub.hub import Hub, Publisher
from mediaserver.hub.session import Session
from mediaserver.hub.stream import LiveStream
from mediaserver.ingest.pull_terms import Terms
from mediaserver.ingest.slate import slate_of
from mediaserver.ports import EventSink, InputType, PublishGrant, PullSource, Wire
from mediaserver.snapshot import PullSnapshot
from mediaserver.sources import address_of
from mediaserver.worker.frames import Frame, Note, PacketFrame, TrackFrame
from mediaserver.worker.process import Worker
from protocols.media import MediaKind, Packet, Track

CONNECTING = "connecting"
SILENT = "the source is silent"
#: Seconds that a worker may take beyond ``pull.timeout`` to start and to find out what the source has.
OPENING = 10.0
#: Seconds that a worker may take to end.
PATIENCE = 2.0
#: Seconds before the first new try, and seconds of a stream after which the next loss counts as the first one again.
FIRST_RETRY, STEADY = 1.0, 10.0
#: Seconds between two looks, beyond which this process was not there to hear anything.
STANDSTILL = 2.0
#: Timeouts without a packet: a playlist's segments come in one piece each.
_QUIET = {InputType.HLS: 3.0}
#: Bytes that may wait for a worker, which is told nothing but its terms.
_BACKLOG = 1 << 16

_MODULE = "mediaserver.ingest.pull_worker"
_random = SystemRandom()


class PullState(enum.Enum):
    """CONNECTING: a worker is at it, or waits for a source that has fallen silent. LIVE: its packets are published.
    BACKING_OFF: the source was lost, and is tried again later. OVER: for good."""

    CONNECTING = "connecting"
    LIVE = "live"
    BACKING_OFF = "backing off"
    OVER = "over"


#: What may follow what; an absent key is the error.
TRANSITIONS: dict[PullState, frozenset[PullState]] = {
    PullState.CONNECTING: frozenset({PullState.LIVE, PullState.BACKING_OFF, PullState.OVER}),
    PullState.LIVE: frozenset({PullState.CONNECTING, PullState.BACKING_OFF, PullState.OVER}),
    PullState.BACKING_OFF: frozenset({PullState.CONNECTING, PullState.OVER}),
}


class Pull:
    """One source, from ``run()`` until it is stopped, it has ended, or it cannot be had. A WorkerHandler."""

    def __init__(self, hub: Hub, config: Config, sink: EventSink, source: PullSource, grant: PublishGrant) -> None:
        self.session = Session(Wire.PULL, address_of(source))
        self.grant = grant
        self.state = PullState.CONNECTING
        self.reason = CONNECTING
        self.attempts = 0
        self.task: asyncio.Task[None] | None = None
        self._hub, self._sink = hub, sink
        self._terms = Terms(
            type=source.type,
            url=source.url,
            loop=source.loop,
            allow_private=config.server.allow_private_targets,
            timeout=config.pull.timeout,
            # A worker's working folder is not the server's.
            roots=tuple(os.path.abspath(root) for root in config.pull.file_roots),
            largest=config.limits.message_bytes,
            memory=config.pull.memory,
            max_bitrate=config.pull.max_bitrate,
            tls_ca=config.pull.tls_ca and os.path.abspath(config.pull.tls_ca),
            tls_verify=config.pull.tls_verify,
        )
        self._longest_retry = config.pull.longest_retry
        self._rtmp = config.rtmp
        self._quiet = config.pull.timeout * _QUIET.get(source.type, 1.0)
        self._worker: Worker | None = None
        self._gone: asyncio.Future[str] | None = None
        self._verdict: dict[str, str] = {}
        self._publisher: Publisher | None = None
        self._stream: LiveStream | None = None  # what was published last
        self._tracks: dict[MediaKind, Track] = {}
        self._heard = self._live_since = self._checked = 0.0
        self._failures = 0
        self._told: tuple[bool, str] | None = None

    def snapshot(self) -> PullSnapshot:
        return PullSnapshot(
            session_id=self.session.id,
            name=self.grant.name,
            address=self.session.address,
            connected=self.state is PullState.LIVE,
            since=self.session.since,
            attempts=self.attempts,
            reason=self.reason,
        )

    async def run(self) -> None:
        """Fetch and publish, as often as it takes."""
        while await self._attempt():
            delay = min(FIRST_RETRY * 2.0 ** min(self._failures, 16), self._longest_retry)
            self._failures += 1
            await asyncio.sleep(delay * _random.uniform(0.5, 1.0))
            self._move(PullState.CONNECTING, CONNECTING)

    def stop(self, reason: str) -> None:
        """End the pull and its stream. Harmless twice."""
        if self.state is PullState.OVER:
            return
        name, present = self.grant.name, self._hub.publishers.get(self.grant.name)
        self._finish(reason)
        # What another publishes under the name, or has published, is not ours to end.
        ours = self._stream is not None and self._hub.find(name) is self._stream
        if ours and (present is None or present.stand_in or present.session is self.session):
            self._hub.end(name, reason)

    def check(self, now: float) -> None:
        """Give up a worker whose source is silent; where there is a slate, show it before that. To be called every second."""
        if self._checked:
            # A machine that stood still has not heard anybody meanwhile.
            self._heard = min(now, self._heard + max(0.0, now - self._checked - STANDSTILL))
        self._checked = now
        patience = self._quiet if self.state is PullState.LIVE else self._quiet + OPENING
        if self._worker is not None and self.state in (PullState.CONNECTING, PullState.LIVE) and now - self._heard > patience:
            self._verdict.setdefault("lost", SILENT)
            self._worker.kill()
        elif (
            self._publisher is not None
            and now - self._heard > self._rtmp.slate_after
            and slate_of(self.grant, self._rtmp) is not None
        ):
            # The source has its timeout all the same.
            publisher, self._publisher = self._publisher, None
            self._settle(now)
            self._move(PullState.CONNECTING, SILENT)
            publisher.close(SILENT, now - self._heard)

    # -- one try --------------------------------------------------------------------------------------------------------

    async def _attempt(self) -> bool:
        """One worker's life. Whether there shall be another."""
        self.attempts += 1
        self._verdict, self._tracks = {}, {}
        self._heard = time.monotonic()
        self._gone = asyncio.get_running_loop().create_future()
        self._worker = worker = Worker(_MODULE, self._terms.settings(), self, _BACKLOG)
        try:
            await worker.start()
            words = await self._gone
        except OSError as error:
            words = f"no process can be started: {error.strerror}"
        finally:
            self._worker = None
            worker.kill()
            await worker.close(PATIENCE)
        return self._conclude(words)

    def _conclude(self, words: str) -> bool:
        verdict = self._verdict
        for kind in ("ended", "refused"):
            if kind in verdict:
                self.stop(verdict[kind])
                return False
        self._settle(time.monotonic())
        reason = verdict.get("lost") or words
        publisher, self._publisher = self._publisher, None
        self._move(PullState.BACKING_OFF, reason)
        if publisher is not None:
            publisher.close(reason)
        return True

    def _settle(self, now: float) -> None:
        """LIVE is about to end: after a while of it the next loss counts as the first one."""
        if self.state is PullState.LIVE and now - self._live_since > STEADY:
            self._failures = 0

    # -- WorkerHandler ---------------------------------------------------------------------------------------------------

    def on_frame(self, frame: Frame) -> None:
        self._heard = time.monotonic()
        match frame:
            case PacketFrame(packet=packet):
                self._pass_on(packet)
            case TrackFrame(track=track):
                self._tracks[track.kind] = track
                if self._publisher is not None:
                    self._publisher.write_track(track)
                elif len(self._tracks) == 1:
                    self._publish()
            case Note(values):
                self._verdict = {key: str(value)[:400] for key, value in values.items()} | self._verdict
            case _:
                pass

    def on_exit(self, status: int, words: str) -> None:
        last = words.rpartition("\n")[2]
        if self._gone is not None and not self._gone.done():
            how = f"by signal {-status}" if status < 0 else f"with status {status}"
            self._gone.set_result(f"its process ended {how}{': ' if last else ''}{last.partition(':')[0]}")

    def _pass_on(self, packet: Packet) -> None:
        if self._publisher is None:
            # A source that was silent for a while goes on with a picture that can be shown.
            if MediaKind.VIDEO in self._tracks and not (packet.keyframe and packet.kind is MediaKind.VIDEO):
                return
            self._publish()
        if self._publisher is not None:
            self.session.bytes_in += len(packet.body)
            self._publisher.write(packet)

    def _publish(self) -> None:
        """The source has something: take the name."""
        if self.state is not PullState.CONNECTING or self._verdict:
            return
        try:
            self._publisher = self._hub.publish(self.grant, self.session, self._kicked)
        except Refused as refusal:
            self._verdict["lost"] = refusal.reason
            if self._worker is not None:
                self._worker.kill()
            return
        self._stream = self._publisher.stream
        self._live_since = time.monotonic()
        self._move(PullState.LIVE, "connected")
        for track in self._tracks.values():
            self._publisher.write_track(track)

    def _kicked(self, reason: str) -> None:
        """The hub took the name away."""
        self._publisher = None
        self._finish(reason)

    def _finish(self, reason: str) -> None:
        if self.state is not PullState.OVER:
            self._move(PullState.OVER, reason)
            if self.task is not None and self.task is not asyncio.current_task():
                self.task.cancel()

    def _move(self, state: PullState, reason: str) -> None:
        """The one place where the state changes; tells whoever takes note."""
        if state not in TRANSITIONS.get(self.state, ()):
            raise ValueError(f"a pull that is {self.state.value} cannot become {state.value}")
        self.state, self.reason = state, reason
        told = state is PullState.LIVE, reason
        if reason != CONNECTING and (told != self._told or state is PullState.OVER):
            self._told = told
            over = state is PullState.OVER
            failed = not told[0] and (not over or "refused" in self._verdict)
            self._sink.emit(PullChanged(self.grant.name, self.session.id, time.time(), *told, over=over, failed=failed))
