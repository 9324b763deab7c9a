import math

import pytest

from protocols.errors import LimitExceeded, LocalProtocolError, RemoteProtocolError
from protocols.rtmp import amf0
from protocols.rtmp.amf_values import MAX_DEPTH, MAX_REPEATED, MAX_VALUES

# Each value beside its bytes as the specification (AMF0, 2.2 to 2.18) lays them out.
WIRE_FORMS = [
    (0.0, "00 0000000000000000"),
    (1.0, "00 3ff0000000000000"),
    (-math.inf, "00 fff0000000000000"),
    (True, "01 01"),
    (False, "01 00"),
    ("", "02 0000"),
    ("live", "02 0004 6c697665"),
    ("é", "02 0002 c3a9"),
    ({}, "03 000009"),
    ({"a": 1.0, "": None}, "03 0001 61 00 3ff0000000000000 0000 05 000009"),
    (None, "05"),
    (amf0.UNDEFINED, "06"),
    (amf0.EcmaArray(w=True), "08 00000001 0001 77 01 01 000009"),
    ([], "0a 00000000"),
    ([None, "x"], "0a 00000002 05 02 0001 78"),
    (amf0.Date(1000.0, -60), "0b 408f400000000000 ffc4"),
    ("x" * 65536, "0c 00010000" + "78" * 65536),
    (amf0.UNSUPPORTED, "0d"),
    (amf0.XmlDocument("<a/>"), "0f 00000004 3c612f3e"),
]


def typed(name: str, **members: object) -> amf0.TypedObject:
    value = amf0.TypedObject(name)
    value.update(members)
    return value


@pytest.mark.parametrize(("value", "wire"), WIRE_FORMS, ids=[wire[:24] for _, wire in WIRE_FORMS])
def test_each_type_has_its_bytes_in_both_directions(value, wire):
    data = bytes.fromhex(wire)
    assert amf0.encode(value) == data
    decoded = amf0.decode_all(data)
    assert decoded == [value]
    assert type(decoded[0]) is type(value)


def test_typed_object_keeps_the_name_of_its_class():
    data = bytes.fromhex("10 0001 43 0001 61 05 000009")
    [value] = amf0.decode_all(data)
    assert isinstance(value, amf0.TypedObject)
    assert (value.class_name, value) == ("C", {"a": None})
    assert amf0.encode(typed("C", a=None)) == data


def test_the_connect_command_of_an_encoder():
    data = bytes.fromhex("02 0007") + b"connect" + bytes.fromhex("00 3ff0000000000000 03 0003") + b"app"
    data += bytes.fromhex("02 0004") + b"live" + bytes.fromhex("000009")
    assert amf0.decode_all(data) == ["connect", 1.0, {"app": "live"}]
    assert amf0.encode("connect", 1, {"app": "live"}) == data


def test_any_byte_but_zero_is_true():
    assert amf0.decode_all(b"\x01\x02") == [True]


def test_nan_passes_as_a_number():
    [value] = amf0.decode_all(amf0.encode(math.nan))
    assert math.isnan(value)


def test_text_that_is_not_utf_8_is_replaced_rather_than_refused():
    assert amf0.decode_all(b"\x02\x00\x03a\xe9b") == ["a\ufffdb"]
    assert amf0.encode("\ud800") == b"\x02\x00\x01?"


def test_of_a_name_given_twice_the_last_counts():
    data = b"\x03" + b"\x00\x01a\x05" + b"\x00\x01a\x01\x01" + b"\x00\x00\x09"
    assert amf0.decode_all(data) == [{"a": True}]


@pytest.mark.parametrize("count", [0, 1, 2, 0xFFFFFFFF])
def test_the_count_of_an_ecma_array_is_only_a_hint(count):
    data = b"\x08" + count.to_bytes(4) + b"\x00\x01a\x05\x00\x00\x09"
    assert amf0.decode_all(data) == [{"a": None}]


def test_an_ecma_array_may_lack_its_end_at_the_end_of_the_message():
    assert amf0.decode_all(b"\x08\x00\x00\x00\x01\x00\x01a\x05") == [{"a": None}]


def test_a_reference_gives_the_object_it_names():
    data = amf0.encode({"a": None}) + amf0.encode([]) + b"\x07\x00\x00\x07\x00\x01"
    values = amf0.decode_all(data)
    assert values == [{"a": None}, [], {"a": None}, []]
    assert values[2] is values[0]


@pytest.mark.parametrize(
    "data",
    [
        b"\x07\x00\x00",
        b"\x0a\x00\x00\x00\x01\x07\x00\x00",
        amf0.encode({}) + b"\x07\x00\x01",
    ],
    ids=["nothing yet", "itself", "beyond the last"],
)
def test_a_reference_to_what_is_not_complete_is_refused(data):
    with pytest.raises(RemoteProtocolError, match="not complete"):
        amf0.decode_all(data)


@pytest.mark.parametrize("marker", [4, 9, 14, 18, 255])
def test_markers_that_begin_no_value_are_refused(marker):
    with pytest.raises(RemoteProtocolError, match=f"marker {marker} "):
        amf0.decode_all(bytes((marker,)))


@pytest.mark.parametrize(("value", "wire"), WIRE_FORMS, ids=[wire[:24] for _, wire in WIRE_FORMS])
def test_a_value_cut_short_anywhere_is_refused(value, wire):
    data = bytes.fromhex(wire)
    for length in range(1, min(len(data), 40)):
        if data[0] == 8 and length == len(data) - 3:
            continue  # the array without its end
        with pytest.raises(RemoteProtocolError):
            amf0.decode_all(data[:length])


@pytest.mark.parametrize(
    "data", [b"\x0a\xff\xff\xff\xff", b"\x0c\xff\xff\xff\xff", b"\x0a\x00\x00\x00\x03\x05\x05", b"\x02\xff\xffab"]
)
def test_counts_and_lengths_beyond_the_bytes_present_are_refused(data):
    with pytest.raises(RemoteProtocolError):
        amf0.decode_all(data)


def nested_arrays(levels: int) -> bytes:
    return b"\x0a\x00\x00\x00\x01" * levels + b"\x05"


def test_depth_is_bounded():
    amf0.decode_all(nested_arrays(MAX_DEPTH))
    with pytest.raises(LimitExceeded, match="deep"):
        amf0.decode_all(nested_arrays(MAX_DEPTH + 1))
    with pytest.raises(LimitExceeded, match="deep"):
        amf0.decode_all(b"\x03\x00\x01a" * 100_000)


def test_the_number_of_values_is_bounded():
    amf0.decode_all(b"\x05" * MAX_VALUES)
    with pytest.raises(LimitExceeded, match="values"):
        amf0.decode_all(b"\x05" * (MAX_VALUES + 1))


def test_what_references_repeat_counts_again():
    # Ten references to an array of ten references to an array … would be 10**8 values in 240 bytes.
    data = amf0.encode([None] * 10)
    for level in range(8):
        data += b"\x0a\x00\x00\x00\x0a" + (b"\x07" + level.to_bytes(2)) * 10
    with pytest.raises(LimitExceeded, match="values"):
        amf0.decode_all(data)
    long = amf0.encode(["x" * (MAX_REPEATED // 4)])
    amf0.decode_all(long + b"\x07\x00\x00" * 3)
    with pytest.raises(LimitExceeded, match="bytes"):
        amf0.decode_all(long + b"\x07\x00\x00" * 4)


def test_references_do_not_lead_deeper_than_the_bound():
    data = nested_arrays(20) + b"\x0a\x00\x00\x00\x01" * 13
    with pytest.raises(LimitExceeded, match="deep"):
        amf0.decode_all(data + b"\x07\x00\x00")
    assert len(amf0.decode_all(nested_arrays(20) + b"\x0a\x00\x00\x00\x01" * 12 + b"\x07\x00\x00")) == 2


def test_amf3_stands_within_amf0_one_value_at_a_time():
    data = bytes.fromhex("11 0a0b01 0361 0401 01") + amf0.encode("b") + bytes.fromhex("0a 00000001 11 0c03 63")
    assert amf0.decode_all(data) == [{"a": 1}, "b", [b"c"]]
    with pytest.raises(LimitExceeded, match="deep"):
        amf0.decode_all(b"\x0a\x00\x00\x00\x01" * MAX_DEPTH + bytes.fromhex("11 090301 01"))


def test_only_values_with_a_form_are_encoded():
    nested: object = None
    for _ in range(MAX_DEPTH + 1):
        nested = [nested]
    for value in (object(), b"bytes", {1, 2}, {"x" * 65536: None}, nested):
        with pytest.raises(LocalProtocolError):
            amf0.encode(value)
