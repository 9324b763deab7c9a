import pytest

from protocols.errors import LimitExceeded, RemoteProtocolError
from protocols.rtmp import amf0, amf3
from protocols.rtmp.amf_values import (
    MAX_DEPTH,
    MAX_REPEATED,
    MAX_VALUES,
    UNDEFINED,
    Budget,
    Date,
    EcmaArray,
    TypedObject,
    XmlDocument,
)


def decode(data: bytes) -> object:
    """The one value in ``data``."""
    value, offset = amf3.decode_value(data, 0, 0, Budget())
    assert offset == len(data)
    return value


# Values beside their bytes as the specification (AMF3, 3.2 to 3.16) lays them out, without references.
WIRE_FORMS = [
    (UNDEFINED, "00"),
    (None, "01"),
    (False, "02"),
    (True, "03"),
    (0, "04 00"),
    (127, "04 7f"),
    (128, "04 8100"),
    (16383, "04 ff7f"),
    (16384, "04 818000"),
    (2097151, "04 ffff7f"),
    (2097152, "04 80c08000"),
    (268435455, "04 bfffffff"),
    (-1, "04 ffffffff"),
    (-268435456, "04 c0808000"),
    (268435456.0, "05 41b0000000000000"),
    ("", "06 01"),
    ("live", "06 09 6c697665"),
    (Date(1000.0), "08 01 408f400000000000"),
    ([], "09 01 01"),
    ([1, None], "09 05 01 04 01 01"),
    (EcmaArray(a=1), "09 01 03 61 04 01 01"),
    ({}, "0a 0b 01 01"),
    ({"a": "b"}, "0a 0b 01 03 61 06 03 62 01"),
    (XmlDocument("<a/>"), "0b 09 3c612f3e"),
    (b"\x00\xff", "0c 05 00ff"),
]


@pytest.mark.parametrize(("value", "wire"), WIRE_FORMS, ids=[wire for _, wire in WIRE_FORMS])
def test_each_type_is_read(value, wire):
    decoded = decode(bytes.fromhex(wire))
    assert decoded == value
    assert type(decoded) is type(value)


@pytest.mark.parametrize(
    ("wire", "value"),
    [
        ("07 09 3c612f3e", XmlDocument("<a/>")),
        ("0d 05 00 00000001 ffffffff", [1, -1]),
        ("0e 05 01 00000001 ffffffff", [1, 0xFFFFFFFF]),
        ("0f 03 00 3ff0000000000000", [1.0]),
        ("10 05 00 01 03 04 05", [True, 5]),
        ("11 03 00 06 03 61 04 05", [("a", 5)]),
        ("09 03 03 61 01 01 02", EcmaArray({"a": None, "0": False})),
        ("0a 23 01 03 61 03 62 04 01 04 02", {"a": 1, "b": 2}),
        ("0a 03 01", {}),
        ("0a 1b 01 03 61 04 01 03 62 04 02 01", {"a": 1, "b": 2}),
    ],
    ids=[
        "xml doc",
        "ints",
        "uints",
        "doubles",
        "objects",
        "dictionary",
        "mixed array",
        "sealed",
        "nothing",
        "sealed and dynamic",
    ],
)
def test_rarer_forms(wire, value):
    assert decode(bytes.fromhex(wire)) == value


def test_an_object_with_a_class_is_typed():
    value = decode(bytes.fromhex("0a 13 03 43 03 61 04 01"))
    assert isinstance(value, TypedObject)
    assert (value.class_name, value) == ("C", {"a": 1})


def test_strings_objects_and_classes_are_referred_to_by_number():
    strings = bytes.fromhex("09 07 01 06 03 61 06 01 06 00")
    assert decode(strings) == ["a", "", "a"]
    objects = decode(bytes.fromhex("09 05 01 09 01 01 09 02"))
    assert isinstance(objects, list)
    assert objects == [[], []]
    assert objects[0] is objects[1]
    classes = bytes.fromhex("09 05 01 0a 13 03 43 03 61 04 01 0a 01 04 02")
    assert decode(classes) == [{"a": 1}, {"a": 2}]


def test_each_value_of_a_message_has_tables_of_its_own():
    with pytest.raises(RemoteProtocolError, match="string 0 of 0"):
        amf0.decode_all(bytes.fromhex("11 06 03 61 11 06 00"))


@pytest.mark.parametrize(
    ("wire", "message"),
    [
        ("12", "marker 18"),
        ("06 02", "string 1 of 0"),
        ("09 02", "not complete"),
        ("09 03 01 09 00", "not complete"),
        ("0a 05", "class 1 of 0"),
        ("0a 07 03 43", "externalizable class 'C'"),
        ("0a bfff73 01", "items"),
        ("09 ffffffff 01", "items"),
        ("0d 07 00 00000001", "items"),
        ("0f 03 00 0000", "items"),
        ("11 05 00 01 01 01", "items"),
        ("0c 05 00", "beyond"),
        ("04 80", "beyond"),
        ("05 00", "beyond"),
    ],
)
def test_what_is_malformed_is_refused(wire, message):
    with pytest.raises(RemoteProtocolError, match=message):
        decode(bytes.fromhex(wire))


@pytest.mark.parametrize(("value", "wire"), WIRE_FORMS, ids=[wire for _, wire in WIRE_FORMS])
def test_a_value_cut_short_anywhere_is_refused(value, wire):
    data = bytes.fromhex(wire)
    for length in range(1, len(data)):
        with pytest.raises(RemoteProtocolError):
            decode(data[:length])


def test_text_that_is_not_utf_8_is_replaced_rather_than_refused():
    assert decode(b"\x06\x07a\xe9b") == "a\ufffdb"


def test_depth_and_number_of_values_are_bounded():
    decode(b"\x09\x03\x01" * MAX_DEPTH + b"\x01")
    with pytest.raises(LimitExceeded, match="deep"):
        decode(b"\x09\x03\x01" * (MAX_DEPTH + 1) + b"\x01")
    with pytest.raises(LimitExceeded, match="values"):
        decode(b"\x09\xc0\x01\x01" + b"\x01" * MAX_VALUES)  # U29: so many, and one bit
    too_many = bytes.fromhex("c003")  # one more, as U29
    for vector in (b"\x0d" + too_many + bytes(1 + 4097 * 4), b"\x0f" + too_many + bytes(1 + 4097 * 8)):
        with pytest.raises(LimitExceeded, match="values"):
            decode(vector)


def test_a_string_referred_to_again_and_again_is_bounded():
    text = b"\x06\xa0\x80\x01" + b"x" * (MAX_REPEATED // 4)  # 2**18 characters, as U29
    decode(b"\x09\x09\x01" + text + b"\x06\x00" * 3)
    with pytest.raises(LimitExceeded, match="bytes"):
        decode(b"\x09\x0d\x01" + text + b"\x06\x00" * 5)
