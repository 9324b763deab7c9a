"""The commands as a person types them: what they print, and with which status they end."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from control import ondemand
from mediaserver.__main__ import farewells
from tests.conftest import Serve
from tests.peers import ROOT, free_port, wait_until

#: What a server that only passes media on does without.
LIBRARIES = (
    "aiohttp", "argon2", "asyncpg", "av", "cryptography", "jwt", "numpy", "orjson", "prometheus_client", "psutil", "redis",
)  # fmt: skip


def run(arguments: Sequence[str], env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mediaserver", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=100, cwd=ROOT, env={**os.environ, "NO_COLOR": "1", **(env or {})}
    )


def ports() -> dict[str, str]:
    return {"MEDIASERVER__RTMP__PORT": str(free_port()), "MEDIASERVER__HTTP__PORT": str(free_port())}


def test_version_is_the_project_s() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    assert run(["--version"]).stdout == f"mediaserver {version}\n"


def test_help_lists_the_commands() -> None:
    told = run(["--help"]).stdout
    for command in ("serve", "demo", "doctor", "config"):
        assert f" {command} " in told


def test_config_prints_the_manual_and_its_check_accepts_it(tmp_path: Path) -> None:
    manual = run(["config"])
    assert manual.stdout == (ROOT / "config.toml").read_text("utf-8")
    mine = tmp_path / "my.toml"
    mine.write_text(manual.stdout)
    assert run(["config", "--check", str(mine)], ports()).stdout == f"{mine}: fine\n"


def test_a_check_of_the_config_names_the_ports_that_are_taken_and_finds_the_file_fine(tmp_path: Path) -> None:
    mine = tmp_path / "my.toml"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        mine.write_text(f'[rtmp]\nport = {free_port()}\n[http]\nhost = "127.0.0.1"\nport = {number}\n')
        result = run(["config", "--check", str(mine)])
    assert result.returncode == 0
    first, second = result.stdout.splitlines()
    assert first == f"{mine}: fine"
    assert f"port {number} is in use by" in second
    assert "http.port" in second


@pytest.mark.parametrize("command", [["serve", "--config"], ["demo", "--config"], ["doctor", "--config"], ["config", "--check"]])
def test_a_bad_configuration_ends_with_status_2_and_says_where(tmp_path: Path, command: list[str]) -> None:
    file = tmp_path / "my.toml"
    file.write_text("[rtmp]\nport = 99999\n")
    result = run([*command, str(file)])
    assert result.returncode == 2
    assert result.stderr == f"{file}: rtmp.port: 99999 is not allowed; allowed: a port number from 1 to 65535\n"
    assert result.stdout == ""


def test_a_bad_variable_ends_with_status_2_and_names_it() -> None:
    result = run(["serve"], {"MEDIASERVER__RTMP__PROT": "1"})
    assert result.returncode == 2
    assert "MEDIASERVER__RTMP__PROT" in result.stderr


@pytest.mark.parametrize("key", ["RTMP", "HTTP"])
def test_a_taken_port_ends_with_status_1_and_is_named(key: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", free_port())) as other:
        port = other.getsockname()[1]
        env = ports() | {f"MEDIASERVER__{key}__PORT": str(port), "MEDIASERVER__SERVER__DATA_DIR": str(tmp_path)}
        result = run(["serve"], env)
    assert result.returncode == 1
    assert result.stderr.startswith(f"port {port} is in use")
    assert f"MEDIASERVER__{key}__PORT={port + 1}" in result.stderr


def test_an_address_of_another_machine_is_named(tmp_path: Path) -> None:
    result = run(["serve"], ports() | {"MEDIASERVER__RTMP__HOST": "192.0.2.1"})
    told = "'192.0.2.1' is no address of this machine: correct rtmp.host"
    assert (result.returncode, result.stderr) == (1, f"{told}\n")
    file = tmp_path / "my.toml"
    file.write_text('[rtmp]\nhost = "192.0.2.1"\n')
    result = run(["serve", "--config", str(file)], ports())
    assert (result.returncode, result.stderr) == (1, f"{told} (settings: {file})\n")


def test_a_data_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = run(["serve"], ports() | {"MEDIASERVER__SERVER__DATA_DIR": str(tmp_path / "file" / "data")})
    assert result.returncode == 2
    assert result.stderr.startswith("MEDIASERVER__SERVER__DATA_DIR: server.data_dir = ")
    result = run(["serve"], ports() | {"MEDIASERVER__SERVER__DATA_DIR": "/proc/data"})
    assert result.returncode == 1
    assert result.stderr.endswith("choose another server.data_dir\n")


def test_serve_says_where_to_push_and_watch_and_where_its_config_is(serve: Serve) -> None:
    server = serve()
    told = server.log()
    assert f"rtmp://127.0.0.1:{server.rtmp_port}/live" in told
    assert f"http://127.0.0.1:{server.http_port}/watch/show" in told
    assert str(server.config) in told


def test_where_no_keys_are_configured_none_of_them_is_promised(serve: Serve) -> None:
    told = serve(auth={"publish": "keys"}).log()
    assert "Stream Key: that of a stream made in the API\n" in told
    assert "auth.stream_keys" not in told


@contextlib.contextmanager
def hang_ups(handling: signal.Handlers) -> Iterator[None]:
    """Programs that are started here begin with that ``handling`` of a closed terminal, whoever started the tests."""
    before = signal.signal(signal.SIGHUP, handling)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


def test_every_farewell_ends_it_in_peace_and_the_ports_are_free_at_once_for_the_next_start(serve: Serve) -> None:
    with hang_ups(signal.SIG_DFL):
        server = serve()
        for number in (signal.SIGINT, signal.SIGHUP):
            server.process.signal(number)
            assert server.process.wait() == 0, number
            server.start()
            server.wait_ready()
    server.process.signal(signal.SIGTERM)
    assert server.process.wait() == 0
    server.stop()


def test_who_is_started_to_outlive_its_terminal_does() -> None:
    with hang_ups(signal.SIG_DFL):
        assert set(farewells()) == {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    with hang_ups(signal.SIG_IGN):
        assert set(farewells()) == {signal.SIGINT, signal.SIGTERM}


def test_the_demo_is_live_and_moves(serve: Serve) -> None:
    server = serve(command="demo")
    server.wait_live("demo")
    # Its parameters come with the first header, its rate with the next look once a second.
    wait_until(lambda: (server.live()["demo"]["video"] or {}).get("codec") == "h264", "pictures")
    wait_until(lambda: server.live()["demo"]["bitrate"] > 50_000, "that they move")
    assert "/watch/demo" in server.log()


def test_the_demo_needs_open_publishing() -> None:
    keys = {"MEDIASERVER__AUTH__PUBLISH": "keys", "MEDIASERVER__AUTH__STREAM_KEYS": "cam=canary-key"}
    result = run(["demo"], ports() | keys)
    assert result.returncode == 2
    assert "auth.publish" in result.stderr
    assert "canary" not in result.stderr + result.stdout


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        (
            "mediaserver.__main__",
            {
                "aiohttp",
                "argon2",
                "asyncpg",
                "av",
                "cryptography",
                "jwt",
                "numpy",
                "orjson",
                "prometheus_client",
                "psutil",
                "redis",
            }
            | set(ondemand.EVERYTHING),
        ),
        ("mediaserver.logs", {"rich"}),
    ],
)
def test_the_server_does_not_hold_in_memory_what_it_does_not_use(module: str, absent: set[str]) -> None:
    code = f"import sys, {module}; print(sorted({absent!r} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT).stdout == "[]\n"
