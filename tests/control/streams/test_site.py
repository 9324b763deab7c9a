"""The addresses that an answer gives: what a client wrote into Host is repeated only where it is one."""

import re

import pytest

from control.site import is_host
from tests.control.conftest import OpenPanel
from tests.control.streams.test_conductor import made

HOSTS = ["localhost", "tv.example.org:8080", "TV.example.org.", "my_host:1", "192.0.2.7:65535", "[2001:db8::1]", "[::1]:8080"]
NONE = [
    "",
    'evil.example"><script>alert(1)</script>',
    "evil.example/path",
    "user@evil.example",
    "evil.example?x",
    "evil.example#x",
    "evil.example\\",
    "a b",
    "a:b",
    "a:",
    "a:1:2",
    "a:65536",
    "a%2fb",
    "[",
    "[::1",
    "[evil]",
    "[::1]x",
    "[1:2]",
    "[fe80::1%25eth0]",
    "::1",
    "h\u00e9",
    "\uff48ost",
    "a" * 256,
    "a:\u0661",
]


def test_what_a_host_is() -> None:
    assert [host for host in HOSTS if not is_host(host)] == []
    assert [host for host in NONE if is_host(host)] == []


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("public_url", ["", "https://tv.example.org"])
async def test_only_a_host_is_told_back(panel: OpenPanel, public_url: str) -> None:
    here = await panel(server={"public_url": public_url})
    admin = await here.log_in()
    number = await made(admin, "streams", name="x", input_url="rtmp://localhost/live/k", qualities=["240p"])

    async def told(host: str) -> set[str]:
        answer = await admin.post(f"/api/streams/{number}/start", headers={"Host": host})
        assert (await admin.post(f"/api/streams/{number}/stop")).status == 200
        return {re.split(r"/static/", output["url"])[0] for output in answer.json["outputs"]}

    for host in HOSTS:
        assert await told(host) == {public_url or f"http://{host}"}
    listening = f"http://127.0.0.1:{here.client.port}"
    for host in [host for host in NONE if host and host.isascii()]:
        assert await told(host) == {public_url or listening}, host
