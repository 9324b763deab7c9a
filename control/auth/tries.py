"""Tries of a password: each counts as wrong while it is being checked, and one that was right is taken back."""

from collections import OrderedDict
from dataclasses import dataclass, replace

#: Of those that were taken back while a later one was being checked so many are known.
MAX_TAKEN_BACK = 1000


@dataclass(frozen=True, slots=True)
class Try:
    """A password that is being checked counts as wrong for ``subject`` meanwhile, as the one at ``at``; the last wrong one was
    ``before``, and ``aged`` of them have been forgotten since then."""

    subject: str
    at: float
    before: float
    aged: int


class TakenBack:
    """Tries that were taken back and were not the last any more. To the one behind such a try it is the last wrong one: if that
    is taken back too, the last is an older one. What other nodes have taken back is not known here."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, float], Try] = OrderedDict()

    def note(self, each: Try) -> None:
        """``each`` was taken back, and a later one was there."""
        self._known[each.subject, each.at] = each
        if len(self._known) > MAX_TAKEN_BACK:
            self._known.popitem(last=False)

    def beyond(self, each: Try) -> Try:
        """``each`` as if those that were taken back had never been."""
        while (other := self._known.get((each.subject, each.before))) is not None and other.before < each.before:
            each = replace(each, before=other.before, aged=each.aged + other.aged)
        return each
