"""The porter says of health what the pages say, in the same words, and nothing else."""

from email.parser import BytesParser

import pytest

from control.system.porter import Porter
from control.system.service import LiveService
from tests.control.conftest import Client
from tests.control.engine import FakeEngine

#: What differs from one answer to the next, or because the porter lets nobody stay.
OWN = {"Date", "Connection"}


def ask(engine: FakeEngine, text: str) -> bytes:
    return Porter(LiveService(engine)).answer(text.replace("\n", "\r\n").encode())


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("state", ["starting", "ready", "draining"])
async def test_it_says_what_the_pages_say(engine: FakeEngine, client: Client, path: str, method: str, state: str) -> None:
    engine.now = None
    if state != "starting":
        engine.show(draining=state == "draining")
    head, _, body = ask(engine, f"{method} {path} HTTP/1.1\nHost: x\n\n").partition(b"\r\n\r\n")
    line, _, fields = head.partition(b"\r\n")
    headers = {name: value for name, value in BytesParser().parsebytes(fields).items() if name not in OWN}
    async with client.request(method, path) as said:
        assert int(line.split()[1]) == said.status
        assert headers == {name: value for name, value in said.headers.items() if name not in OWN}
        assert body == await said.read()


@pytest.mark.parametrize(
    "text",
    [
        "GET / HTTP/1.1\n\n",
        "GET /healthz/ HTTP/1.1\n\n",
        "GET /healthz?x HTTP/1.1\n\n",
        "POST /healthz HTTP/1.1\n\n",
        "GET /healthz HTTP/2.0\n\n",
        "GET /healthz\n\n",
        "GET  /healthz HTTP/1.1\n\n",
        "GET /healthz HTTP/1.1\nHost: x\n",
        "GET /healthz HTTP/1.1\n\nGET /healthz HTTP/1.1\n\n",
        "GET /healthz HTTP/1.1\nContent-Length: 4\n\n",
        "GET /healthz HTTP/1.1\n\nbody",
        "",
        "\n\n",
    ],
)
def test_it_knows_nothing_else(engine: FakeEngine, text: str) -> None:
    assert ask(engine, text) == b""
