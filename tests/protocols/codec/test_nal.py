import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.codec import nal
from protocols.errors import LimitExceeded, RemoteProtocolError

# what a NAL unit may be: no start code inside, no zero at its end
UNITS = st.lists(st.binary(min_size=1).map(lambda data: data.replace(b"\0\0", b"\0\1") + b"\x80"), max_size=8)


@pytest.mark.parametrize(
    ("stream", "units"),
    [
        (b"", []),
        (b"\x65\x88", []),
        (b"\0\0\1\x09\xf0\0\0\0\1\x65\x88", [b"\x09\xf0", b"\x65\x88"]),
        (b"\0\0\0\1\x67\0\0\0\0\1\x68\xce\0\0\0", [b"\x67", b"\x68\xce"]),
        (b"\0\0\1\0\0\1\x41", [b"\x41"]),
    ],
)
def test_a_byte_stream_is_split_at_start_codes_of_three_and_four_bytes(stream: bytes, units: list[bytes]) -> None:
    assert nal.split_annexb(stream) == units


@given(UNITS, st.sampled_from([b"\0\0\1", b"\0\0\0\1"]))
def test_the_two_packagings_hold_the_same_units(units: list[bytes], start_code: bytes) -> None:
    stream = b"".join(start_code + unit for unit in units)
    prefixed = nal.annexb_to_length_prefixed(stream)
    assert prefixed == nal.length_prefixed(units)
    assert list(nal.split_length_prefixed(prefixed)) == units
    assert nal.split_annexb(nal.length_prefixed_to_annexb(prefixed)) == units


def test_lengths_of_one_and_two_bytes_are_read_too() -> None:
    assert list(nal.split_length_prefixed(b"\2ab\0\1c", 1)) == [b"ab", b"", b"c"]
    assert nal.length_prefixed_to_annexb(b"\0\2ab", 2) == b"\0\0\0\1ab"


@pytest.mark.parametrize("data", [b"\0\0\0\2a", b"\xff\xff\xff\xffabc", b"\0\0\0", b"\0\0\0\1a\0"])
def test_a_length_beyond_the_access_unit_is_the_senders_fault(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="beyond its access unit"):
        list(nal.split_length_prefixed(data))


def test_an_access_unit_of_a_million_empty_units_is_not_walked() -> None:
    with pytest.raises(LimitExceeded, match="more than 4096"):
        list(nal.split_length_prefixed(bytes(4_000_000)))
    with pytest.raises(LimitExceeded, match="more than 4096"):
        nal.split_annexb(b"\0\0\1" * 1_000_000)
    assert len(nal.split_annexb(b"\0\0\1a" * 4096)) == 4096


def test_emulation_prevention_is_taken_out_and_nothing_else() -> None:
    assert nal.unescape(b"\x67\0\0\3\1\0\0\3\0\0\3\3") == b"\x67\0\0\1\0\0\0\0\3"
    assert nal.unescape(b"\0\3\0\0\2") == b"\0\3\0\0\2"
