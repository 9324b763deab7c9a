"""The counterpart of BitReader, for composing parameter sets by hand."""


class BitWriter:
    """Bits, most significant first. Each call gives the writer back, so that syntax reads as in the specification."""

    def __init__(self) -> None:
        self._bits = ""

    def u(self, width: int, *values: int) -> "BitWriter":
        for value in values:
            assert 0 <= value < 1 << width
            self._bits += f"{value:0{width}b}" if width else ""
        return self

    def ue(self, *values: int) -> "BitWriter":
        for value in values:
            digits = f"{value + 1:b}"
            self._bits += "0" * (len(digits) - 1) + digits
        return self

    def se(self, *values: int) -> "BitWriter":
        return self.ue(*(2 * value - 1 if value > 0 else -2 * value for value in values))

    def __bytes__(self) -> bytes:
        """The bits, padded with zeros to whole bytes."""
        padded = self._bits + "0" * (-len(self._bits) % 8)
        return int("1" + padded, 2).to_bytes(len(padded) // 8 + 1, "big")[1:]
