"""Fixtures that every test may ask for: clips, real programs, and the server itself as a process of its own."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests.media import Clips
from tests.peers import Peers, Server, running_server

os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 else tells its life on standard error

# An example, or the making of one, may be slow because the machine stood still: that is no finding.
hypothesis.settings.register_profile(
    "patient", hypothesis.settings.default, deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("patient")

#: ``serve(rtmp={"takeover": True})``: a ready server with these tables; ``env=`` and ``command="demo"`` too.
Serve = Callable[..., Server]


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Clips:
    """Clips, each made once a session: ``clips.get(video="hevc", audio="opus")``."""
    # The session's folder above the workers' own, so that two workers make a clip once.
    folder = tmp_path_factory.getbasetemp().parent if "PYTEST_XDIST_WORKER" in os.environ else tmp_path_factory.getbasetemp()
    (folder / "clips").mkdir(exist_ok=True)
    return Clips(folder / "clips")


@pytest.fixture
def peers(tmp_path: Path) -> Iterator[Peers]:
    """Real programs, ended with the test."""
    (tmp_path / "peers").mkdir()
    started = Peers(tmp_path / "peers")
    yield started
    started.stop()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start as many servers as the test wants; each is stopped with SIGTERM at the end and its log looked through."""
    with contextlib.ExitStack() as stack:
        count = 0

        def start(*, env: dict[str, str] | None = None, command: str = "serve", **tables: dict[str, Any]) -> Server:
            nonlocal count
            count += 1
            folder = tmp_path / f"server-{count}"
            folder.mkdir()
            return stack.enter_context(running_server(folder, tables, env, command))

        yield start


@pytest.fixture
def server(serve: Serve) -> Server:
    """A server with the defaults, on free ports."""
    return serve()
