import contextlib
import http.server
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from mediaserver.errors import Refused
from mediaserver.transport import fetch
from mediaserver.transport.fetch import Fetcher, FetchError
from mediaserver.transport.targets import connect, is_public, resolve

PRIVATE = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.0.1", "169.254.169.254",
    "172.16.0.1", "192.0.0.1", "192.0.0.8", "192.0.0.9", "192.0.0.170", "192.0.0.255", "192.0.2.1", "192.88.99.1", "192.168.0.1",
    "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:7f00:1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::192.168.0.1",
    "64:ff9b:1::1", "100::1", "2001::1", "2001:0:4136:e378:8000:63bf:80ff:fffe", "2001:db8::1", "2002:7f00:1::", "2002:a00:1::1",
    "2002:c000:8::", "2606:4700::5efe:7f00:1", "2606:4700::200:5efe:a00:1", "3ffe::1", "3ffe:ffff::1", "3fff::1", "5f00::1",
    "fc00::1", "fd12::1", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "::1%lo",
    "", "localhost", "1.2.3", "0x7f000001", "127.1", "\uff11\uff12\uff17.0.0.1", "[::1]",
]  # fmt: skip
PUBLIC = [
    "1.1.1.1", "8.8.8.8", "93.184.216.34", "191.255.255.255", "192.0.1.1", "2606:4700:4700::1111", "::ffff:8.8.8.8",
    "64:ff9b::808:808", "2002:808:808::1",
]  # fmt: skip

#: One address of this machine, as people write it who want to get past a look at the text.
SPELLINGS = [
    "localhost", "LOCALHOST", "localhost.", "127.0.0.1", "127.1", "127.0.1", "2130706433", "017700000001", "0177.0.0.1",
    "0x7f000001", "0x7f.0.0.1", "0x7f.1", "0", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1", "0:0:0:0:0:0:0:1", "::7f00:1",
    "\uff11\uff12\uff17.0.0.1", "\u2460\u2461\u2466.\u24ea.\u24ea.\u2460", "127\u30020\u30020\u30021", "::ffff:7f00:1",
]  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_what_is_not_in_the_public_internet(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("host", SPELLINGS)
def test_this_machine_is_refused_in_every_spelling(host: str) -> None:
    with pytest.raises(Refused):
        resolve(host, 80, allow_private=False)


@pytest.mark.parametrize("host", ["", "a\0b", "x" * 300, "no-such-host.invalid", "a..b"])
def test_what_is_no_name_is_refused_and_not_an_error(host: str) -> None:
    for allow in (True, False):
        with pytest.raises(Refused):
            resolve(host, 80, allow_private=allow and bool(host))


def test_where_private_addresses_are_allowed_they_are_found() -> None:
    (target, *_) = resolve("127.0.0.1", 80, allow_private=True)
    assert (target.address, target.port) == ("127.0.0.1", 80)


class Names:
    """A resolver that gives the next of ``answers`` each time."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)

    def __call__(self, host: str, port: int, **_: object) -> list[Any]:
        addresses = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]


def test_one_private_address_among_public_ones_is_too_many() -> None:
    with pytest.raises(Refused, match="not a public address"):
        resolve("mixed.example", 80, allow_private=False, look_up=Names(["93.184.216.34", "127.0.0.1"]))


def test_a_name_without_addresses_is_refused() -> None:
    with pytest.raises(Refused, match="cannot be resolved"):
        resolve("none.example", 80, allow_private=False, look_up=Names([]))


def test_a_connection_goes_to_the_first_address_that_takes_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody, port = closed.getsockname()[1], server.getsockname()[1]
        dead, alive = (resolve("127.0.0.1", number, allow_private=True)[0] for number in (nobody, port))
        with connect((dead, alive), 30) as connection:
            assert connection.getpeername()[1] == port
        with pytest.raises(OSError):
            connect((dead,), 30)


# -- fetching ------------------------------------------------------------------------------------------------------------


class Handler(http.server.BaseHTTPRequestHandler):
    """``/to?URL`` redirects there; ``/auth`` says what it was sent; ``/part?RANGE`` says that it gives that part, and gives the
    one that it was asked for; anything else is ten bytes, ``/short`` of fifteen.
    """

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        body = (self.headers.get("Authorization") or "none").encode() if path == "/auth" else b"0123456789"
        if path == "/part":
            first, _, last = (self.headers.get("Range") or "bytes=0-9").removeprefix("bytes=").partition("-")
            body = body[int(first) : int(last) + 1]
        self.send_response({"/to": 302, "/nothing": 404, "/part": 206}.get(path, 200))
        if path == "/part" and query:
            self.send_header("Content-Range", f"bytes {query}")
        if path == "/to":
            self.send_header("Location", query)
        self.send_header("Content-Length", str(len(body) + 5 * (path == "/short")))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Nothing."""


@contextlib.contextmanager
def web(address: str) -> Iterator[int]:
    with http.server.ThreadingHTTPServer((address, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture
def port() -> Iterator[int]:
    with web("127.0.0.1") as number:
        yield number


@pytest.fixture
def public_port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A server on 127.0.0.2, which counts as public, and nothing else does."""
    monkeypatch.setattr("mediaserver.transport.targets.is_public", lambda address: address == "127.0.0.2")
    with web("127.0.0.2") as number:
        yield number


def anywhere() -> Fetcher:
    return Fetcher(allow_private=True, timeout=30)


def test_a_resource_is_fetched_redirects_and_all(port: int) -> None:
    url = f"http://127.0.0.1:{port}"
    assert anywhere().get(f"{url}/to?/a", 100) == (b"0123456789", f"{url}/a")
    with pytest.raises(FetchError, match="more than 5 bytes"):
        anywhere().get(f"{url}/a", 5)
    with pytest.raises(FetchError, match="status 404"):
        anywhere().get(f"{url}/nothing", 5)
    with pytest.raises(FetchError, match="too many redirects"):
        anywhere().get(f"{url}/to?/to?/to", 5)
    with pytest.raises(FetchError, match="address that is none"):
        anywhere().get(f"{url}/to?http://[", 5)


def test_a_resource_that_ends_too_early_is_not_taken_for_whole(port: int) -> None:
    """Nor is a stream of a known length taken for played to its end."""
    with pytest.raises(FetchError, match="ended too early"):
        anywhere().get(f"http://127.0.0.1:{port}/short", 100)
    with anywhere().open(f"http://127.0.0.1:{port}/short") as resource:
        assert resource.read(4) == b"0123"
        assert resource.read(4) == b"4567"
        assert resource.read() == b"89"
        with pytest.raises(FetchError, match="ended too early"):
            resource.read()


@pytest.mark.parametrize(
    ("path", "part", "expected"),
    [
        ("/part?2-4/10", range(2, 5), b"234"),
        ("/part?2-4/*", range(2, 5), b"234"),
        ("/part", range(2, 5), b"234"),  # without the header that must be there, but of the right length
        ("/part?8-9/10", range(8, 20), b"89"),  # as much as there is
        ("/a", range(2, 5), b"234"),  # a server that gives no parts
        ("/a", range(5), b"01234"),
        ("/a", range(8, 20), b"89"),
    ],
)
def test_a_part_of_a_resource_is_fetched_whether_or_not_the_server_gives_parts(
    path: str, part: range, expected: bytes, port: int
) -> None:
    url = f"http://127.0.0.1:{port}{path}"
    assert anywhere().get(url, 10, part) == (expected, url)


@pytest.mark.parametrize(
    ("path", "part", "reason"),
    [
        ("/part?0-9/10", range(2, 5), "other bytes"),
        ("/part?2-3/10", range(2, 5), "other bytes"),
        ("/part?2-5/10", range(2, 5), "other bytes"),
        ("/part?nonsense", range(2, 5), "other bytes"),
        ("/part", range(8, 20), "other bytes"),
        ("/part?0-9/10", None, "status 206"),
        ("/a", range(10, 12), "ended too early"),
    ],
)
def test_other_bytes_than_were_asked_for_are_not_taken(path: str, part: range | None, reason: str, port: int) -> None:
    with pytest.raises(FetchError, match=reason):
        anywhere().get(f"http://127.0.0.1:{port}{path}", 10, part)


def test_a_part_is_not_cut_out_of_a_resource_of_any_size(port: int) -> None:
    """Nor are the first parts, when the later ones cannot be."""
    for part in (range(1), range(9, 10)):
        with pytest.raises(FetchError, match="all of a file, more than 9 bytes, where it was asked for a part of it"):
            anywhere().get(f"http://127.0.0.1:{port}/a", 9, part)


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://a/b",
        "http://",
        "gopher://x",
        "//x/y",
        "http://[::1",
        "http://a b/",
        "http://a:99999/",
        "http://a/\r\nX: y",
        "http://ä/",
        "http://a/" + "x" * 5000,
    ],
)
def test_addresses_that_are_not_fetched(url: str) -> None:
    with pytest.raises(FetchError, match="address"):
        anywhere().open(url)


@pytest.mark.parametrize("url", ["http://{}/a", "http://127.1:{}/a", "http://user@localhost:{}/a"])
def test_this_machine_is_refused_by_every_name(url: str, port: int) -> None:
    fetcher = Fetcher(allow_private=False, timeout=30)
    with pytest.raises(Refused):
        fetcher.open(url.format(f"2130706433:{port}" if url == "http://{}/a" else port))


def test_a_redirect_to_this_machine_is_refused(public_port: int) -> None:
    """A public host that sends us home: the guard looks at every address anew."""
    fetcher = Fetcher(allow_private=False, timeout=30, look_up=Names(["127.0.0.2"], ["127.0.0.2"], ["127.0.0.1"]))
    assert fetcher.get(f"http://public.example:{public_port}/a", 100)[0] == b"0123456789"
    with pytest.raises(Refused, match="not a public address"):
        fetcher.open(f"http://public.example:{public_port}/to?http://evil.example:{public_port}/a")


def test_a_name_that_answers_otherwise_the_second_time_is_asked_once(public_port: int) -> None:
    """DNS rebinding: what was judged is what is connected to, and another connection is judged anew."""
    names = Names(["127.0.0.2"], ["127.0.0.1"])
    fetcher = Fetcher(allow_private=False, timeout=30, look_up=names)
    assert fetcher.get(f"http://rebind.example:{public_port}/a", 100)[0] == b"0123456789"
    assert names.answers == [["127.0.0.1"]]
    with pytest.raises(Refused, match="not a public address"):
        fetcher.open(f"http://rebind.example:{public_port}/a")


def test_a_password_is_for_its_own_host_alone(port: int) -> None:
    url = f"http://me:secret%40@127.0.0.1:{port}"
    assert anywhere().get(f"{url}/auth", 100)[0] == b"Basic bWU6c2VjcmV0QA=="
    assert anywhere().get(f"{url}/to?http://localhost:{port}/auth", 100)[0] == b"none"


def test_a_silent_server_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        fetcher = Fetcher(allow_private=True, timeout=0.2)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/a"
        with pytest.raises(FetchError, match="silent"):
            fetcher.open(url)
    with pytest.raises(FetchError, match="cannot be reached"):
        fetcher.open(url)


def test_a_server_that_drips_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Long before the pause between two drops, on a busy machine, could be taken for silence."""
    monkeypatch.setattr(fetch, "WHOLE", 0.01)

    def drip(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection, contextlib.suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            while True:
                connection.sendall(b"x")
                done.wait(0.02)

    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=drip, args=(server,))
        thread.start()
        with pytest.raises(FetchError, match="too slow"):
            anywhere().get(f"http://127.0.0.1:{server.getsockname()[1]}/a", 1 << 20)
        thread.join()
