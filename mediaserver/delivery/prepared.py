"""A request that came before, byte for byte, and the bytes that answered it."""

from typing import Final

from mediaserver.delivery.request import NOWHERE, MediaRequest, Method
from mediaserver.delivery.response import Cors, render, respond
from mediaserver.packaging.answer import Ready
from mediaserver.packaging.lease import NEVER
from mediaserver.ports import Wire

#: A body up to this size is joined to its head, so that the answer is one piece of memory and one write.
JOIN_LIMIT: Final = 16 * 1024
#: Requests that are kept, and the longest that is. With JOIN_LIMIT this bounds the cache to 4.5 MB.
MAX_KEPT: Final = 256
MAX_KEY: Final = 2 * 1024

_KINDS: Final = {"m3u8": "playlist", "mpd": "manifest", "m4s": "segment", "mp4": "init", "jpg": "thumbnail"}

_WIRES: Final = {"playlist": Wire.HLS, "manifest": Wire.DASH}


class Prepared:
    """A parsed request and, once it was answered, its answer ready to be written.

    ``payload`` stays good while the packaging house answers with the very same ``ready``; as long as ``lease`` holds it does.
    ``wire`` is whose playlist or manifest this is, None for everything else.
    ``asker`` is what of the request an Authorizer's answer depends on: name, credentials, X-Forwarded-For. ``session`` is the
    viewer's token where the answer depends on that.
    """

    __slots__ = (
        "asker", "body", "head", "kind", "lease", "name", "payload", "query", "ready", "request", "resource", "session", "size",
        "wire",
    )  # fmt: skip

    def __init__(self, request: MediaRequest, head: bytes) -> None:
        target = request.target or NOWHERE
        self.request = request
        self.name, self.resource, self.query, self.session = target.name, target.resource, target.query, target.session
        self.head = head
        self.kind = kind_of(request)
        self.wire = wire_of(self.kind)
        self.asker = (target.name, target.credentials, request.forwarded)
        self.ready: Ready | None = None
        self.lease = NEVER
        self.payload = b""
        self.body: bytes | memoryview = b""
        self.size = 0

    def fill(self, ready: Ready, date: str, cors: Cors) -> None:
        """Make the answer's bytes: ``payload``, and ``body`` after it where that is too large to be copied."""
        response = respond(self.request, ready, cors)
        head = render(response, date, keep_alive=self.request.keep_alive)
        small = len(response.body) <= JOIN_LIMIT
        self.payload = b"".join((head, response.body)) if small else head
        self.body = b"" if small else response.body
        self.size = len(self.payload) + len(self.body)
        self.ready = ready

    def forget(self) -> None:
        """Let go of the answer: its Date is over, and the packaging house decides how long large bodies live."""
        self.ready = None
        self.lease = NEVER
        self.body = b""


class PreparedRequests:
    """The requests that are asked again and again, by their exact bytes; the oldest leaves for a new one."""

    def __init__(self) -> None:
        self._kept: dict[bytes, Prepared] = {}
        #: The hot path's own way in.
        self.get = self._kept.get

    def keep(self, prepared: Prepared) -> Prepared:
        """Remember ``prepared``, unless its head is long, ends its connection or is one viewer's alone. Returns the one that was
        there first, if any."""
        if len(prepared.head) > MAX_KEY or not prepared.request.keep_alive or prepared.session:
            return prepared
        if len(self._kept) >= MAX_KEPT and prepared.head not in self._kept:
            del self._kept[next(iter(self._kept))]
        return self._kept.setdefault(prepared.head, prepared)

    def forget_answers(self) -> None:
        """Let go of every answer; the requests stay."""
        for prepared in self._kept.values():
            prepared.forget()

    def __len__(self) -> int:
        return len(self._kept)


def kind_of(request: MediaRequest) -> str:
    """What is asked for, as one of a few words for the metrics (``counters.KINDS``)."""
    if request.method is Method.OPTIONS:
        return "preflight"
    if request.target is None:
        return "missing"
    if request.target.is_flv:
        return "flv" if request.websocket is None else "ws-flv"
    return _KINDS.get(request.target.resource.rpartition(".")[2], "missing")


def wire_of(kind: str) -> Wire | None:
    """Whose list of segments a request of that kind asks for; None for everything else."""
    return _WIRES.get(kind)
