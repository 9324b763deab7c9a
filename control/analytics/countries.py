"""In which country an address is, by a list on this machine: nobody is asked.

The list is a text file of lines ``FIRST,LAST,CC``: the first and the last address of a range, and the two letters of its country
(ISO 3166-1). Ranges are in order and do not overlap, IPv4 and IPv6 in any mixture; what follows a third comma is not looked at,
and ``ZZ`` or ``-`` is nowhere. The free lists of DB-IP and of the project ip-location-db have this form.
"""

import csv
from array import array
from bisect import bisect_right
from ipaddress import IPv4Address, ip_address
from pathlib import Path
from typing import Protocol

#: Not a country: what lists say for addresses that are nobody's.
_NOWHERE = {"ZZ", "XX", "-", ""}
#: Ranges that a list may have. The largest free one has a seventh of that.
MAX_RANGES = 5_000_000


class Atlas(Protocol):
    """Where an address is."""

    def country(self, address: str) -> str | None:
        """The two letters, or None where that is not known."""


class NoAtlas:
    """There is no list: nothing is known."""

    def country(self, address: str) -> str | None:  # noqa: ARG002
        return None


class _Ranges:
    """Ranges of one family in order: 18 bytes each, whatever Python would make of as many numbers."""

    def __init__(self) -> None:
        self.first = array("Q")
        self.last = array("Q")
        self.words = array("H")

    def add(self, first: int, last: int, word: int) -> bool:
        """False for one that is out of order."""
        if last < first or (self.last and first <= self.last[-1]):
            return False
        self.first.append(first)
        self.last.append(last)
        self.words.append(word)
        return True

    def find(self, number: int) -> int | None:
        at = bisect_right(self.first, number) - 1
        return self.words[at] if at >= 0 and number <= self.last[at] else None


class Countries:
    """A list in memory. IPv6 is told apart by networks (/64), the smallest that anybody is given.

    Raises OSError, and ValueError with the line that cannot be.
    """

    def __init__(self, file: Path) -> None:
        self._families = {4: _Ranges(), 6: _Ranges()}
        self._words: list[str] = []
        known: dict[str, int] = {}
        with file.open(encoding="utf-8", newline="") as lines:
            for number, line in enumerate(csv.reader(lines), 1):
                if not line or line[0].startswith("#"):
                    continue
                if number > MAX_RANGES:
                    raise ValueError(f"{file}: more than {MAX_RANGES} lines")
                try:
                    first, last, word = ip_address(line[0].strip()), ip_address(line[1].strip()), line[2].strip().upper()
                except (ValueError, IndexError):
                    raise ValueError(f"{file}: line {number} is not FIRST,LAST,CC") from None
                if word in _NOWHERE:
                    continue
                if first.version != last.version or len(word) != 2 or not (word.isascii() and word.isalpha()):
                    raise ValueError(f"{file}: line {number} is not FIRST,LAST,CC")
                shift = 0 if first.version == 4 else 64
                if word not in known:
                    known[word] = len(self._words)
                    self._words.append(word)
                begin, end = int(first) >> shift, int(last) >> shift
                ranges = self._families[first.version]
                if shift and ranges.last and begin == ranges.last[-1]:
                    begin += 1  # two share a network: the first of them has it
                    if begin > end:
                        continue
                if not ranges.add(begin, end, known[word]):
                    raise ValueError(f"{file}: line {number} is out of order")

    def country(self, address: str) -> str | None:
        """The two letters, or None where that is not known."""
        try:
            parsed = ip_address(address.partition("%")[0])
        except ValueError:
            return None
        mapped: IPv4Address | None = getattr(parsed, "ipv4_mapped", None)
        parsed = mapped or parsed
        word = self._families[parsed.version].find(int(parsed) >> (0 if parsed.version == 4 else 64))
        return None if word is None else self._words[word]
