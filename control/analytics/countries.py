"""In which country an address is, by a list on this machine (``mediaserver.countries``): nobody is asked."""

from array import array
from bisect import bisect_right
from ipaddress import IPv4Address, ip_address
from pathlib import Path
from typing import Protocol

from mediaserver.countries import ranges


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

    def add(self, first: int, last: int, word: int) -> None:
        """Behind all others."""
        self.first.append(first)
        self.last.append(last)
        self.words.append(word)

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
        for version, first, last, country in ranges(file):
            if country not in known:
                known[country] = len(self._words)
                self._words.append(country)
            self._families[version].add(first, last, known[country])

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
