"""Streams that FLV cannot carry: sound becomes AAC, pictures become H.264. Runs in a worker process."""

from collections.abc import Iterator
from fractions import Fraction

import av

from mediaserver.ingest.pull_remux import AnyPacket, Clock, packet, track
from mediaserver.ingest.pull_terms import SourceRefused
from protocols.codec import avc
from protocols.codec.nal import annexb_to_length_prefixed, split_annexb
from protocols.media import Codec, Packet, Track

#: Sample rates of AAC that players like; others are brought to the next of them.
_RATES = (8000, 16000, 22050, 24000, 32000, 44100, 48000)
_SOUND_BITRATE = 128_000
#: Milliseconds that the source's clock and the count of samples may be apart before the clock is believed.
_DRIFT = 200
#: Pictures: fast, without reordering.
_PICTURE_OPTIONS = {"preset": "veryfast", "tune": "zerolatency", "crf": "21", "x264-params": "log=-1:threads=2"}
#: Seconds between keyframes.
_KEYFRAMES = 2
#: Milliseconds that a picture may come too late; one further back begins a new clock.
_JUMP = 1000
_MILLISECOND = Fraction(1, 1000)
_MOST_FRAME_RATE = 120
#: Pixels of a picture that is decoded: 8K, and a little more. A few bytes may claim to be any number of them.
MOST_PIXELS = 8192 * 4352


class RecodedSound:
    """One stream of sound, decoded and encoded as AAC with one or two channels."""

    def __init__(self, stream: av.AudioStream) -> None:
        self._clock = Clock(stream.time_base or _MILLISECOND)
        self._decoder = stream.codec_context
        self._encoder: av.AudioCodecContext | None = None
        self._resampler: av.AudioResampler | None = None
        # Where the count of samples began, in ms, and how many came in and went out since.
        self._anchor, self._taken, self._given = 0, 0, 0

    def feed(self, packet_in: AnyPacket) -> Iterator[Track | Packet]:
        at, _ = self._clock.stamps(packet_in)
        for frame in self._decoder.decode(packet_in):
            if self._encoder is None:
                yield self._open(frame)
            expected = self._anchor + self._taken * 1000 // frame.sample_rate
            if not self._taken or abs(at - expected) > _DRIFT:
                self._anchor, self._taken, self._given = at, 0, 0
            self._taken += frame.samples
            at += frame.samples * 1000 // frame.sample_rate
            frame.pts = None
            yield from self._encode(frame)

    def finish(self) -> Iterator[Track | Packet]:
        if self._encoder is not None:
            yield from self._encode(None)

    def _open(self, frame: av.AudioFrame) -> Track:
        rate = next((rate for rate in _RATES if rate >= frame.sample_rate), _RATES[-1])
        layout = "mono" if frame.layout.nb_channels == 1 else "stereo"
        encoder = av.AudioCodecContext.create("aac", "w")
        encoder.sample_rate, encoder.layout, encoder.format = rate, layout, "fltp"
        encoder.bit_rate, encoder.time_base = _SOUND_BITRATE, Fraction(1, rate)
        encoder.flags |= av.codec.context.Flags.global_header
        encoder.open()
        self._encoder = encoder
        self._resampler = av.AudioResampler("fltp", layout, rate, frame_size=encoder.frame_size)
        return track(Codec.AAC, bytes(encoder.extradata or b""))

    def _encode(self, frame: av.AudioFrame | None) -> Iterator[Packet]:
        """Encode ``frame``, or (None) what is left."""
        encoder, resampler = self._encoder, self._resampler
        assert encoder is not None  # noqa: S101  opened with the first frame
        assert resampler is not None  # noqa: S101
        pieces: list[av.AudioFrame | None] = [*resampler.resample(frame)]
        for piece in pieces if frame is not None else [*pieces, None]:
            if piece is not None:
                piece.pts = None
            for out in encoder.encode(piece):
                # The encoder's first packet is what its filters start from, before the first sample.
                at = self._anchor + (self._given - encoder.frame_size) * 1000 // encoder.sample_rate
                self._given += encoder.frame_size
                yield packet(Codec.AAC, at, at, True, bytes(out))


class RecodedPictures:
    """One stream of pictures, decoded and encoded as H.264."""

    def __init__(self, stream: av.VideoStream) -> None:
        self._clock = Clock(stream.time_base or _MILLISECOND)
        self._decoder = stream.codec_context
        if self._decoder.width * self._decoder.height > MOST_PIXELS:
            raise SourceRefused("its pictures are too large to be encoded anew")
        self._decoder.options = {"max_pixels": str(MOST_PIXELS)}
        rate = stream.average_rate or stream.base_rate or Fraction(25)
        self._rate = rate if 1 <= rate <= _MOST_FRAME_RATE else Fraction(25)
        self._encoder: av.VideoCodecContext | None = None
        self._size = 0, 0
        self._last: int | None = None
        self._at, self._shift = 0, 0

    def feed(self, packet_in: AnyPacket) -> Iterator[Track | Packet]:
        self._at, pts = self._clock.stamps(packet_in)
        if packet_in.pts is not None:
            self._shift = pts - self._clock.milliseconds(packet_in.pts)  # what has wrapped
        yield from self._show(self._decoder.decode(packet_in))

    def finish(self) -> Iterator[Track | Packet]:
        yield from self._show(self._decoder.decode(None))

    def _show(self, frames: list[av.VideoFrame]) -> Iterator[Track | Packet]:
        for frame in frames:
            shown = self._at if frame.pts is None else self._clock.milliseconds(frame.pts) + self._shift
            if self._last is None or shown > self._last or shown < self._last - _JUMP:
                self._last = shown
                yield from self._encode(frame, shown)

    def _encode(self, frame: av.VideoFrame, shown: int) -> Iterator[Track | Packet]:
        size = frame.width & ~1, frame.height & ~1
        if self._encoder is None or size != self._size:
            self._size = size
            self._encoder = self._open(*size)
            yield track(Codec.H264, _record(self._encoder))
        picture = frame.reformat(*size, format="yuv420p")
        picture.pts, picture.time_base = shown, _MILLISECOND
        picture.pict_type = av.video.frame.PictureType.NONE
        for out in self._encoder.encode(picture):
            at = out.pts if out.pts is not None else shown
            yield packet(Codec.H264, at, at, out.is_keyframe, annexb_to_length_prefixed(bytes(out)))

    def _open(self, width: int, height: int) -> av.VideoCodecContext:
        encoder = av.VideoCodecContext.create("libx264", "w")
        encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
        encoder.time_base, encoder.framerate = _MILLISECOND, self._rate
        encoder.gop_size = round(self._rate * _KEYFRAMES)
        encoder.options = _PICTURE_OPTIONS
        encoder.flags |= av.codec.context.Flags.global_header
        encoder.open()
        return encoder


def _record(encoder: av.VideoCodecContext) -> bytes:
    """The avcC record of an encoder that has been opened with global headers."""
    units = split_annexb(bytes(encoder.extradata or b""))
    sets = [[unit for unit in units if unit[0] & 0x1F == kind] for kind in (avc.NAL_SPS, avc.NAL_PPS)]
    return avc.configuration_record(*sets)
