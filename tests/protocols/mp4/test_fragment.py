import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import LocalProtocolError
from protocols.media import Codec, Track
from protocols.mp4.fragment import Sample, fragment, init_segment, prft, styp, timescale
from tests.protocols.mp4.test_boxes import ASC, AVC, wrapped

AAC = Track(Codec.AAC, ASC)
SYNC, NON_SYNC = "02000000", "01010000"


def moof(sequence: str, defaults: str, decode_time: str, run: str) -> bytes:
    return wrapped(
        "moof",
        wrapped("mfhd", "00000000", sequence),
        wrapped("traf", wrapped("tfhd", "00020038", defaults), wrapped("tfdt", "01000000", decode_time), wrapped("trun", run)),
    )


def test_audio_of_one_duration_lists_only_sizes() -> None:
    samples = [Sample(b"abc", 1024, 0, True), Sample(b"de", 1024, 0, True)]
    expected = moof(
        "00000007", f"00000002 00000400 00000003 {SYNC}", "0000000100000000", "01000201 00000002 00000074 00000003 00000002"
    )
    assert fragment(7, AAC, 1 << 32, samples) == expected + wrapped("mdat", b"abcde")


def test_samples_alike_in_everything_list_nothing() -> None:
    samples = [Sample(b"ab", 960, 0, True)] * 3
    expected = moof("00000001", f"00000002 000003c0 00000002 {SYNC}", "0000000000000000", "01000001 00000003 0000006c")
    assert fragment(1, AAC, 0, samples) == expected + wrapped("mdat", b"ababab")


def test_audio_is_always_in_sync() -> None:
    assert fragment(1, AAC, 0, [Sample(b"a", 1, 0, False)]) == fragment(1, AAC, 0, [Sample(b"a", 1, 0, True)])


def test_a_keyframe_at_the_front_needs_one_word_of_flags() -> None:
    samples = [Sample(b"I", 3000, 6000, True), Sample(b"p", 3000, 0, False), Sample(b"b", 3000, 3000, False)]
    expected = moof(
        "00000002",
        f"00000001 00000bb8 00000001 {NON_SYNC}",
        "0000000000015f90",
        f"01000805 00000003 0000007c {SYNC} 00001770 00000000 00000bb8",
    )
    assert fragment(2, AVC, 90000, samples) == expected + wrapped("mdat", b"Ipb")


def test_keyframes_anywhere_else_give_every_sample_its_flags() -> None:
    samples = [Sample(b"p", 3000, 0, False), Sample(b"II", 3003, -1, True)]
    expected = moof(
        "00000003",
        f"00000001 00000bb8 00000001 {NON_SYNC}",
        "0000000000000000",
        f"01000f01 00000002 0000008c 00000bb8 00000001 {NON_SYNC} 00000000 00000bbb 00000002 {SYNC} ffffffff",
    )
    assert fragment(3, AVC, 0, samples) == expected + wrapped("mdat", b"pII")


@pytest.mark.parametrize(("keyframe", "flags"), [(True, SYNC), (False, NON_SYNC)])
def test_video_of_one_sort_needs_only_default_flags(keyframe: bool, flags: str) -> None:
    expected = moof("00000001", f"00000001 00000001 00000001 {flags}", "0000000000000000", "01000001 00000002 0000006c")
    assert fragment(1, AVC, 0, [Sample(b"x", 1, 0, keyframe)] * 2) == expected + wrapped("mdat", b"xx")


def test_two_keyframes_of_which_one_is_first_are_both_marked() -> None:
    written = fragment(1, AVC, 0, [Sample(b"x", 1, 0, key) for key in (True, False, True)])
    assert bytes.fromhex(f"01000401 00000003 00000078 {SYNC} {NON_SYNC} {SYNC}") in written


SAMPLES = st.lists(
    st.builds(Sample, st.binary(max_size=20), st.integers(0, 2**32 - 1), st.integers(-(2**31), 2**31 - 1), st.booleans()),
    min_size=1,
    max_size=12,
)


@given(SAMPLES, st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1), st.sampled_from([AVC, AAC]))
def test_any_samples_are_read_back(samples: list[Sample], sequence: int, base: int, track: Track) -> None:
    data = fragment(sequence, track, base, samples)
    assert read_back(data) == (sequence, base, [s._replace(keyframe=s.keyframe or track is AAC) for s in samples])


def read_back(data: bytes) -> tuple[int, int, list[Sample]]:
    """A fragment as ISO/IEC 14496-12, 8.8 reads it."""
    words = [int.from_bytes(data[at : at + 4], "big") for at in range(0, int.from_bytes(data[:4], "big"), 4)]
    assert (words[6], words[8], words[15]) == (words[0] - 24, 28, 20)  # sizes of traf, tfhd, tfdt
    default_duration, default_size, default_flags = words[12:15]
    run = words[20:]
    assert run[0] == 4 * len(run)
    flags, count, offset = run[2:5]
    fields = run[5:]
    first_flags = fields.pop(0) if flags & 4 else default_flags
    samples = []
    for index in range(count):
        duration = fields.pop(0) if flags & 0x100 else default_duration
        size = fields.pop(0) if flags & 0x200 else default_size
        sample_flags = fields.pop(0) if flags & 0x400 else first_flags if index == 0 else default_flags
        shift = fields.pop(0) if flags & 0x800 else 0
        shift -= (shift >> 31) << 32
        samples.append(Sample(data[offset : offset + size], duration, shift, sample_flags == 0x02000000))
        offset += size
    assert not fields
    assert offset == len(data)
    return words[5], words[18] << 32 | words[19], samples


@pytest.mark.parametrize(
    ("samples", "base", "complaint"),
    [
        ([], 0, "no samples"),
        ([Sample(b"", -1, 0, True)], 0, "does not fit"),
        ([Sample(b"", 1, 0, True), Sample(b"", 1 << 32, 0, True)], 0, "does not fit"),
        ([Sample(b"", 1, 1 << 32, True)], 0, "does not fit"),
        ([Sample(b"", 1, 0, True)], -1, "does not fit"),
    ],
)
def test_what_no_fragment_can_say_is_the_callers_fault(samples: list[Sample], base: int, complaint: str) -> None:
    with pytest.raises(LocalProtocolError, match=complaint):
        fragment(1, AVC, base, samples)


def test_sequence_numbers_go_round() -> None:
    assert fragment((1 << 32) + 5, AAC, 0, [Sample(b"", 1, 0, True)]) == fragment(5, AAC, 0, [Sample(b"", 1, 0, True)])


def test_times_count_at_90_khz_or_in_audio_samples() -> None:
    assert timescale(AVC) == 90000
    assert timescale(AAC) == 44100
    assert timescale(Track(Codec.AAC, bytes.fromhex("2b118800"))) == 48000
    assert timescale(Track(Codec.AC3, b"")) == 48000


def test_a_segment_may_start_with_its_type() -> None:
    assert styp() == wrapped("styp", "6d736468 00000000 6d736468 69736f36 636d6663")


def test_producer_reference_time_is_in_ntp() -> None:
    # 2026-01-01T00:00:00.25Z
    expected = wrapped("prft", "01000008 00000001 ed003780 40000000 0000000000015f90")
    assert prft(AVC, 1767225600.25, 90000) == expected
    assert prft(AAC, 1767225600.25, 90000)[12:16] == b"\0\0\0\2"


def test_the_same_track_makes_the_same_bytes() -> None:
    samples = [Sample(random.Random(0).randbytes(100), 3600, 0, True)]
    assert init_segment(AVC) == init_segment(AVC)
    assert fragment(1, AVC, 0, samples) == fragment(1, AVC, 0, samples)
