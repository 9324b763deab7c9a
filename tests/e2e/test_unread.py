"""What is no whole request is refused in the words of whom it was for: the API's in JSON, a player's in a line of text."""

import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPMessage, parse_headers

import pytest

from tests.peers import Server, running_server

HOST = b"Host: x\r\n"
#: By what is wrong with it: the status, and what follows the address.
BROKEN = {
    "an address too long": (414, b"?" + b"a" * 9000 + b" HTTP/1.1\r\n" + HOST + b"\r\n"),
    "a head too large": (431, b" HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 20000),
    "a head that goes on long after its refusal": (431, b" HTTP/1.1\r\n" + HOST + b"X: " + b"a" * (1 << 22)),
    "two lengths": (400, b" HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"),
    "two hosts": (400, b" HTTP/1.1\r\n" + 2 * HOST + b"\r\n"),
    "no version": (505, b" HTTP/2.0\r\n" + HOST + b"\r\n"),
    "no end": (408, b" HTTP/1.1\r\n" + HOST),
}


@dataclass(frozen=True)
class Town:
    """A server that leaves everybody time, and one that is hasty."""

    patient: Server
    hasty: Server

    def of(self, status: int) -> Server:
        """Whom to ask for that status: a busy machine may keep a whole request back for as long as the hasty one waits."""
        return self.hasty if status == 408 else self.patient


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    with (
        running_server(tmp_path_factory.mktemp("patient")) as patient,
        running_server(tmp_path_factory.mktemp("hasty"), {"http": {"header_timeout": 1.0}}) as hasty,
    ):
        yield Town(patient, hasty)


def ask(server: Server, request: bytes, first: bytes = b"") -> tuple[int, HTTPMessage, bytes]:
    """The last answer on a connection that is asked ``first``, if that is anything."""
    with socket.create_connection(("127.0.0.1", server.http_port), 20) as connection:
        if first:
            connection.sendall(first)
            assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
        connection.sendall(request)
        with connection.makefile("rb") as file:
            status = int(file.readline().split()[1])
            headers = parse_headers(file)
            return status, headers, file.read()


def test_what_was_for_the_api_is_refused_in_the_documented_frame(town: Town) -> None:
    for path in (b"GET /api/streams", b"POST /v1/api/streams"):
        for what, (status, rest) in BROKEN.items():
            seen, headers, body = ask(town.of(status), path + rest)
            assert (seen, headers.get_content_type()) == (status, "application/json"), what
            error = json.loads(body)["error"]
            assert set(error) == {"code", "message", "details", "timestamp", "requestId"}, what
            assert error["requestId"] == headers["X-Request-ID"]
            assert headers["Cache-Control"] == "no-store"
            code = {408: "TIMEOUT", 414: "TOO_LARGE", 431: "TOO_LARGE"}.get(status, "VALIDATION_ERROR")
            assert (error["code"], b"aaaa" in body) == (code, False), what


def test_what_was_for_a_player_is_refused_in_a_line(town: Town) -> None:
    for what, (status, rest) in BROKEN.items():
        seen, headers, body = ask(town.of(status), b"GET /live/show/index.m3u8" + rest)
        assert (seen, headers.get_content_type(), body.count(b"\n")) == (status, "text/plain", 1), what


def test_so_it_is_on_a_connection_that_was_asked_before(town: Town) -> None:
    first = b"GET /api/live HTTP/1.1\r\n" + HOST + b"\r\n"
    for path, kind in ((b"GET /api/streams", "application/json"), (b"GET /watch/show", "text/plain")):
        seen, headers, body = ask(town.patient, path + BROKEN["two lengths"][1], first)
        assert (seen, headers.get_content_type()) == (400, kind), body
