"""Reading and writing bit fields, most significant bit first: u(n), ue(v) and se(v) of ITU-T H.264, 7.2 and 9.1."""

from protocols.errors import RemoteProtocolError

_MAX_LEADING_ZEROS = 32  # the longest ue(v) that any syntax element may have
_WINDOW = 5  # bytes that hold these zeros and the one behind them, wherever in a byte they start


class BitReader:
    """Bits of ``data``, front to back. Every read past the end is a RemoteProtocolError; no read costs more than its width."""

    __slots__ = ("_data", "_end", "position")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._end = len(data) * 8
        self.position = 0

    @property
    def left(self) -> int:
        """How many bits have not been read."""
        return self._end - self.position

    def read(self, width: int) -> int:
        """An unsigned number of ``width`` bits."""
        start, end = self.position, self.position + width
        if end > self._end:
            raise RemoteProtocolError("a decoder configuration ends in the middle of a field")
        self.position = end
        window = int.from_bytes(self._data[start >> 3 : (end + 7) >> 3], "big")
        return window >> (-end & 7) & ((1 << width) - 1)

    def flag(self) -> bool:
        return self.read(1) == 1

    def skip(self, width: int) -> None:
        if self.position + width > self._end:
            raise RemoteProtocolError("a decoder configuration ends in the middle of a field")
        self.position += width

    def read_bytes(self, count: int) -> bytes:
        """``count`` bytes, wherever in a byte the reader stands."""
        return self.read(count * 8).to_bytes(count, "big")

    def align(self) -> None:
        """Go on to the next byte boundary."""
        self.position += -self.position & 7

    def ue(self) -> int:
        """An unsigned Exp-Golomb number."""
        start = self.position
        window = int.from_bytes(self._data[start >> 3 : (start >> 3) + _WINDOW].ljust(_WINDOW, b"\0"), "big")
        window &= (1 << 8 * _WINDOW - (start & 7)) - 1
        zeros = 8 * _WINDOW - (start & 7) - window.bit_length()
        if zeros > _MAX_LEADING_ZEROS and zeros <= self.left:
            raise RemoteProtocolError("an Exp-Golomb number has more than 32 leading zeros")
        self.skip(zeros)
        return self.read(zeros + 1) - 1

    def se(self) -> int:
        """A signed Exp-Golomb number."""
        number = self.ue()
        return (number + 1) // 2 if number & 1 else -(number // 2)

    def ue_up_to(self, limit: int, element: str) -> int:
        """An unsigned Exp-Golomb number that the format bounds; ``element`` names it in the error."""
        number = self.ue()
        if number > limit:
            raise RemoteProtocolError(f"{element} is {number}, beyond {limit}")
        return number
