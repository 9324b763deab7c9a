"""AMF3 (Action Message Format, AMF 3, Adobe 2013): the values that AMF0 embeds behind its marker 0x11.

Decodes every type but externalizable objects, whose form only their class knows; what we say ourselves needs no AMF3. Values
are those of ``amf0``; an integer is an int, a byte array is bytes, a vector a list, and a
dictionary a list of its pairs, since its keys may be objects.
"""

import struct
from collections.abc import Callable
from typing import TypeVar

from protocols.errors import RemoteProtocolError
from protocols.rtmp.amf_values import (
    UNDEFINED,
    Budget,
    Date,
    EcmaArray,
    References,
    TypedObject,
    XmlDocument,
)

_UNDEFINED, _NULL, _FALSE, _TRUE, _INTEGER, _DOUBLE, _STRING, _XML_DOC, _DATE, _ARRAY = range(10)
_OBJECT, _XML, _BYTE_ARRAY, _VECTOR_INT, _VECTOR_UINT, _VECTOR_DOUBLE, _VECTOR_OBJECT, _DICTIONARY = range(10, 18)
_FLOAT64 = struct.Struct(">d")
_MAX_INTEGER = (1 << 28) - 1
_T = TypeVar("_T")


class _Traits:
    """The shape of an object: its class, the names of its sealed members, and whether others may follow."""

    __slots__ = ("class_name", "dynamic", "names")

    def __init__(self, class_name: str, names: list[str], dynamic: bool) -> None:
        self.class_name = class_name
        self.names = names
        self.dynamic = dynamic


def decode_value(data: bytes, offset: int, depth: int, budget: Budget) -> tuple[object, int]:
    """One value with reference tables of its own, and the offset after it. Shares the bounds of the message that it stands in."""
    decoder = _Decoder(data, offset, budget)
    return decoder.value(depth), decoder.offset


class _Decoder:
    """One AMF3 value and all that is in it."""

    __slots__ = ("budget", "data", "offset", "references", "strings", "traits")

    def __init__(self, data: bytes, offset: int, budget: Budget) -> None:
        self.data = data
        self.offset = offset
        self.budget = budget
        self.strings: list[str] = []
        self.references = References(budget)
        self.traits: list[_Traits] = []

    def value(self, depth: int) -> object:
        self.budget.spend(depth)
        marker = self._take(1)[0]
        if marker in _CONSTANTS:
            return _CONSTANTS[marker]
        if marker == _INTEGER:
            number = self._u29()
            return number - (1 << 29) if number > _MAX_INTEGER else number
        if marker == _DOUBLE:
            return self._double()
        if marker == _STRING:
            return self._string()
        if marker in _COMPLEX:
            return self._complex(marker, depth)
        raise RemoteProtocolError(f"AMF3 marker {marker} is unknown")

    def _take(self, count: int) -> bytes:
        start = self.offset
        end = start + count
        if end > len(self.data):
            raise RemoteProtocolError(f"AMF3 value ends {end - len(self.data)} bytes beyond the message")
        self.offset = end
        return self.data[start:end]

    def _u29(self) -> int:
        number = 0
        for _ in range(3):
            byte = self._take(1)[0]
            number = number << 7 | byte & 0x7F
            if byte < 0x80:
                return number
        return number << 8 | self._take(1)[0]

    def _double(self) -> float:
        number: float = _FLOAT64.unpack(self._take(8))[0]
        return number

    def _string(self) -> str:
        header = self._u29()
        if not header & 1:
            text = _known(self.strings, header >> 1, "string")
            self.budget.repeat(len(text))
            return text
        text = self._take(header >> 1).decode(errors="replace")
        if text:
            self.strings.append(text)
        return text

    def _complex(self, marker: int, depth: int) -> object:
        start, header = self.offset, self._u29()
        if not header & 1:
            return self.references.look_up(header >> 1, depth)
        entry = self.references.begin(depth, start)
        value = _COMPLEX[marker](self, header >> 1, depth + 1)
        self.references.end(entry, value, depth, self.offset)
        return value

    def _count(self, count: int, size: int) -> int:
        """``count``, if that many items of at least ``size`` bytes can be there."""
        if count * size > len(self.data) - self.offset:
            raise RemoteProtocolError(f"AMF3 list of {count} items in {len(self.data) - self.offset} bytes")
        return count

    def _xml(self, length: int, _: int) -> XmlDocument:
        return XmlDocument(self._take(length).decode(errors="replace"))

    def _date(self, _: int, __: int) -> Date:
        return Date(self._double())

    def _bytes(self, length: int, _: int) -> bytes:
        return self._take(length)

    def _array(self, count: int, depth: int) -> object:
        named = EcmaArray()
        while name := self._string():
            named[name] = self.value(depth)
        dense = [self.value(depth) for _ in range(self._count(count, 1))]
        if not named:
            return dense
        # Both parts at once: an ECMA array in AMF0 has the indices as names too.
        named.update((str(index), item) for index, item in enumerate(dense))
        return named

    def _object(self, header: int, depth: int) -> object:
        traits = self._read_traits(header)
        into: dict[str, object] = TypedObject(traits.class_name) if traits.class_name else {}
        for name in traits.names:
            into[name] = self.value(depth)
        if traits.dynamic:
            while name := self._string():
                into[name] = self.value(depth)
        return into

    def _read_traits(self, header: int) -> _Traits:
        if not header & 1:
            return _known(self.traits, header >> 1, "class")
        if header & 2:
            raise RemoteProtocolError(f"AMF3 object of externalizable class {self._string()[:64]!r}")
        class_name = self._string()
        count = self._count(header >> 3, 1)
        # A class without members costs nothing, but each member of a known class is a value, and counted as one there.
        traits = _Traits(class_name, [self._string() for _ in range(count)], bool(header & 4))
        self.traits.append(traits)
        return traits

    def _integers(self, count: int, signed: bool) -> list[int]:
        self._take(1)  # whether its length is fixed
        data = self._take(4 * self._count(count, 4))
        self.budget.spend(0, count)
        return list(struct.unpack(f">{count}{'i' if signed else 'I'}", data))

    def _vector_int(self, count: int, _: int) -> list[int]:
        return self._integers(count, signed=True)

    def _vector_uint(self, count: int, _: int) -> list[int]:
        return self._integers(count, signed=False)

    def _vector_double(self, count: int, _: int) -> list[float]:
        self._take(1)
        data = self._take(8 * self._count(count, 8))
        self.budget.spend(0, count)
        return list(struct.unpack(f">{count}d", data))

    def _vector_object(self, count: int, depth: int) -> list[object]:
        self._take(1)
        self._string()  # the class of its items
        return [self.value(depth) for _ in range(self._count(count, 1))]

    def _dictionary(self, count: int, depth: int) -> list[tuple[object, object]]:
        self._take(1)  # whether its keys are weak
        return [(self.value(depth), self.value(depth)) for _ in range(self._count(count, 2))]


def _known(table: list[_T], index: int, what: str) -> _T:
    if index >= len(table):
        raise RemoteProtocolError(f"AMF3 reference to {what} {index} of {len(table)}")
    return table[index]


_CONSTANTS = {_UNDEFINED: UNDEFINED, _NULL: None, _FALSE: False, _TRUE: True}
_COMPLEX: dict[int, Callable[[_Decoder, int, int], object]] = {
    _XML_DOC: _Decoder._xml,
    _DATE: _Decoder._date,
    _ARRAY: _Decoder._array,
    _OBJECT: _Decoder._object,
    _XML: _Decoder._xml,
    _BYTE_ARRAY: _Decoder._bytes,
    _VECTOR_INT: _Decoder._vector_int,
    _VECTOR_UINT: _Decoder._vector_uint,
    _VECTOR_DOUBLE: _Decoder._vector_double,
    _VECTOR_OBJECT: _Decoder._vector_object,
    _DICTIONARY: _Decoder._dictionary,
}
