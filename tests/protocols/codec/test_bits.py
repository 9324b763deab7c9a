import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.codec.bits import BitReader
from protocols.errors import RemoteProtocolError
from tests.protocols.codec.bitwriter import BitWriter


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 2**40 - 1))))
def test_what_was_written_in_any_widths_is_read_back(fields: list[tuple[int, int]]) -> None:
    writer = BitWriter()
    expected = [(width, value & ((1 << width) - 1)) for width, value in fields]
    for width, value in expected:
        writer.u(width, value)
    bits = BitReader(bytes(writer))
    assert [(width, bits.read(width)) for width, _ in expected] == expected
    assert bits.left < 8


@given(st.integers(0, 7), st.lists(st.integers(0, 2**32 - 1)))
def test_unsigned_exp_golomb_numbers_are_read_back_from_any_bit(start: int, numbers: list[int]) -> None:
    bits = BitReader(bytes(BitWriter().u(start, 0).ue(*numbers)))
    bits.skip(start)
    assert [bits.ue() for _ in numbers] == numbers


@given(st.lists(st.integers(-(2**31) + 1, 2**31 - 1)))
def test_signed_exp_golomb_numbers_are_read_back(numbers: list[int]) -> None:
    bits = BitReader(bytes(BitWriter().se(*numbers)))
    assert [bits.se() for _ in numbers] == numbers


def test_the_exp_golomb_codes_of_the_specification() -> None:
    # H.264 Table 9-2: 1, 010, 011, 00100, 00101
    bits = BitReader(bytes((0b1_010_011_0, 0b0100_0010, 0b1_0000000)))
    assert [bits.ue() for _ in range(5)] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("read", [lambda bits: bits.read(9), lambda bits: bits.skip(9), lambda bits: bits.read_bytes(2)])
def test_reading_past_the_end_is_the_senders_fault(read: object) -> None:
    with pytest.raises(RemoteProtocolError, match="ends in the middle"):
        read(BitReader(b"\xff"))  # type: ignore[operator]


@pytest.mark.parametrize("data", [b"", b"\0", b"\0\0\0\0", b"\0\0\0\0\xff", b"\0\1"])
def test_an_exp_golomb_number_that_is_cut_off_is_the_senders_fault(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="ends in the middle"):
        BitReader(data).ue()


def test_an_exp_golomb_number_of_endless_zeros_is_refused() -> None:
    with pytest.raises(RemoteProtocolError, match="32 leading zeros"):
        BitReader(bytes(1000)).ue()


def test_a_number_beyond_its_bound_names_the_element() -> None:
    assert BitReader(bytes(BitWriter().ue(7))).ue_up_to(7, "cycle") == 7
    with pytest.raises(RemoteProtocolError, match="cycle is 8, beyond 7"):
        BitReader(bytes(BitWriter().ue(8))).ue_up_to(7, "cycle")


def test_alignment_goes_to_the_next_byte_and_no_further() -> None:
    bits = BitReader(b"\0\xab")
    bits.align()
    assert bits.position == 0
    bits.skip(3)
    bits.align()
    assert bits.read(8) == 0xAB
