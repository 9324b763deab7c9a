"""Streams that FLV cannot carry: sound becomes AAC, pictures become H.264, upright and of whole frames. In a worker process."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import av

from mediaserver.ingest.even_sound import EvenSound
from mediaserver.ingest.pull_remux import AnyPacket, Clock, Copied, Lane, packet, track
from mediaserver.ingest.pull_terms import SourceRefused
from mediaserver.ingest.upright import BT709, COLOUR_NAMES, NARROW, Filters, Upright, is_rgb, turn
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
        self._even: EvenSound | None = None
        # Where the count of samples began, in ms, how many ms of them came in since, and how many samples went out.
        self._anchor, self._taken, self._given = 0, Fraction(0), 0

    def feed(self, packet_in: AnyPacket) -> Iterator[Track | Packet]:
        at, _ = self._clock.stamps(packet_in)
        for frame in self._decoder.decode(packet_in):
            if self._even is None:
                yield self._open(frame)
            if not self._taken or abs(at - self._anchor - self._taken) > _DRIFT:
                self._anchor, self._taken, self._given = at, Fraction(0), 0
            self._taken += Fraction(frame.samples * 1000, frame.sample_rate)
            at += frame.samples * 1000 // frame.sample_rate
            yield from self._encode(frame)

    def finish(self) -> Iterator[Track | Packet]:
        if self._even is not None:
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
        self._even = EvenSound("fltp", layout, rate, encoder.frame_size)
        return track(Codec.AAC, bytes(encoder.extradata or b""))

    def _encode(self, frame: av.AudioFrame | None) -> Iterator[Packet]:
        """Encode ``frame``, or (None) what is left."""
        encoder, even = self._encoder, self._even
        assert encoder is not None  # noqa: S101  opened with the first frame
        assert even is not None  # noqa: S101
        pieces: list[av.AudioFrame | None] = [*even.feed(frame)] if frame is not None else [*even.finish(), None]
        for piece in pieces:
            for out in encoder.encode(piece):
                # The encoder's first packet is what its filters start from, before the first sample.
                at = self._anchor + (self._given - encoder.frame_size) * 1000 // encoder.sample_rate
                self._given += encoder.frame_size
                yield packet(Codec.AAC, at, at, True, bytes(out))


class RecodedPictures:
    """One stream of pictures, decoded and encoded as H.264."""

    def __init__(self, stream: av.VideoStream) -> None:
        self._clock = Clock(stream.time_base or _MILLISECOND)
        self._stream, self._decoder = stream, stream.codec_context
        if is_too_large(stream):
            raise SourceRefused("its pictures are too large to be encoded anew")
        if not self._decoder.is_open:
            self._decoder.options = {"max_pixels": str(MOST_PIXELS)}
        rate = stream.average_rate or stream.base_rate or Fraction(25)
        self._rate = rate if 1 <= rate <= _MOST_FRAME_RATE else Fraction(25)
        self._upright = Upright(_finishing)
        self._encoder: av.VideoCodecContext | None = None
        self._encoder_for: _Look | None = None
        self._last: int | None = None
        self._at, self._shift = 0, 0

    def feed(self, packet_in: AnyPacket) -> Iterator[Track | Packet]:
        self._at, pts = self._clock.stamps(packet_in)
        if packet_in.pts is not None:
            self._shift = pts - self._clock.milliseconds(packet_in.pts)  # what has wrapped
        yield from self._show(self._decoder.decode(packet_in))

    def finish(self) -> Iterator[Track | Packet]:
        yield from self._show(self._decoder.decode(None))
        yield from self._encode(self._upright.finish())

    def _show(self, frames: list[av.VideoFrame]) -> Iterator[Track | Packet]:
        for frame in frames:
            shown = self._at if frame.pts is None else self._clock.milliseconds(frame.pts) + self._shift
            if self._last is None or shown > self._last or shown < self._last - _JUMP:
                self._last = shown
                frame.pts, frame.time_base = shown, _MILLISECOND
                # What the pictures say themselves, if they do, and what the container says.
                aspect = self._decoder.sample_aspect_ratio or self._stream.sample_aspect_ratio
                yield from self._encode(self._upright.feed(frame, aspect))

    def _encode(self, pictures: Iterator[av.VideoFrame]) -> Iterator[Track | Packet]:
        for picture in pictures:
            colours = int(picture.colorspace), int(picture.color_primaries), int(picture.color_trc)
            look = _Look(picture.width, picture.height, self._upright.pixel_aspect, *colours)
            if self._encoder is None or look != self._encoder_for:
                self._encoder, self._encoder_for = _open(look, self._rate), look
                yield track(Codec.H264, _record(self._encoder))
            # A filter may count in parts of a millisecond.
            shown = round((picture.pts or 0) * (picture.time_base or _MILLISECOND) * 1000)
            picture.pts, picture.time_base = shown, _MILLISECOND
            picture.pict_type = av.video.frame.PictureType.NONE
            for out in self._encoder.encode(picture):
                at = out.pts if out.pts is not None else shown
                yield packet(Codec.H264, at, at, out.is_keyframe, annexb_to_length_prefixed(bytes(out)))


class UprightPictures:
    """One stream of pictures that FLV could carry, but not what its container may say of them: that they lie on their side.

    Only a decoded picture tells. What stands upright is passed on as it is.
    """

    def __init__(self, codec: Codec, stream: av.VideoStream) -> None:
        self._codec, self._stream = codec, stream
        self._lane: Lane | None = Copied(codec, stream) if is_too_large(stream) else None

    def feed(self, packet_in: AnyPacket) -> Iterator[Track | Packet]:
        if self._lane is None and packet_in.is_keyframe:
            copied = Copied(self._codec, self._stream)
            self._lane = RecodedPictures(self._stream) if self._is_turned(packet_in) else copied
        if self._lane is not None:
            yield from self._lane.feed(packet_in)

    def finish(self) -> Iterator[Track | Packet]:
        if self._lane is not None:
            yield from self._lane.finish()

    def _is_turned(self, packet_in: AnyPacket) -> bool:
        decoder = self._stream.codec_context
        decoder.options = {"max_pixels": str(MOST_PIXELS)}
        try:
            frames = [*decoder.decode(packet_in), *decoder.decode(None)]
        except av.FFmpegError:
            return False
        decoder.flush_buffers()  # it may have to begin with the same picture
        return any(turn(frame) for frame in frames)


def is_too_large(stream: av.VideoStream) -> bool:
    """Whether its pictures are not decoded."""
    return stream.codec_context.width * stream.codec_context.height > MOST_PIXELS


@dataclass(frozen=True, slots=True)
class _Look:
    """What an encoder must know of pictures; colours as in ITU-T H.273."""

    width: int
    height: int
    pixel_aspect: Fraction
    matrix: int
    primaries: int
    transfer: int


def _finishing(frame: av.VideoFrame) -> Filters:
    """Even sizes and narrow range, which is all that players expect of 8 bits of 4:2:0; the colours stay, save those of RGB."""
    scale, layout = "scale=w=trunc(iw/2)*2:h=trunc(ih/2)*2:out_range=tv", "format=yuv420p"
    if not is_rgb(frame):
        return scale, layout
    name = COLOUR_NAMES[BT709]
    return f"{scale}:out_color_matrix={name}", layout, f"setparams=color_primaries={name}:color_trc={name}"


def _open(look: _Look, rate: Fraction) -> av.VideoCodecContext:
    encoder = av.VideoCodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = look.width, look.height, "yuv420p"
    encoder.sample_aspect_ratio = look.pixel_aspect
    encoder.color_range, encoder.colorspace = NARROW, look.matrix
    encoder.color_primaries, encoder.color_trc = look.primaries, look.transfer
    encoder.time_base, encoder.framerate = _MILLISECOND, rate
    encoder.gop_size = round(rate * _KEYFRAMES)
    encoder.options = _PICTURE_OPTIONS
    encoder.flags |= av.codec.context.Flags.global_header
    encoder.open()
    return encoder


def _record(encoder: av.VideoCodecContext) -> bytes:
    """The avcC record of an encoder that has been opened with global headers."""
    units = split_annexb(bytes(encoder.extradata or b""))
    sets = [[unit for unit in units if unit[0] & 0x1F == kind] for kind in (avc.NAL_SPS, avc.NAL_PPS)]
    return avc.configuration_record(*sets)
