"""One rung on the server's side: what becomes of its packets, and how sound and pictures of different age come together."""

from collections import deque

from mediaserver.hub.hub import Hub
from mediaserver.hub.stream import LiveStream, StreamState
from mediaserver.transcode.ladder import FittedRung
from protocols.media import MediaKind, Packet, Track

#: Milliseconds of sound that wait for the pictures of their time, which an encoder holds back; then they wait no longer.
LONGEST_WAIT = 5_000
#: Packets of sound likewise, and their bytes.
MOST_WAITING, MOST_BYTES = 1_000, 4 << 20


class Output:
    """Feeds the rendition stream of one rung, which begins with its first track.

    Sound comes straight from the source or soon after, pictures later: so a rung with pictures holds its sound until its
    pictures have come as far.
    """

    def __init__(self, hub: Hub, source: LiveStream, fitted: FittedRung) -> None:
        self.fitted = fitted
        self.stream: LiveStream | None = None
        self.refused = False  # the name is somebody else's
        self.encoder = ""
        self._hub = hub
        self._source = source
        self._held: deque[Packet] = deque()
        self._weight = 0  # of those, in bytes
        self._tracks: dict[MediaKind, Track] = {}
        self._skipping = False  # until a keyframe
        self._resting = False  # no picture comes, so that sound waits for none
        self._video: int | None = None  # the last picture's dts
        self._last = dict.fromkeys(MediaKind, -1)
        # Kinds of which nothing goes on until a packet marks a new beginning; and those of which that is so once what the
        # publisher left has come, unless a new beginning comes first.
        self._closed: set[MediaKind] = set()
        self._trailing: set[MediaKind] = set()

    @property
    def name(self) -> str:
        """The rung's."""
        return self.fitted.rung.name

    @property
    def running(self) -> bool:
        """Whether its stream can be played."""
        return self.stream is not None

    def on_track(self, track: Track) -> None:
        """The parameters from here on. The first picture's (or of sound alone, the first sound's) begin the stream."""
        self._tracks[track.kind] = track
        leading = MediaKind.VIDEO if self.fitted.width else MediaKind.AUDIO
        if self.stream is None and leading in self._tracks and not self.refused:
            self.stream = self._hub.add_rendition(self._source, self.name)
            self.refused = self.stream is None
            if self.stream is not None:
                self.stream.trails = True
            for kind in MediaKind:
                if kind in self._tracks:
                    self._write_track(self._tracks[kind])
        elif self.stream is not None:
            self._write_track(track)

    def _write_track(self, track: Track) -> None:
        if self.stream is not None and (self.fitted.width or track.kind is MediaKind.AUDIO):
            self.stream.write_track(track)

    def on_video(self, packet: Packet) -> None:
        """One more picture: behind the sound that belongs before it."""
        if self._shut(packet) or self._is_late(packet):
            return
        if self._video is None:
            # Players begin with a picture: sound from before it is of no use.
            while self._held and self._held[0].dts < packet.dts:
                self._release()
        while self._held and self._held[0].dts <= packet.dts:
            self._write(self._release())
        if packet.keyframe or packet.dts >= self._last[MediaKind.AUDIO]:
            self._resting = False
        self._video = packet.dts
        self._write(packet)

    def on_audio(self, packet: Packet) -> None:
        """One more piece of sound."""
        if self._shut(packet):
            return
        if not self.fitted.width or (self._video is not None and (self._resting or packet.dts <= self._video)):
            self._write(packet)
            return
        held = self._held
        held.append(packet)
        self._weight += len(packet.body)
        while held and (held[-1].dts - held[0].dts > LONGEST_WAIT or len(held) > MOST_WAITING or self._weight > MOST_BYTES):
            late = self._release()
            if self._video is not None:
                self._write(late)

    def _release(self) -> Packet:
        """The sound that has waited longest waits no more."""
        packet = self._held.popleft()
        self._weight -= len(packet.body)
        return packet

    def rest(self) -> None:
        """The source's picture has fallen silent, and what there was of it has come: until the next one, sound goes on alone."""
        self._resting = True
        if self._video is not None:
            while self._held:
                self._write(self._release())

    def on_away(self, trailing: set[MediaKind]) -> None:
        """The publisher is away. Of these kinds what it left is on its way yet; ``follow`` tells when it has come."""
        self._trailing = trailing
        self._shut_off(set(MediaKind) - trailing)
        if not trailing:
            self.follow()

    def follow(self) -> None:
        """What the publisher left has come: what comes yet is too late, until a packet marks a new beginning."""
        self._shut_off(self._trailing)
        self._trailing = set()
        while self._held and not self._held[0].discontinuity:
            packet = self._release()
            if self._video is not None:
                self._write(packet)
        if self.stream is not None:
            self.stream.follow()

    def close(self) -> None:
        """It is made no more."""
        self._held.clear()
        self._weight = 0
        stream, self.stream = self.stream, None
        if stream is not None and self._source.state is StreamState.ENDED:
            stream.follow()
        elif stream is not None:
            self._hub.remove_rendition(stream)

    def _shut_off(self, kinds: set[MediaKind]) -> None:
        self._closed |= {kind for kind in kinds if self._last[kind] >= 0}

    def _shut(self, packet: Packet) -> bool:
        if packet.discontinuity:
            self._closed.discard(packet.kind)
            self._trailing.discard(packet.kind)
        return packet.kind in self._closed

    def _is_late(self, packet: Packet) -> bool:
        """Whether ``packet`` would run backwards, or leans on one that did: where copies give way to what is encoded."""
        late = packet.dts < self._last[MediaKind.VIDEO]
        self._skipping = late or (self._skipping and not packet.keyframe)
        return self._skipping

    def _write(self, packet: Packet) -> None:
        stream = self.stream
        if stream is None or stream.state is not StreamState.LIVE or packet.dts < self._last[packet.kind]:
            return
        if packet.kind is MediaKind.AUDIO and MediaKind.AUDIO not in stream.tracks:
            return
        self._last[packet.kind] = packet.dts
        stream.pass_on(packet)
