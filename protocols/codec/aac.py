"""AAC: the AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2.1)."""

from protocols.codec.bits import BitReader
from protocols.codec.description import AudioParameters
from protocols.errors import RemoteProtocolError

_FREQUENCIES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
_CHANNELS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 6, 7: 8, 11: 7, 12: 8, 14: 8}

_SBR, _PS, _LD, _ELD = 5, 29, 23, 39
_GENERAL_AUDIO = frozenset({1, 2, 3, 4, 6, 7, 17, 19, 20, 21, 22, 23})
_SYNC_SBR, _SYNC_PS = 0x2B7, 0x548


def parameters(config: bytes) -> AudioParameters:
    """What an AudioSpecificConfig says, SBR and PS included when signalled explicitly. RemoteProtocolError if malformed.

    ``channels`` is 0 when the channel configuration is left to the bitstream.
    """
    bits = BitReader(config)
    object_type = _read_object_type(bits)
    sample_rate = _read_frequency(bits)
    channel_configuration = bits.read(4)
    if channel_configuration and channel_configuration not in _CHANNELS:
        raise RemoteProtocolError(f"AAC channel configuration {channel_configuration} is reserved")
    channels = _CHANNELS.get(channel_configuration, 0)
    extension = 0
    core_rate = sample_rate
    if object_type in {_SBR, _PS}:
        extension = object_type
        sample_rate = _read_frequency(bits)
        object_type = _read_object_type(bits)
        if object_type == 22:
            bits.skip(4)
    frame = 1024
    if object_type in _GENERAL_AUDIO:
        frame, in_band_channels = _read_general_audio(bits, object_type, channel_configuration)
        channels = channels or in_band_channels
        if not extension:
            extension, sample_rate = _read_sync_extension(bits, sample_rate)
    elif object_type == _ELD:
        frame = 480 if bits.flag() else 512
    profile = extension or object_type
    if extension == _PS and channels == 1:
        channels = 2
    return AudioParameters(
        sample_rate=sample_rate,
        channels=channels,
        rfc6381=f"mp4a.40.{profile}",
        samples_per_packet=frame * sample_rate // core_rate,
        profile=profile,
    )


def _read_object_type(bits: BitReader) -> int:
    object_type = bits.read(5)
    if object_type == 31:
        object_type = 32 + bits.read(6)
    if object_type == 0:
        raise RemoteProtocolError("an AudioSpecificConfig without an audio object type")
    return object_type


def _read_frequency(bits: BitReader) -> int:
    index = bits.read(4)
    frequency = bits.read(24) if index == 15 else _FREQUENCIES[index] if index < len(_FREQUENCIES) else 0
    if not frequency:
        raise RemoteProtocolError("an AudioSpecificConfig with a sampling frequency that is reserved or zero")
    return frequency


def _read_general_audio(bits: BitReader, object_type: int, channel_configuration: int) -> tuple[int, int]:
    """GASpecificConfig (4.4.1) → samples per frame, channels of a program_config_element (0 without one)."""
    short = bits.flag()
    frame = (480 if short else 512) if object_type == _LD else (960 if short else 1024)
    if bits.flag():  # dependsOnCoreCoder
        bits.skip(14)
    extension = bits.flag()
    channels = 0
    if not channel_configuration:
        # Some encoders leave the element out and put it into the first frame: still playable, so not an error.
        try:
            channels = _read_program_config(bits)
        except RemoteProtocolError:
            return frame, 0
    if object_type in {6, 20}:
        bits.skip(3)
    if extension:
        bits.skip({22: 16, 17: 3, 19: 3, 20: 3, 23: 3}.get(object_type, 0) + 1)
    return frame, channels


def _read_program_config(bits: BitReader) -> int:
    """program_config_element (4.4.1.1) → how many channels its elements have."""
    bits.skip(10)  # element_instance_tag, object_type, sampling_frequency_index
    front, side, back, lfe, data, coupling = (bits.read(width) for width in (4, 4, 4, 2, 3, 4))
    for width in (4, 4, 3):  # mono, stereo and matrix mix-down
        if bits.flag():
            bits.skip(width)
    channels = lfe
    for _ in range(front + side + back):
        channels += 2 if bits.flag() else 1
        bits.skip(4)
    bits.skip(4 * lfe + 4 * data + 5 * coupling)
    bits.align()
    bits.skip(8 * bits.read(8))  # comment_field
    return channels


def _read_sync_extension(bits: BitReader, sample_rate: int) -> tuple[int, int]:
    """The backward-compatible signalling behind a plain AAC configuration (1.6.5.3) → object type or 0, output rate."""
    if bits.left < 16 or bits.read(11) != _SYNC_SBR or _read_object_type(bits) != _SBR or not bits.flag():
        return 0, sample_rate
    sample_rate = _read_frequency(bits)
    if bits.left >= 12 and bits.read(11) == _SYNC_PS and bits.flag():
        return _PS, sample_rate
    return _SBR, sample_rate
