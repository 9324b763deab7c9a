"""``/healthz`` and ``/readyz`` while nobody has asked for anything else: orchestrators ask all day, and need no pages loaded."""

from email.utils import formatdate
from http import HTTPStatus

from control.system.schemas import HealthView
from control.system.service import LiveService

#: What goes out with every answer of the control plane (see ``middleware.add_headers``).
_HEADERS = (
    "Content-Type: application/json\r\nCache-Control: no-store\r\nServer: mediaserver\r\n"
    "X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\nConnection: close\r\n"
)


class Porter:
    """Says how the server is, and nothing else."""

    def __init__(self, live: LiveService) -> None:
        self._views = {b"/healthz": live.alive, b"/readyz": live.health}

    def answer(self, request: bytes) -> bytes:
        """All that is to be said to ``request``, a whole one and nothing behind it, before its connection is closed. Empty if it
        asks for something else."""
        line, _, _ = request.partition(b"\r\n")
        method, _, target = line.partition(b" ")
        path, _, version = target.partition(b" ")
        view = self._views.get(path)
        if view is None or method not in {b"GET", b"HEAD"} or version not in {b"HTTP/1.1", b"HTTP/1.0"}:
            return b""
        if request.find(b"\r\n\r\n") + 4 != len(request) or b"\r\ncontent-length:" in request.lower():
            return b""
        status, body = rendered(view())
        head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n{_HEADERS}Date: {formatdate(usegmt=True)}\r\n"
        head += f"Content-Length: {len(body)}\r\n\r\n"
        return head.encode() + (b"" if method == b"HEAD" else body)


def rendered(health: HealthView) -> tuple[int, bytes]:
    """Status and body of an answer about health: 503 says to send nobody here."""
    status = 200 if health.status in {"ok", "ready"} else 503
    return status, health.model_dump_json(exclude_defaults=True).encode()
