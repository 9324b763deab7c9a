"""Which encoder does the work. Pure: what works on this machine was found out before (``mediaserver.encoders``)."""

from collections.abc import Mapping
from dataclasses import dataclass

from mediaserver.encoders import CANDIDATES, FAMILIES, OWN, SOFTWARE
from protocols.media import Codec

#: The name that leaves the choice to us.
AUTO = "auto"
#: What is said of encoders that nobody tried, and of failures that FFmpeg has no words for, by what it calls them.
NOT_TRIED = "not tried"
_PLAIN = {"UnknownError": "it does not open", "UnknownCodecError": "not in this FFmpeg"}


@dataclass(frozen=True, slots=True)
class Choice:
    """``encoder`` does the work; ``reason`` says why it and not others. ``missed`` was asked for, where that is another one."""

    encoder: str
    reason: str
    missed: str = ""


def choose(codec: Codec, wanted: str, failures: Mapping[str, str]) -> Choice:
    """An encoder for ``codec``. ``wanted`` is "auto" or a name; one for another codec means the same maker's for this one.

    ``failures`` has what each encoder that was tried failed with, "" for those that work.
    """
    software = SOFTWARE[codec]
    if wanted in OWN:
        return Choice(wanted, "asked for")
    if wanted == AUTO:
        passed_over: list[str] = []
        for name in CANDIDATES[codec]:
            failure = "" if name == software else failures.get(name, NOT_TRIED)
            if not failure:
                return Choice(
                    name, f"the best of this machine, without {', '.join(passed_over)}" if passed_over else "the first choice"
                )
            passed_over.append(f"{name} ({in_words(failure)})")
    sister = _sister(wanted, codec)
    if sister is None:
        return Choice(software, f"{wanted} does not encode {codec.value}", missed=wanted)
    if sister == software or failures.get(sister, NOT_TRIED) == "":
        return Choice(sister, "asked for")
    return Choice(software, f"{sister} is not available ({in_words(failures.get(sister, NOT_TRIED))})", missed=sister)


def in_words(failure: str) -> str:
    """A ``Probe``'s failure for people: most machines lack most encoders, and nothing is wrong with them."""
    kind, _, words = failure.partition(": ")
    return _PLAIN.get(kind, words or kind)


def _sister(wanted: str, codec: Codec) -> str | None:
    """The encoder for ``codec`` from the maker of ``wanted``."""
    for names in FAMILIES.values():
        if wanted in names:
            return next((name for name in names if name in CANDIDATES[codec]), None)
    return None
