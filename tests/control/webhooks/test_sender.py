"""One POST: nothing is followed, little is read, and nobody is reached who should not be."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from control.webhooks.outcome import Outcome
from control.webhooks.sender import MAX_KEPT, MAX_READ, Sender
from mediaserver.errors import Refused
from mediaserver.transport.targets import Target, resolve
from tests.control.webhooks.receiver import HANG, PATIENCE, RESET, Receiver

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def sender(*, allow_private: bool = True, patience: float = 30.0) -> AsyncIterator[Sender]:
    async def judge(host: str, port: int) -> tuple[Target, ...]:
        return resolve(host, port, allow_private=allow_private)

    async with Sender(judge, patience, 4, "mediaserver") as opened:
        yield opened


@contextlib.asynccontextmanager
async def listening(talk: Talk) -> AsyncIterator[str]:
    """A peer that says what a test wants, HTTP or not."""

    talking: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talking.add(asyncio.current_task())
        with contextlib.suppress(ConnectionError):
            await talk(reader, writer)
            writer.close()
            await writer.wait_closed()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        await asyncio.gather(*(task for task in talking if task is not None))


async def post(url: str, *, allow_private: bool = True, patience: float = 30.0) -> Outcome:
    async with sender(allow_private=allow_private, patience=patience) as opened:
        return await opened.post(url, b'{"a": 1}', {"webhook-id": "msg_1"})


async def test_it_goes_out_as_it_is(receiver: Receiver) -> None:
    outcome = await post(receiver.url() + "hook?key=%2Fx")
    assert outcome.arrived
    assert outcome.status == 204
    (came,) = receiver.posts
    assert (came.path, came.body) == ("/hook?key=%2Fx", b'{"a": 1}')
    assert came.headers["Content-Type"] == "application/json"
    assert came.headers["User-Agent"] == "mediaserver"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(receiver: Receiver, status: int) -> None:
    receiver.says = lambda _: status
    receiver.headers["Location"] = receiver.url("/elsewhere")
    outcome = await post(receiver.url("/hook"))
    assert not outcome.arrived
    assert outcome.error == f"the receiver answered {status}: redirects are not followed"
    assert [came.path for came in receiver.posts] == ["/hook"]


@pytest.mark.parametrize(
    ("says", "words"),
    [
        (500, "the receiver answered 500"),
        (410, "the receiver answered 410"),
        (HANG, "the receiver did not answer in time"),
        (RESET, "the receiver closed the connection without an answer"),
    ],
)
async def test_what_went_wrong_is_told_in_words(receiver: Receiver, says: int, words: str) -> None:
    receiver.says = lambda _: says
    outcome = await post(receiver.url("/secret-in-the-path"), patience=0.3 if says == HANG else 30.0)
    assert (outcome.arrived, outcome.error) == (False, words)


async def test_nobody_there() -> None:
    with socket.socket() as nobody_s:
        nobody_s.bind(("127.0.0.1", 0))  # and listens to nobody
        assert (await post(f"http://127.0.0.1:{nobody_s.getsockname()[1]}/")).error == "nobody answers at its address"


@pytest.mark.parametrize("said", [b"HTTP/1.1 200 OK\r\nContent-", b"SSH-2.0-peer\r\n\r\n", b"", b"\0" * 20_000])
async def test_a_peer_that_speaks_no_http(said: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        await writer.drain()

    async with listening(talk) as url:
        outcome = await post(url)
    assert not outcome.arrived
    assert outcome.error in {"the receiver closed the connection without an answer", "the receiver's answer is no HTTP"}


async def test_an_endless_answer_is_read_a_little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("control.webhooks.sender.BODY", 10 * PATIENCE)  # whoever wants more of it waits for ever

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n" + b"x" * MAX_READ)
        await reader.read()  # until the other end has closed

    async with listening(talk) as url:
        outcome = await asyncio.wait_for(post(url, patience=10 * PATIENCE), PATIENCE)
    assert outcome.arrived
    assert outcome.response == "x" * MAX_KEPT


async def test_an_answer_that_drips_has_come_with_its_status(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("control.webhooks.sender.BODY", 0.05)  # what came along is there at once

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx")
        await reader.read()

    async with listening(talk) as url:
        outcome = await post(url)
    assert outcome.arrived
    assert outcome.response == "x"


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "127.1",
        "2130706433",
        "0x7f.1",
        "0",
        "[::ffff:127.0.0.1]",
        "169.254.169.254",
        "10.0.0.1",
    ],
)
async def test_private_addresses_are_not_reached_in_any_spelling(host: str) -> None:
    came = asyncio.Event()

    async def talk(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        came.set()

    async with listening(talk) as url:
        outcome = await post(url.replace("127.0.0.1", host), allow_private=False)
    assert outcome.status is None
    assert "is not a public address" in outcome.error
    assert not came.is_set()


async def test_a_second_look_up_that_answers_otherwise_leads_nowhere_else() -> None:
    """The connection goes to what was judged last, and that is judged."""
    answers = [resolve("93.184.216.34", 80, allow_private=False)]

    async def judge(host: str, port: int) -> tuple[Target, ...]:
        if answers:
            return answers.pop()
        raise Refused(f"{host} is not a public address")

    async with Sender(judge, 30.0, 4, "mediaserver") as opened:
        outcome = await opened.post("http://rebinding.example/", b"{}", {})
    assert (outcome.status, answers) == (None, [])
    assert outcome.error == "rebinding.example is not a public address"


async def test_cookies_and_retry_after(receiver: Receiver) -> None:
    receiver.says = lambda _: 503
    receiver.headers |= {"Set-Cookie": "a=b", "Retry-After": "120"}
    async with sender() as opened:
        first = await opened.post(receiver.url(), b"{}", {})
        await opened.post(receiver.url(), b"{}", {})
    assert first.wish == 120.0
    assert all("Cookie" not in came.headers for came in receiver.posts)
