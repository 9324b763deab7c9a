"""The list of countries that ``analytics.country_file`` names, line by line: whoever looks at the settings reads it as whoever
uses it does.

A text file of lines ``FIRST,LAST,CC``: the first and the last address of a range, and the two letters of its country (ISO
3166-1). Ranges are in order and do not overlap, IPv4 and IPv6 in any mixture; what follows a third comma is not looked at, and
``ZZ`` or ``-`` is nowhere. The free lists of DB-IP and of the project ip-location-db have this form.
"""

from collections.abc import Iterator
from pathlib import Path
from socket import AF_INET, AF_INET6, inet_pton

#: Version (4 or 6), first and last address as numbers, country. Of IPv6 the networks (/64), the smallest that anybody is given.
Range = tuple[int, int, int, str]

#: Not a country: what lists say for addresses that are nobody's.
_NOWHERE = {"ZZ", "XX", "-", ""}
#: Lines that a list may have. The largest free one has a seventh of that.
MAX_LINES = 5_000_000
#: Characters of the longest line.
_LONGEST_LINE = 4096
#: What stands around a word: all of them may be quoted, and none has a comma in it.
_AROUND = ' \t\r\n"'
_WRONG = "is not FIRST,LAST,CC"


def ranges(file: Path) -> Iterator[Range]:
    """The ranges in ``file``, in order. Raises OSError, and ValueError with the number of the line that cannot be."""
    number, ends = 0, {4: -1, 6: -1}
    # A name in another encoding behind the third comma is no reason to know nothing.
    with file.open(encoding="utf-8-sig", errors="replace") as lines:
        while line := lines.readline(_LONGEST_LINE):
            number += 1
            if number > MAX_LINES:
                raise ValueError(f"it has more than {MAX_LINES} lines")
            if line.isspace() or line.startswith("#"):
                continue
            try:
                found = _range(line, ends, whole=len(line) < _LONGEST_LINE)
            except ValueError as error:
                raise ValueError(f"line {number} {error}") from None
            if found is not None:
                ends[found[0]] = found[2]
                yield found


def _range(line: str, ends: dict[int, int], *, whole: bool) -> Range | None:
    """The range in ``line``, behind those that end with ``ends``; None for one that is nowhere."""
    try:
        first, last, country = (word.strip(_AROUND) for word in line.split(",", 3)[:3])
        family, version, shift = (AF_INET6, 6, 64) if ":" in first else (AF_INET, 4, 0)
        begin, end = int.from_bytes(inet_pton(family, first)), int.from_bytes(inet_pton(family, last))
    except (OSError, ValueError):
        raise ValueError(_WRONG) from None
    country = country.upper()
    if country in _NOWHERE:
        return None
    if not (whole and len(country) == 2 and country.isascii() and country.isalpha()):
        raise ValueError(_WRONG)
    before = ends[version]
    if shift:
        begin, end = begin >> shift, end >> shift
        if begin == before:
            begin += 1  # two share a network: the first of them has it
            if begin > end:
                return None
    if not before < begin <= end:
        raise ValueError("is out of order")
    return version, begin, end, country
