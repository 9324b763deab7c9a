"""AMF0 (Action Message Format, AMF 0, Adobe 2007): the values in RTMP commands and in onMetaData.

Number is a float, boolean a bool, strings are str, null is None, object a dict, strict array a list; the others are in
``amf_values``. Text that is not UTF-8 is decoded with replacement characters: some encoders send Latin-1.
"""

import struct
from collections.abc import Mapping, Sequence

from protocols.errors import LocalProtocolError, RemoteProtocolError
from protocols.rtmp import amf3
from protocols.rtmp.amf_values import (
    MAX_DEPTH,
    MAX_VALUES,
    UNDEFINED,
    UNSUPPORTED,
    Budget,
    Date,
    EcmaArray,
    References,
    TypedObject,
    Undefined,
    XmlDocument,
)

__all__ = [
    "UNDEFINED",
    "UNSUPPORTED",
    "Date",
    "EcmaArray",
    "TypedObject",
    "Undefined",
    "XmlDocument",
    "decode_all",
    "encode",
]

_NUMBER, _BOOLEAN, _STRING, _OBJECT, _MOVIECLIP, _NULL, _UNDEFINED, _REFERENCE = range(8)
_ECMA_ARRAY, _OBJECT_END, _STRICT_ARRAY, _DATE, _LONG_STRING, _UNSUPPORTED, _RECORDSET, _XML = range(8, 16)
_TYPED_OBJECT, _AVMPLUS = 16, 17

_DOUBLE = struct.Struct(">d")
_DATE_BODY = struct.Struct(">dh")
_AVMPLUS_VALUES = 4  # what one value with tables of its own counts for beside itself, as it takes so much longer
_END = b"\x00\x00\x09"


def decode_all(data: bytes, most: int = MAX_VALUES) -> list[object]:
    """The values in ``data``: whole ones, and ``most`` of them. Raises RemoteProtocolError, LimitExceeded among them."""
    decoder = _Decoder(data, most)
    values = []
    while decoder.offset < len(data):
        values.append(decoder.value(0))
    return values


def encode(*values: object) -> bytes:
    """The wire form of ``values``, one after the other. Raises LocalProtocolError for what AMF0 cannot say."""
    out = bytearray()
    for value in values:
        _encode(out, value, 0)
    return bytes(out)


class _Decoder:
    """One pass over one message."""

    __slots__ = ("budget", "data", "offset", "references")

    def __init__(self, data: bytes, most: int) -> None:
        self.data = data
        self.offset = 0
        self.budget = Budget(most)
        self.references = References(self.budget)

    def value(self, depth: int) -> object:
        self.budget.spend(depth)
        marker = self._take(1)[0]
        if marker in _SCALARS:
            return _SCALARS[marker](self)
        if marker in _COMPLEX:
            return self._complex(marker, depth)
        if marker == _REFERENCE:
            return self.references.look_up(int.from_bytes(self._take(2)), depth)
        if marker == _AVMPLUS:
            self.budget.spend(depth, _AVMPLUS_VALUES)
            value, self.offset = amf3.decode_value(self.data, self.offset, depth, self.budget)
            return value
        raise RemoteProtocolError(f"AMF0 marker {marker} is not the start of a value")

    def _take(self, count: int) -> bytes:
        start = self.offset
        end = start + count
        if end > len(self.data):
            raise RemoteProtocolError(f"AMF0 value ends {end - len(self.data)} bytes beyond the message")
        self.offset = end
        return self.data[start:end]

    def _number(self) -> float:
        number: float = _DOUBLE.unpack(self._take(8))[0]
        return number

    def _boolean(self) -> bool:
        return self._take(1) != b"\x00"

    def _string(self) -> str:
        return self._take(int.from_bytes(self._take(2))).decode(errors="replace")

    def _long_string(self) -> str:
        return self._take(int.from_bytes(self._take(4))).decode(errors="replace")

    def _xml(self) -> XmlDocument:
        return XmlDocument(self._long_string())

    def _date(self) -> Date:
        return Date(*_DATE_BODY.unpack(self._take(10)))

    def _complex(self, marker: int, depth: int) -> object:
        entry = self.references.begin(depth, self.offset)
        value: object
        if marker == _STRICT_ARRAY:
            value = self._strict_array(depth + 1)
        elif marker == _ECMA_ARRAY:
            value = self._properties(EcmaArray(), depth + 1, int.from_bytes(self._take(4)))
        elif marker == _TYPED_OBJECT:
            value = self._properties(TypedObject(self._string()), depth + 1)
        else:
            value = self._properties({}, depth + 1)
        self.references.end(entry, value, depth, self.offset)
        return value

    def _strict_array(self, depth: int) -> list[object]:
        count = int.from_bytes(self._take(4))
        if count > len(self.data) - self.offset:
            raise RemoteProtocolError(f"AMF0 array of {count} values in {len(self.data) - self.offset} bytes")
        return [self.value(depth) for _ in range(count)]

    def _properties(self, into: dict[str, object], depth: int, expected: int = -1) -> dict[str, object]:
        data = self.data
        while True:
            # Some old encoders leave out the end marker of the array that ends their onMetaData.
            if self.offset == len(data) and len(into) == expected:
                return into
            if data.startswith(_END, self.offset):
                self.offset += 3
                return into
            name = self._string()
            into[name] = self.value(depth)


_SCALARS = {
    _NUMBER: _Decoder._number,
    _BOOLEAN: _Decoder._boolean,
    _STRING: _Decoder._string,
    _NULL: lambda _: None,
    _UNDEFINED: lambda _: UNDEFINED,
    _DATE: _Decoder._date,
    _LONG_STRING: _Decoder._long_string,
    _UNSUPPORTED: lambda _: UNSUPPORTED,
    _XML: _Decoder._xml,
}
_COMPLEX = frozenset({_OBJECT, _ECMA_ARRAY, _STRICT_ARRAY, _TYPED_OBJECT})


def _encode(out: bytearray, value: object, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise LocalProtocolError(f"AMF values nested more than {MAX_DEPTH} deep")
    match value:
        case None:
            out.append(_NULL)
        case bool():
            out += b"\x01\x01" if value else b"\x01\x00"
        case int() | float():
            out.append(_NUMBER)
            out += _DOUBLE.pack(value)
        case XmlDocument():
            _encode_long(out, _XML, value)
        case str():
            _encode_string(out, value)
        case Undefined():
            out.append(_UNDEFINED if value is UNDEFINED else _UNSUPPORTED)
        case Date():
            out.append(_DATE)
            out += _DATE_BODY.pack(value.milliseconds, value.timezone)
        case Mapping():
            _encode_mapping(out, value, depth)
        case Sequence() if not isinstance(value, bytes | bytearray | memoryview):
            out.append(_STRICT_ARRAY)
            out += len(value).to_bytes(4)
            for item in value:
                _encode(out, item, depth + 1)
        case _:
            raise LocalProtocolError(f"AMF0 has no form for a {type(value).__name__}")


def _encode_string(out: bytearray, text: str) -> None:
    data = text.encode(errors="replace")
    if len(data) > 0xFFFF:
        _encode_long(out, _LONG_STRING, text)
        return
    out.append(_STRING)
    out += len(data).to_bytes(2)
    out += data


def _encode_long(out: bytearray, marker: int, text: str) -> None:
    data = text.encode(errors="replace")
    out.append(marker)
    out += len(data).to_bytes(4)
    out += data


def _encode_mapping(out: bytearray, value: Mapping[str, object], depth: int) -> None:
    if isinstance(value, EcmaArray):
        out.append(_ECMA_ARRAY)
        out += len(value).to_bytes(4)
    elif isinstance(value, TypedObject):
        out.append(_TYPED_OBJECT)
        out += _name(value.class_name)
    else:
        out.append(_OBJECT)
    for name, item in value.items():
        out += _name(name)
        _encode(out, item, depth + 1)
    out += _END


def _name(text: str) -> bytes:
    data = text.encode(errors="replace")
    if len(data) > 0xFFFF:
        raise LocalProtocolError("AMF0 name longer than 65535 bytes")
    return len(data).to_bytes(2) + data
