"""A server that nobody has asked for anything but media holds in memory what media needs, and little more."""

import json
import sys
from pathlib import Path

import pytest

from tests.conftest import Serve
from tests.peers import Server

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

PASSWORD = "correct horse battery"
#: Files that are mapped into a process which has loaded the library.
LIBRARIES = {"aiohttp/_http_parser", "cryptography/hazmat", "_argon2_cffi", "psutil/_psutil", "orjson/"}
#: What the whole process may take while it is idle, in bytes.
IDLE = 60_000_000


def resident(server: Server) -> int:
    status = Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))


def loaded(server: Server) -> set[str]:
    maps = Path(f"/proc/{server.process.pid}/maps").read_text()
    return {library for library in LIBRARIES if library in maps}


def test_an_idle_server_is_small_at_its_first_start_and_at_later_ones(serve: Serve) -> None:
    server = serve()
    for start in ("first", "second"):
        assert server.get("/healthz")[0] == 200
        assert resident(server) <= IDLE, start
        if start == "first":
            assert loaded(server) <= {"_argon2_cffi"}, "for the administrator's password"
            server.stop()
            server.start()
            server.wait_ready()
    assert loaded(server) == set()


def test_each_part_comes_with_the_first_who_needs_it(serve: Serve) -> None:
    server = serve(auth={"admin_password": PASSWORD})
    server.stop()
    server.start()  # the administrator is there: no password was needed
    server.wait_ready()
    assert loaded(server) == set()
    assert server.get("/")[0] == 200
    assert loaded(server) == {"aiohttp/_http_parser"}
    status, _, body = server.get("/api/system/health")
    assert (status, json.loads(body)["error"]["code"]) == (401, "UNAUTHORIZED")
    assert loaded(server) == LIBRARIES
