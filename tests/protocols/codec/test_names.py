import pytest

from protocols.codec import names, parameters
from protocols.media import Codec
from tests.protocols.mp4.encoded import ENCODERS, encoded


@pytest.mark.parametrize("codec", names.FOURCC)
def test_fourccs_and_ffmpeg_names_lead_back_to_the_codec(codec: Codec) -> None:
    assert names.from_fourcc(names.FOURCC[codec]) is codec
    assert names.from_ffmpeg(codec.value) is codec


@pytest.mark.parametrize("codec", ENCODERS)
def test_the_name_of_a_real_track_leads_back_to_its_codec(codec: Codec) -> None:
    assert names.from_rfc6381(parameters(encoded(codec).track).rfc6381) is codec


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("avc3.42e01e", Codec.H264),
        ("hev1.1.6.L93.B0", Codec.HEVC),
        ("vp08.00.10.08", Codec.VP8),
        ("mp4a.40.29", Codec.AAC),
        ("mp4a.40.34", Codec.MP3),
        ("mp4a.6b", Codec.MP3),
        ("mp4a.67", Codec.AAC),
        ("mp4a.a5", Codec.AC3),
        ("mp4a.A6", Codec.EAC3),
        ("mp4a.ad", Codec.OPUS),
        ("Opus", Codec.OPUS),
        ("flac", Codec.FLAC),
        ("mp4a", None),
        ("mp4a.99", None),
        ("dvh1.05.06", None),
        ("ünknown", None),
        ("", None),
    ],
)
def test_other_spellings_are_known_and_unknown_ones_are_not(name: str, codec: Codec | None) -> None:
    assert names.from_rfc6381(name) is codec


def test_what_is_not_ours_has_no_codec() -> None:
    assert names.from_fourcc(b"xvid") is None
    assert names.from_ffmpeg("prores") is None
