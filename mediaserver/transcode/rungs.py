"""All rungs of one stream: which are made, which are copied, and what each is fed."""

from collections.abc import Mapping

from mediaserver.hub.hub import Hub
from mediaserver.hub.stream import LiveStream
from mediaserver.ports import Ladder
from mediaserver.snapshot import RungSnapshot
from mediaserver.transcode.ladder import FittedRung, Source, fit
from mediaserver.transcode.output import Output
from mediaserver.transcode.plan import AUDIO_LANE, SOURCE_LANE
from protocols.media import MediaKind, Packet, Track

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
        #: The lanes of sound that is encoded, each with its bits a second (0: what suits its channels).
        self.sounds: dict[int, int] = {}
        self._hub = hub
        self._stream = stream
        self._rung_at = {number: name for name, number in self.lane_of.items()}
        self._outputs: dict[str, Output] = {}
        self._source = Source(None)
        self._gave_up = ""  # why, if nothing is decoded any more
        self._copying: set[str] = set()
        self._picture: Track | None = None  # the source's
        # The sound of each lane that rungs have it from, and who has it from there.
        self._tracks: dict[int, Track] = {}
        self._listeners: dict[int, list[Output]] = {}

    # -- what is made -----------------------------------------------------------------------------------------------------

    @property
    def needs_process(self) -> bool:
        """Whether something has to be decoded: to be encoded, or to be seen at all."""
        unknown = self._source.codec is not None and not self._source.width
        return bool(self.encoded()) or bool(self.sounds) or (unknown and any(rung.height for rung in self.ladder.rungs))

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
        # Only what would be encoded costs time: of another source it may be copied, or not be made at all.
        costly = {fitted.rung.name for fitted in self.fitted if fitted.encoded}
        self.shed = [name for name in self.shed if name in costly]
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
                self._outputs[name] = Output(self._hub, self._stream, fitted)
            elif output.fitted.copied != fitted.copied:
                self._copying.discard(name)
            self._outputs[name].fitted = fitted
        self._settle_sound()

    def _settle_sound(self) -> None:
        """Let every rung have its sound from the lane that has it now."""
        before, self._listeners, self.sounds = self._listeners, {}, {}
        for output in self._outputs.values():
            lane = self._sound_lane(output.fitted)
            self._listeners.setdefault(lane, []).append(output)
            if lane != SOURCE_LANE:
                self.sounds[lane] = 0 if lane == AUDIO_LANE else output.fitted.bitrate
            if lane in self._tracks and output not in before.get(lane, ()):
                output.on_track(self._tracks[lane])

    def _sound_lane(self, fitted: FittedRung) -> int:
        """Where that rung has its sound from."""
        alone = not fitted.width
        if self._source.audio is None or (self._source.audio is self.ladder.audio_codec and (fitted.copied or not alone)):
            return SOURCE_LANE
        return self.lane_of[fitted.rung.name] if alone and fitted.rung.bitrate else AUDIO_LANE

    def give_up(self, reason: str) -> None:
        """Nothing is decoded any more: what is not copied ends."""
        self._gave_up = reason
        self.settle()

    def _is_given_up(self, fitted: FittedRung) -> bool:
        return bool(self._gave_up) and (fitted.encoded or self._sound_lane(fitted) != SOURCE_LANE)

    def _is_made(self, fitted: FittedRung) -> bool:
        name = fitted.rung.name
        return not (fitted.reason or name in self.dropped or name in self.shed or self._is_given_up(fitted))

    # -- what comes from the source ---------------------------------------------------------------------------------------

    def on_track(self, track: Track) -> None:
        """The source's, after ``fit``."""
        if track.kind is MediaKind.VIDEO:
            self._picture = track
            for name in self._copying:
                self._outputs[name].on_track(track)
        elif track.codec is self.ladder.audio_codec:
            self._on_sound(SOURCE_LANE, track)

    def on_packet(self, packet: Packet) -> None:
        """The source's: to the rungs that copy it."""
        if packet.kind is MediaKind.AUDIO:
            if self._source.audio is self.ladder.audio_codec:
                self._pass_sound(SOURCE_LANE, packet)
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
        if track.kind is MediaKind.AUDIO:
            self._on_sound(lane, track)
        elif (output := self._encoded_output(lane)) is not None:
            output.on_track(track)

    def on_lane_packet(self, lane: int, packet: Packet) -> None:
        """One more encoded packet."""
        if packet.kind is MediaKind.AUDIO:
            self._pass_sound(lane, packet)
        elif (encoded := self._encoded_output(lane)) is not None:
            encoded.on_video(packet)

    def _encoded_output(self, lane: int) -> Output | None:
        output = self._outputs.get(self._rung_at.get(lane, ""))
        return output if output is not None and output.fitted.encoded else None

    def _on_sound(self, lane: int, track: Track) -> None:
        self._tracks[lane] = track
        for output in self._listeners.get(lane, ()):
            output.on_track(track)

    def _pass_sound(self, lane: int, packet: Packet) -> None:
        for output in self._listeners.get(lane, ()):
            output.on_audio(packet)

    # -- its end ----------------------------------------------------------------------------------------------------------

    def rest(self) -> None:
        """The source's picture has fallen silent, and nothing more comes of what there was of it."""
        for output in self._outputs.values():
            output.rest()

    def on_away(self) -> None:
        """The publisher is away. What comes straight from it is over; what the process makes is on its way, see ``follow``."""
        for output in self._outputs.values():
            pictures = {MediaKind.VIDEO} if output.fitted.encoded else set()
            sound = {MediaKind.AUDIO} if self._sound_lane(output.fitted) != SOURCE_LANE else set()
            output.on_away(pictures | sound)

    def follow(self) -> None:
        """Nothing more comes of what the publisher left."""
        for output in self._outputs.values():
            output.follow()

    def close(self) -> None:
        """The source is over, and nothing more comes of it."""
        self.follow()
        for output in self._outputs.values():
            output.close()
        self._outputs.clear()
        self._settle_sound()

    # -- looking ----------------------------------------------------------------------------------------------------------

    def snapshots(self, encoders: Mapping[str, str]) -> tuple[RungSnapshot, ...]:
        """Every rung of the ladder; ``encoders`` has who encodes which."""
        return tuple(self._snapshot(fitted, encoders) for fitted in self.fitted)

    def _snapshot(self, fitted: FittedRung, encoders: Mapping[str, str]) -> RungSnapshot:
        name = fitted.rung.name
        output = self._outputs.get(name)
        reason = fitted.reason or self.dropped.get(name)
        if not reason and self._is_given_up(fitted):
            reason = self._gave_up
        elif fitted.copied:
            reason = "the source is like it already"
        reason = reason or self.reasons.get(name, "")
        if name in self.shed:
            reason = "shed for want of time"
        elif output is not None and output.refused:
            reason = "another stream has its name"
        sound = "" if fitted.reason else self.ladder.audio_codec.value
        encoder = COPY if fitted.copied else encoders.get(name, "") if fitted.width else sound
        running = output is not None and output.running
        return RungSnapshot(name, fitted.width, fitted.height, fitted.bitrate, encoder, running, reason)
