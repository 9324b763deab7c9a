"""Which encoder is chosen, and what is said about the others."""

from mediaserver import encoders
from mediaserver.transcode.choice import NOT_TRIED, Choice, choose, in_words
from protocols.media import Codec

NOTHING = dict.fromkeys(encoders.EVERY, "ExternalError: no such card") | dict.fromkeys(encoders.FAMILIES["software"], "")
NVIDIA = NOTHING | dict.fromkeys(encoders.FAMILIES["NVIDIA"], "")
INTEL = NOTHING | dict.fromkeys(encoders.FAMILIES["Intel"], "")


def test_the_first_that_works_is_chosen_for_each_codec() -> None:
    assert choose(Codec.H264, "auto", NVIDIA) == Choice("h264_nvenc", "the first choice")
    assert choose(Codec.HEVC, "auto", NVIDIA).encoder == "hevc_nvenc"
    assert choose(Codec.AV1, "auto", INTEL) == Choice("av1_qsv", "the best of this machine, without av1_nvenc (no such card)")


def test_without_hardware_it_is_software_and_why_not_the_others_is_told() -> None:
    choice = choose(Codec.H264, "auto", NOTHING)
    assert choice.encoder == "libx264"
    assert not choice.missed
    for name in ("h264_nvenc", "h264_qsv", "h264_amf", "h264_v4l2m2m"):
        assert f"{name} (no such card)" in choice.reason
    assert choose(Codec.HEVC, "auto", NOTHING).encoder == "libx265"
    assert choose(Codec.AV1, "auto", {}).encoder == "libsvtav1"


def test_what_is_asked_for_is_taken_if_it_works() -> None:
    assert choose(Codec.H264, "libx264", NVIDIA) == Choice("libx264", "asked for")
    assert choose(Codec.H264, "h264_qsv", INTEL) == Choice("h264_qsv", "asked for")
    assert choose(Codec.H264, "h264_qsv", NVIDIA) == Choice(
        "libx264", "h264_qsv is not available (no such card)", missed="h264_qsv"
    )


def test_a_name_for_another_codec_means_its_maker() -> None:
    assert choose(Codec.HEVC, "h264_nvenc", NVIDIA).encoder == "hevc_nvenc"
    assert choose(Codec.AV1, "libx264", NVIDIA).encoder == "libsvtav1"
    assert choose(Codec.AV1, "h264_v4l2m2m", NVIDIA) == Choice(
        "libsvtav1", "h264_v4l2m2m does not encode av1", missed="h264_v4l2m2m"
    )
    assert choose(Codec.H264, "mpeg2video", NVIDIA) == Choice("libx264", "mpeg2video does not encode h264", missed="mpeg2video")


def test_what_other_machines_have_is_told_without_alarm() -> None:
    assert in_words("UnknownError: Unknown error occurred") == "it does not open"
    assert in_words("UnknownCodecError: h264_videotoolbox") == "not in this FFmpeg"
    assert in_words("PermissionError: Operation not permitted") == "Operation not permitted"
    assert in_words("took its process down (status -11)") == "took its process down (status -11)"
    assert in_words(NOT_TRIED) == NOT_TRIED
