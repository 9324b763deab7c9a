"""Any bytes where a configuration or a packet belongs: parameters, or the sender's fault, and soon."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.codec import AudioParameters, VideoParameters, complete, is_keyframe, packet_duration, parameters, sample_data
from protocols.codec.description import visible_size
from protocols.errors import LimitExceeded, RemoteProtocolError
from protocols.media import Codec, MediaKind, Track
from protocols.mp4.fragment import init_segment, timescale
from tests.protocols.mp4.encoded import ENCODERS, encoded

CODECS = st.sampled_from(list(Codec))


def survives(track: Track, payload: bytes) -> None:
    """Everything that reads a track or a packet ends in a value or in RemoteProtocolError."""
    for read in (
        lambda: parameters(track),
        lambda: timescale(track),
        lambda: init_segment(track),
        lambda: init_segment(complete(track, payload)),
        lambda: packet_duration(track, payload),
        lambda: is_keyframe(track.codec, payload),
        lambda: sample_data(track.codec, payload),
    ):
        with contextlib.suppress(RemoteProtocolError):
            read()


@given(CODECS, st.binary(max_size=200), st.binary(max_size=200))
def test_any_bytes_end_in_parameters_or_in_the_senders_fault(codec: Codec, config: bytes, payload: bytes) -> None:
    survives(Track(codec, config), payload)


@given(st.sampled_from(list(ENCODERS)), st.data())
def test_a_damaged_real_record_ends_in_parameters_or_in_the_senders_fault(codec: Codec, data: st.DataObject) -> None:
    clip = encoded(codec)
    config, payload = bytearray(clip.track.config), bytearray(clip.samples[0].data[:300])
    for damaged in (config, payload):
        for position in data.draw(st.lists(st.integers(0, max(len(damaged) - 1, 0)), max_size=4)):
            damaged[position : position + 1] = data.draw(st.binary(max_size=3))
    survives(Track(codec, bytes(config)), bytes(payload))


@pytest.mark.parametrize("codec", ENCODERS)
@pytest.mark.parametrize("filling", [b"\0", b"\xff", b"\x80", b"\1", b"\x67", b"\x0a\0"])
def test_a_large_record_of_one_byte_is_survived(codec: Codec, filling: bytes) -> None:
    record = encoded(codec).track.config
    data = filling * (30000 // len(filling))
    survives(Track(codec, record[: len(record) // 2] + data), data)


@pytest.mark.parametrize("codec", ENCODERS)
def test_a_record_beyond_64_kib_is_not_kept(codec: Codec) -> None:
    with pytest.raises(LimitExceeded, match="65537 bytes"):
        parameters(Track(codec, bytes(65537)))


@pytest.mark.parametrize("codec", [codec for codec in Codec if codec not in ENCODERS])
def test_a_codec_without_an_iso_bmff_form_says_so(codec: Codec) -> None:
    with pytest.raises(RemoteProtocolError, match="no ISO BMFF form"):
        parameters(Track(codec, b""))


@pytest.mark.parametrize("codec", ENCODERS)
def test_keyframes_are_the_ones_the_encoder_declared(codec: Codec) -> None:
    samples = encoded(codec).samples
    assert [is_keyframe(codec, sample.data) for sample in samples] == [sample.keyframe for sample in samples]


def test_a_video_codec_that_we_cannot_read_does_not_tell_its_keyframes() -> None:
    assert is_keyframe(Codec.SPEEX, b"")
    with pytest.raises(RemoteProtocolError, match="keyframes"):
        is_keyframe(Codec.VP6, b"")


@pytest.mark.parametrize("codec", ENCODERS)
def test_a_complete_track_stays_the_same_object(codec: Codec) -> None:
    clip = encoded(codec)
    assert complete(clip.track, clip.samples[0].data) is clip.track
    assert isinstance(parameters(clip.track), VideoParameters if codec.kind is MediaKind.VIDEO else AudioParameters)


def test_the_body_and_the_id_of_a_track_survive_its_completion() -> None:
    frame = encoded(Codec.MP3).samples[0].data
    assert complete(Track(Codec.MP3, b"", b"tag", 3), frame) == Track(Codec.MP3, frame[:4], b"tag", 3)


def test_video_packets_do_not_tell_their_length() -> None:
    clip = encoded(Codec.H264)
    assert packet_duration(clip.track, clip.samples[0].data) == 0


@pytest.mark.parametrize(
    ("width", "aspect", "shown"),
    [(720, (16, 11), 1047), (1920, (1, 1), 1920), (1, (1, 9999), 1), (0, (4, 3), 0), (60000, (65535, 1), 65535)],
)
def test_the_width_on_screen_follows_the_pixels_aspect(width: int, aspect: tuple[int, int], shown: int) -> None:
    assert VideoParameters(width, 576, 0.0, "avc1.42e01e", pixel_aspect=aspect).display_width == shown


def test_cropping_must_leave_a_picture() -> None:
    assert visible_size(16, 16, 15, 15) == (1, 1)
    with pytest.raises(RemoteProtocolError):
        visible_size(16, 16, 0, 16)
