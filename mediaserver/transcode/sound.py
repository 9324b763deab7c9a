"""A transcoder's process: sound of any codec to AAC, on the stream's clock, as loud as it came."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction

import av
from av.codec.context import Flags

from mediaserver.bitrates import AUDIO_BITRATE
from mediaserver.worker.frames import Frame, PacketFrame, TrackFrame
from protocols import flv
from protocols.media import Codec, MediaKind, Packet, Track

#: Milliseconds that a packet may be off from where the samples before it end until that counts as a gap.
TOLERANCE = 80
#: What AAC can be sampled at (ISO/IEC 14496-3, table 1.18); anything else becomes the first.
_RATES = (48000, 44100, 96000, 88200, 64000, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
_DECODERS = {Codec.MP3: "mp3float"}
#: Codecs that leave their rate and channels to the FLV tag (FLV 10.1, E.4.2.1), or to nobody.
_TOLD_BY_TAG = frozenset({Codec.PCM_S16LE, Codec.ADPCM_SWF, Codec.NELLYMOSER})
_TAG_RATES = (5512, 11025, 22050, 44100)
_FIXED_RATES = {Codec.PCM_ALAW: 8000, Codec.PCM_MULAW: 8000, Codec.SPEEX: 16000}
#: FLV's Nellymoser of a rate of its own: format 4 is 16 kHz, 5 is 8 kHz.
_NELLYMOSER_RATES = {4: 16000, 5: 8000}


class Sound:
    """One audio track at a time, decoded once, and encoded once for each lane that is asked for."""

    def __init__(self, send: Callable[[Frame], None]) -> None:
        self._send = send
        self._track: Track | None = None
        self._decoder: av.AudioCodecContext | None = None
        self._voices: dict[int, Voice] = {}

    def on_plan(self, lanes: Mapping[int, int], codec: Codec) -> None:
        """Make these ``lanes`` from here on, each at so many bits a second."""
        for lane, voice in list(self._voices.items()):
            if (lanes.get(lane), codec) != (voice.bitrate, voice.codec):
                voice.drain()
                del self._voices[lane]
        for lane, bitrate in lanes.items():
            if lane not in self._voices:
                self._voices[lane] = Voice(lane, codec, bitrate, self._send)

    def on_track(self, track: Track) -> None:
        """Another track, or other parameters."""
        if track == self._track:
            return
        self.drain()
        self._track, self._decoder = track, None
        for voice in self._voices.values():
            voice.restart()

    def on_packet(self, packet: Packet) -> None:
        """One coded packet. What cannot be decoded is silence."""
        if packet.discontinuity:
            self.drain()
            self._decoder = None
            for voice in self._voices.values():
                voice.renew()
        try:
            frames = list(self._decoded(packet))
        except (av.FFmpegError, ValueError, TypeError):
            return
        for voice in self._voices.values():
            for frame in frames:
                voice.encode(frame, packet.dts)

    def drain(self) -> None:
        """Let out what is still inside."""
        for voice in self._voices.values():
            voice.drain()

    def _decoded(self, packet: Packet) -> Iterator[av.AudioFrame]:
        if self._decoder is None:
            if self._track is None:
                return
            self._decoder = _decoder(self._track, packet)
        payload = packet.payload
        if not payload:
            return  # to a decoder that is the end
        coded = av.Packet(payload)
        coded.pts, coded.time_base = packet.dts, Fraction(1, 1000)
        yield from self._decoder.decode(coded)


class Voice:
    """One encoder's sound, on its ``lane``. ``bitrate`` in bits a second, 0 for what suits the channels.

    Other parameters in mid-stream cost players a break, and some of them give up. So sound of fewer channels or samples than
    before is made to fit, and only more of them open the encoder anew: nothing is lost, and changes come to an end.
    """

    def __init__(self, lane: int, codec: Codec, bitrate: int, send: Callable[[Frame], None]) -> None:
        self.codec = codec
        self.bitrate = bitrate
        self._lane = lane
        self._send = send
        self._encoder: av.AudioCodecContext | None = None
        self._fitting: av.AudioResampler | None = None
        self._came: tuple[object, ...] = ()  # what that was made for
        self._rate = 0  # the most so far, and the layout with the most channels
        self._layout: av.AudioLayout | None = None
        self._fresh = False  # the next packet begins a new time
        self._config = b""
        self._start = 0  # the stream's time (ms) of sample 0
        self._samples = 0  # that were given to the encoder since
        self._last = -1

    def encode(self, frame: av.AudioFrame, dts: int) -> None:
        """What was decoded of a packet at ``dts``. What cannot be encoded is silence."""
        if self._widens(frame) or self._is_off(dts):
            self.drain()
        try:
            encoder = self._encoder
            if encoder is None:
                encoder = self._encoder = _encoder(self._rate, self._layout or frame.layout, self.codec, self.bitrate)
                self._start, self._samples = dts, 0
            self._fit(encoder, frame)
        except (av.FFmpegError, ValueError, TypeError):
            self._encoder = self._fitting = None
            self._rate, self._layout = 0, None  # what comes next may do better with its own

    def drain(self) -> None:
        """Let out what is still inside."""
        encoder, self._encoder = self._encoder, None
        with contextlib.suppress(av.FFmpegError, ValueError):
            if encoder is not None:
                self._end_fitting(encoder)
                self._emit(encoder, None)
        self._fitting = None

    def restart(self) -> None:
        """Another track: what follows is told of anew."""
        self._config = b""
        self._rate, self._layout = 0, None

    def renew(self) -> None:
        """The next packet begins a new time, with parameters of its own."""
        self._fresh = True
        self._rate, self._layout = 0, None

    def _widens(self, frame: av.AudioFrame) -> bool:
        """Whether there are more channels or samples in ``frame`` than in any before it."""
        rate = frame.sample_rate if frame.sample_rate in _RATES else _RATES[0]
        layout = self._layout
        wider = layout is None or frame.layout.nb_channels > layout.nb_channels
        if wider:
            self._layout = frame.layout
        faster, self._rate = rate > self._rate, max(rate, self._rate)
        return wider or faster

    def _is_off(self, dts: int) -> bool:
        """Whether samples are missing, or too many: to begin where the stream is."""
        return self._encoder is not None and abs(self._start + 1000 * self._samples // self._rate - dts) > TOLERANCE

    def _fit(self, encoder: av.AudioCodecContext, frame: av.AudioFrame) -> None:
        """``frame`` as ``encoder`` takes it, and into it."""
        came = frame.sample_rate, frame.layout.name, frame.format.name
        if self._fitting is None or came != self._came:
            self._end_fitting(encoder)
            self._fitting, self._came = av.AudioResampler("fltp", encoder.layout, encoder.sample_rate), came
        frame.pts = None  # it is counted behind that, and others take the same frame
        for fitting in self._fitting.resample(frame):
            self._put(encoder, fitting)

    def _end_fitting(self, encoder: av.AudioCodecContext) -> None:
        fitting, self._fitting = self._fitting, None
        for rest in fitting.resample(None) if fitting is not None else ():
            self._put(encoder, rest)

    def _put(self, encoder: av.AudioCodecContext, frame: av.AudioFrame) -> None:
        frame.pts, frame.time_base = self._samples, Fraction(1, encoder.sample_rate)
        self._samples += frame.samples
        self._emit(encoder, frame)

    def _emit(self, encoder: av.AudioCodecContext, frame: av.AudioFrame | None) -> None:
        for coded in encoder.encode(frame):
            config = encoder.extradata or b""
            if config != self._config:
                self._config = config
                header = flv.audio_sequence_header(self.codec, config)
                self._send(TrackFrame(self._lane, Track(self.codec, config, header)))
            # The encoder's run-up lies before the first sample.
            time = self._start + round((coded.pts or 0) * 1000 * (coded.time_base or 0))
            if time < 0:
                continue
            self._last = dts = max(time, self._last)
            body = flv.audio_frame(self.codec, bytes(coded))
            self._send(PacketFrame(self._lane, Packet(MediaKind.AUDIO, dts, True, body, 2, discontinuity=self._fresh)))
            self._fresh = False


def _decoder(track: Track, packet: Packet) -> av.AudioCodecContext:
    context = av.CodecContext.create(_DECODERS.get(track.codec, track.codec.value), "r")
    if not isinstance(context, av.AudioCodecContext):
        raise TypeError(f"{track.codec.value} is no sound")
    if track.config and track.codec in (Codec.AAC, Codec.OPUS, Codec.FLAC):
        context.extradata = track.config
    flags = packet.body[0]
    if track.codec in _TOLD_BY_TAG:
        context.sample_rate = _NELLYMOSER_RATES.get(flags >> 4, _TAG_RATES[flags >> 2 & 3])
        context.layout = "stereo" if flags & 1 and flags >> 4 not in _NELLYMOSER_RATES else "mono"
    elif track.codec in _FIXED_RATES:
        context.sample_rate, context.layout = _FIXED_RATES[track.codec], "mono"
    return context


def _encoder(rate: int, layout: av.AudioLayout, codec: Codec, bitrate: int) -> av.AudioCodecContext:
    context = av.CodecContext.create(codec.value, "w")
    if not isinstance(context, av.AudioCodecContext):
        raise TypeError(f"{codec.value} is no sound")
    context.sample_rate = rate
    context.layout, context.format = layout.name, "fltp"
    context.time_base = Fraction(1, context.sample_rate)
    context.bit_rate = bitrate or (AUDIO_BITRATE if layout.nb_channels > 1 else AUDIO_BITRATE // 2)
    context.flags |= Flags.global_header
    context.open()
    return context
