"""What is known of a source: what its tracks say, its publisher, and who has decoded its pictures. Pure."""

from mediaserver.transcode.ladder import Source
from mediaserver.transcode.plan import Sight
from protocols import codec
from protocols.errors import ProtocolError
from protocols.media import MediaKind, Metadata, Packet, Track


class Knowledge:
    """Of one source. ``tracks`` are its present ones."""

    def __init__(self) -> None:
        self.tracks: dict[MediaKind, Track] = {}
        self._frame_rate = 0.0
        self._sight: Sight | None = None
        self._seen: Sight | None = None  # the last one, of whatever parameters

    @property
    def seen(self) -> bool:
        """Whether somebody has decoded pictures of the present parameters."""
        return self._sight is not None

    def on_track(self, track: Track) -> None:
        """A track begins, or has other parameters."""
        self.tracks[track.kind] = track
        if track.kind is MediaKind.VIDEO:
            self._sight = None

    def on_metadata(self, metadata: Metadata) -> None:
        """The publisher describes itself."""
        rate = metadata.values.get("framerate")
        self._frame_rate = float(rate) if isinstance(rate, int | float) and 1 <= rate <= 300 else 0.0

    def on_sight(self, sight: Sight | None) -> None:
        """This is what the pictures look like; None: nobody who has seen them is left."""
        self._sight = sight
        self._seen = sight or self._seen

    def complete(self, packet: Packet) -> bool:
        """Let a keyframe say what its track's configuration does not. Whether it did."""
        track = self.tracks[MediaKind.VIDEO]
        try:
            completed = codec.complete(track, packet.payload)
        except ProtocolError:
            return False
        self.tracks[MediaKind.VIDEO] = completed
        return completed is not track

    def source(self) -> Source:
        """What comes in."""
        video, audio = self.tracks.get(MediaKind.VIDEO), self.tracks.get(MediaKind.AUDIO)
        sound = None if audio is None else audio.codec
        if video is None:
            return Source(None, audio=sound)
        sight = self._sight
        if sight is not None:
            rate = self._frame_rate or sight.frame_rate
            return Source(
                video.codec, sight.width, sight.height, sound, rate, sight.pixel_aspect, sight.rotation, sight.interlaced
            )
        try:
            described = codec.parameters(video)
        except ProtocolError:
            described = None
        if not isinstance(described, codec.VideoParameters):
            return Source(video.codec, audio=sound)
        rate = self._frame_rate or described.frame_rate
        # A camera that stood on its side does so until somebody has looked again.
        seen = self._seen
        rotation, interlaced = (seen.rotation, seen.interlaced) if seen is not None else (0, False)
        return Source(video.codec, described.width, described.height, sound, rate, described.pixel_aspect, rotation, interlaced)
