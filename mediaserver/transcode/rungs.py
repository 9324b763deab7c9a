"""All rungs of one stream: which are made, which are copied, and what each is fed."""

from collections.abc import Mapping

from mediaserver.hub.hub import Hub
from mediaserver.hub.stream import LiveStream
from mediaserver.ports import Ladder
from mediaserver.snapshot import RungSnapshot
from mediaserver.transcode.ladder import FittedRung, Source, fit
from mediaserver.transcode.output import Output
from mediaserver.transcode.plan import AUDIO_LANE
from protocols.media import Codec, MediaKind, Packet, Track

#: What stands for an encoder where there is none.
COPY = "copy"


class Rungs:
    """The rungs of ``ladder`` for ``stream``. Lanes to and from the process are numbered as the ladder's rungs, from 1 on."""

    def __init__(self, hub: Hub, stream: LiveStream, ladder: Ladder) -> None:
        self.ladder = ladder
        self.fitted: tuple[FittedRung, ...] = ()
        self.lane_of = {rung.name: number for number, rung in enumerate(ladder.rungs, start=1)}
        self.shed: list[str] = []
        #: Why rungs are not made though they could be, and the words on those that are, by rung.
        self.dropped: dict[str, str] = {}
        self.reasons: dict[str, str] = {}
        self._hub = hub
        self._stream = stream
        self._rung_at = {number: name for name, number in self.lane_of.items()}
        self._outputs: dict[str, Output] = {}
        self._source = Source(None)
        self._gave_up = False
        self._copying: set[str] = set()
        self._picture: Track | None = None  # the source's
        self._sound: Track | None = None  # the one that rungs have

    # -- what is made -----------------------------------------------------------------------------------------------------

    @property
    def encodes_sound(self) -> bool:
        """Whether the source's sound has to be encoded, for rungs that are made."""
        foreign = self._source.audio not in (None, Codec.AAC) and not self._gave_up
        return foreign and any(not fitted.reason for fitted in self.fitted)

    @property
    def needs_process(self) -> bool:
        """Whether something has to be decoded: to be encoded, or to be seen at all."""
        unknown = self._source.codec is not None and not self._source.width
        return bool(self.encoded()) or self.encodes_sound or (unknown and any(rung.height for rung in self.ladder.rungs))

    def encoded(self) -> tuple[FittedRung, ...]:
        """The rungs whose pictures are encoded now, the largest first."""
        return tuple(fitted for fitted in self.fitted if fitted.encoded and self._is_made(fitted))

    def running(self) -> tuple[str, ...]:
        """The names of the rungs that can be played and are encoded."""
        return tuple(fitted.rung.name for fitted in self.encoded())

    def fit(self, source: Source) -> None:
        """The source is this from here on."""
        self._source = source
        self.fitted = fit(self.ladder, source)
        self.settle()

    def settle(self) -> None:
        """Begin what is to be made and end what is not: after a change of ``shed`` or ``dropped``."""
        for fitted in self.fitted:
            name = fitted.rung.name
            output = self._outputs.get(name)
            if not self._is_made(fitted):
                self._copying.discard(name)
                if output is not None:
                    self._outputs.pop(name).close()
                continue
            if output is None:
                output = self._outputs[name] = Output(self._hub, self._stream, fitted)
                if self._sound is not None:
                    output.on_track(self._sound)
            elif output.fitted.copied != fitted.copied:
                self._copying.discard(name)
            output.fitted = fitted

    def give_up(self) -> None:
        """Nothing is decoded any more: what is not copied ends."""
        self._gave_up = True
        self.settle()

    def _is_made(self, fitted: FittedRung) -> bool:
        name = fitted.rung.name
        given_up = self._gave_up and (fitted.encoded or self._source.audio not in (None, Codec.AAC))
        return not (fitted.reason or name in self.dropped or name in self.shed or given_up)

    # -- what comes from the source ---------------------------------------------------------------------------------------

    def on_track(self, track: Track) -> None:
        """The source's, after ``fit``."""
        if track.kind is MediaKind.VIDEO:
            self._picture = track
            for name in self._copying:
                self._outputs[name].on_track(track)
        elif track.codec is Codec.AAC:
            self._on_sound(track)

    def on_packet(self, packet: Packet) -> None:
        """The source's: to the rungs that copy it."""
        if packet.kind is MediaKind.AUDIO:
            if self._source.audio is Codec.AAC:
                for output in self._outputs.values():
                    output.on_audio(packet)
            return
        for name, output in self._outputs.items():
            if output.fitted.copied and output.fitted.width:
                if packet.keyframe and name not in self._copying and self._picture is not None:
                    self._copying.add(name)
                    output.on_track(self._picture)
                if name in self._copying:
                    output.on_video(packet)

    # -- what comes from the process --------------------------------------------------------------------------------------

    def on_lane_track(self, lane: int, track: Track) -> None:
        """What is encoded has these parameters."""
        if lane == AUDIO_LANE:
            self._on_sound(track)
        elif (output := self._encoded_output(lane)) is not None:
            output.on_track(track)

    def on_lane_packet(self, lane: int, packet: Packet) -> None:
        """One more encoded packet."""
        if lane == AUDIO_LANE:
            for output in self._outputs.values():
                output.on_audio(packet)
        elif (encoded := self._encoded_output(lane)) is not None:
            encoded.on_video(packet)

    def _encoded_output(self, lane: int) -> Output | None:
        output = self._outputs.get(self._rung_at.get(lane, ""))
        return output if output is not None and output.fitted.encoded else None

    def _on_sound(self, track: Track) -> None:
        self._sound = track
        for output in self._outputs.values():
            output.on_track(track)

    # -- its end ----------------------------------------------------------------------------------------------------------

    def interrupt(self) -> None:
        """The publisher is away."""
        for output in self._outputs.values():
            output.interrupt()

    def close(self) -> None:
        """The source is over."""
        for output in self._outputs.values():
            output.close()
        self._outputs.clear()

    # -- looking ----------------------------------------------------------------------------------------------------------

    def snapshots(self, encoders: Mapping[str, str]) -> tuple[RungSnapshot, ...]:
        """Every rung of the ladder; ``encoders`` has who encodes which."""
        return tuple(self._snapshot(fitted, encoders) for fitted in self.fitted)

    def _snapshot(self, fitted: FittedRung, encoders: Mapping[str, str]) -> RungSnapshot:
        name = fitted.rung.name
        output = self._outputs.get(name)
        reason = fitted.reason or self.dropped.get(name) or self.reasons.get(name, "")
        if fitted.copied:
            reason = "the source is like it already"
        if name in self.shed:
            reason = "shed for want of time"
        elif output is not None and output.refused:
            reason = "another stream has its name"
        encoder = COPY if fitted.copied else encoders.get(name, "") if fitted.width else "" if fitted.reason else "aac"
        running = output is not None and output.running
        return RungSnapshot(name, fitted.width, fitted.height, fitted.bitrate, encoder, running, reason)
