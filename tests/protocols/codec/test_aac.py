import pytest

from protocols.codec import aac, parameters
from protocols.codec.description import AudioParameters
from protocols.errors import RemoteProtocolError
from protocols.media import Codec, Track
from tests.protocols.codec.bitwriter import BitWriter
from tests.protocols.mp4.encoded import encoded

GENERAL = BitWriter().u(3, 0)  # 1024 samples, no core coder, no extension
LC_24000 = BitWriter().u(5, 2).u(4, 6).u(4, 1).u(3, 0)


def config(object_type: int = 2, frequency: int = 4, channels: int = 2, rest: BitWriter = GENERAL) -> bytes:
    return bytes(_joined(BitWriter().u(5, object_type).u(4, frequency, channels), rest))


def _joined(*parts: BitWriter) -> BitWriter:
    whole = BitWriter()
    for part in parts:
        whole._bits += part._bits
    return whole


def test_libavcodecs_configuration_is_read() -> None:
    expected = AudioParameters(sample_rate=48000, channels=2, rfc6381="mp4a.40.2", samples_per_packet=1024, profile=2)
    assert parameters(encoded(Codec.AAC).track) == expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("1210", AudioParameters(44100, 2, "mp4a.40.2", 1024, 2)),
        ("1208", AudioParameters(44100, 1, "mp4a.40.2", 1024, 2)),
        ("0a10", AudioParameters(44100, 2, "mp4a.40.1", 1024, 1)),
        ("2b118800", AudioParameters(48000, 2, "mp4a.40.5", 2048, 5)),  # HE-AAC, hierarchical
        ("eb098800", AudioParameters(48000, 2, "mp4a.40.29", 2048, 29)),  # HE-AAC v2: mono core, stereo out
        ("131056e598", AudioParameters(48000, 2, "mp4a.40.5", 2048, 5)),  # HE-AAC, backward-compatible
        ("131056e500", AudioParameters(24000, 2, "mp4a.40.2", 1024, 2)),  # the same, but it says there is none
        ("119056e500", AudioParameters(48000, 2, "mp4a.40.2", 1024, 2)),
        ("1210abcdef", AudioParameters(44100, 2, "mp4a.40.2", 1024, 2)),  # something else behind
    ],
)
def test_configurations_of_real_encoders_are_read(data: str, expected: AudioParameters) -> None:
    assert parameters(Track(Codec.AAC, bytes.fromhex(data))) == expected


def test_parametric_stereo_behind_a_plain_configuration_is_read() -> None:
    synchronized = BitWriter().u(11, 0x2B7).u(5, 5).u(1, 1).u(4, 3)
    with_ps = _joined(LC_24000, synchronized, BitWriter().u(11, 0x548).u(1, 1))
    assert aac.parameters(bytes(with_ps)) == AudioParameters(48000, 2, "mp4a.40.29", 2048, 29)
    without = _joined(LC_24000, synchronized, BitWriter().u(11, 0x548).u(1, 0))
    assert aac.parameters(bytes(without)) == AudioParameters(48000, 1, "mp4a.40.5", 2048, 5)
    other = _joined(LC_24000, synchronized, BitWriter().u(16, 0xFFFF))
    assert aac.parameters(bytes(other)).rfc6381 == "mp4a.40.5"
    no_sbr = _joined(LC_24000, BitWriter().u(11, 0x2B7).u(5, 22).u(8, 0))
    assert aac.parameters(bytes(no_sbr)).rfc6381 == "mp4a.40.2"


def test_a_frequency_may_be_spelt_out() -> None:
    data = bytes(BitWriter().u(5, 2).u(4, 15).u(24, 96000).u(4, 2).u(3, 0))
    assert aac.parameters(data).sample_rate == 96000
    assert aac.parameters(config(frequency=0)).sample_rate == 96000


@pytest.mark.parametrize(("configuration", "channels"), [(3, 3), (6, 6), (7, 8), (11, 7), (12, 8), (14, 8)])
def test_channel_configurations_count_their_speakers(configuration: int, channels: int) -> None:
    assert aac.parameters(config(channels=configuration)).channels == channels


@pytest.mark.parametrize(
    ("object_type", "rest", "samples"),
    [
        (2, BitWriter().u(3, 4), 960),
        (2, BitWriter().u(1, 0, 1).u(14, 99).u(1, 0), 1024),
        (23, BitWriter().u(1, 0, 0, 1).u(4, 0), 512),
        (23, BitWriter().u(1, 1, 0, 1).u(4, 0), 480),
        (6, BitWriter().u(3, 0).u(3, 5), 1024),
        (20, BitWriter().u(1, 0, 0, 1).u(3, 5).u(4, 0), 1024),
        (22, BitWriter().u(1, 0, 0, 1).u(17, 0), 1024),
        (2, BitWriter().u(1, 0, 0, 1).u(1, 0), 1024),
    ],
)
def test_variants_of_the_general_configuration_are_read(object_type: int, rest: BitWriter, samples: int) -> None:
    described = aac.parameters(config(object_type, rest=rest))
    assert (described.samples_per_packet, described.rfc6381) == (samples, f"mp4a.40.{object_type}")


def test_low_delay_and_unified_coding_are_named() -> None:
    escaped = BitWriter().u(5, 31).u(6, 39 - 32).u(4, 3, 2)
    assert aac.parameters(bytes(_joined(escaped, BitWriter().u(1, 0)))) == AudioParameters(48000, 2, "mp4a.40.39", 512, 39)
    assert aac.parameters(bytes(_joined(escaped, BitWriter().u(1, 1)))).samples_per_packet == 480
    usac = BitWriter().u(5, 31).u(6, 42 - 32).u(4, 3, 2).u(8, 0)
    assert aac.parameters(bytes(usac)).rfc6381 == "mp4a.40.42"


def test_sbr_over_error_resilient_bsac_has_channels_of_its_own() -> None:
    data = BitWriter().u(5, 5).u(4, 6, 2, 3).u(5, 22).u(4, 2).u(3, 0)
    assert aac.parameters(bytes(data)) == AudioParameters(48000, 2, "mp4a.40.5", 2048, 5)


def test_a_program_config_element_tells_the_channels() -> None:
    element = BitWriter().u(3, 0).u(4, 0).u(2, 1).u(4, 3)
    element.u(4, 2, 1, 1).u(2, 1).u(3, 1).u(4, 1)  # front, side, back, LFE, data, coupling
    element.u(1, 1).u(4, 0).u(1, 0).u(1, 1).u(3, 0)  # mix-downs: mono, none to stereo, matrix
    element.u(1, 0).u(4, 0).u(1, 1).u(4, 1).u(1, 1).u(4, 2).u(1, 0).u(4, 3)  # centre, pair, pair, single
    element.u(4, 0).u(4, 0).u(5, 0)
    element.u(-(13 + len(element._bits)) % 8, 0).u(8, 2).u(8, 65, 66)
    assert aac.parameters(config(channels=0, rest=element)).channels == 1 + 2 + 2 + 1 + 1


@pytest.mark.parametrize("data", [config(channels=0), config(channels=0) + b"\xff" * 3])
def test_channels_that_are_left_to_the_bitstream_are_unknown(data: bytes) -> None:
    assert aac.parameters(data).channels == 0


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "ends in the middle"),
        (b"\x12", "ends in the middle"),
        (b"\2\x10", "without an audio object type"),
        (config(frequency=13), "sampling frequency"),
        (bytes(BitWriter().u(5, 2).u(4, 15).u(24, 0).u(7, 0)), "sampling frequency"),
        (config(channels=8), "configuration 8 is reserved"),
        (bytes.fromhex("2b"), "ends in the middle"),
        (bytes.fromhex("eb09"), "ends in the middle"),
    ],
)
def test_a_bogus_configuration_is_the_senders_fault(data: bytes, complaint: str) -> None:
    with pytest.raises(RemoteProtocolError, match=complaint):
        aac.parameters(data)
