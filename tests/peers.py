"""Real programs beside the server under test: started on free ports, ended by their process id.

A test that needs a program which is not installed is skipped with its name; with ``CI=true`` it fails.
"""

import contextlib
import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest

T = TypeVar("T")

ROOT = Path(__file__).parents[1]
#: Where a Debian package puts what is not on an ordinary user's PATH.
SEARCH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
NGINX_RTMP = Path("/usr/lib/nginx/modules/ngx_rtmp_module.so")
#: Where Debian puts PostgreSQL's own programs.
POSTGRES = Path("/usr/lib/postgresql/15/bin")
#: In the log of a healthy server there is none of these.
SYMPTOMS = ("Traceback", "never retrieved", "was never awaited", "Task was destroyed", "Unclosed", "Exception ignored")


def missing(what: str) -> None:
    """Skip the running test because ``what`` is not here, or fail it in CI."""
    if os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(f"{what} is missing (CI=true: every peer must be there)")
    pytest.skip(f"{what} is missing")


def program(name: str) -> str:
    """The path of ``name``."""
    path = shutil.which(name, path=SEARCH)
    if path is None:
        missing(name)
    return path or ""


#: Ports that were given out last: whoever asked for one may not listen on it yet.
_given: deque[int] = deque(maxlen=500)


def free_port() -> int:
    """A port that nobody listens on now, outside the range from which the kernel picks for outgoing connections. Processes that
    run tests beside each other have ports of their own."""
    first = 12_000 + 2_500 * (int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 8)
    while True:
        port = random.randrange(first, first + 2_500)
        if port in _given:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("0.0.0.0", port))
                _given.append(port)
                return port


def wait_until(question: Callable[[], T], what: str, timeout: float = 30) -> T:
    """Ask until the answer is true, and give it. The time is waited out by what fails alone."""
    deadline = time.monotonic() + timeout
    while not (answer := question()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {what}")
        time.sleep(0.02)
    return answer


class Process:
    """A child process, its output in a file."""

    def __init__(
        self, name: str, command: Sequence[str], log: Path, env: Mapping[str, str] | None = None, user: str | None = None
    ) -> None:
        self.name = name
        self.log_file = log
        with log.open("ab") as output:
            self.popen = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                env={**os.environ, **(env or {})},
                user=user,
            )

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def running(self) -> bool:
        return self.popen.poll() is None

    def log(self) -> str:
        return self.log_file.read_text("utf-8", "replace")

    def wait(self, timeout: float = 60) -> int:
        """Its exit status, once it ends by itself."""
        try:
            return self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not end within {timeout} s:\n{self.log()}") from None

    def signal(self, number: signal.Signals) -> None:
        self.popen.send_signal(number)

    def stop(self, timeout: float = 20) -> int:
        """End it politely, then by force; its exit status."""
        if self.running:
            self.popen.terminate()
            try:
                self.popen.wait(timeout)
            except subprocess.TimeoutExpired:
                self.popen.kill()
        return self.popen.wait()


class Peers:
    """Starts programs for one test and ends them after it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running: list[Process] = []

    def start(self, name: str, command: Sequence[str]) -> Process:
        """Run any ``command`` in the background."""
        process = Process(name, command, self.folder / f"{len(self.running)}-{name}.log")
        self.running.append(process)
        return process

    def ffmpeg_push(self, file: Path, url: str, *, loop: bool = True, options: Sequence[str] = ("-c", "copy")) -> Process:
        """ffmpeg sends ``file`` to ``url`` in real time."""
        return self.ffmpeg_play(file, *options, "-f", "flv", url, loop=loop)

    def ffmpeg_play(self, file: Path, *output: str, loop: bool = True) -> Process:
        """ffmpeg reads ``file`` in real time; ``output`` says what becomes of it."""
        loops = ["-stream_loop", "-1"] if loop else []
        return self.start("ffmpeg", [program("ffmpeg"), "-hide_banner", "-nostdin", "-re", *loops, "-i", str(file), *output])

    def pyav_push(self, file: Path, url: str, *, times: int = 1_000_000) -> Process:
        """PyAV's FFmpeg (Enhanced RTMP) sends ``file`` to ``url`` in real time."""
        return self.start("pyav", [sys.executable, "-m", "tests.push", str(file), url, str(times)])

    def ffmpeg_record(self, url: str, file: Path, *, seconds: float, options: Sequence[str] = ()) -> Process:
        """ffmpeg plays ``url`` for ``seconds`` of media and keeps the packets in ``file``."""
        return self.start(
            "ffmpeg",
            [
                program("ffmpeg"),
                "-hide_banner",
                "-nostdin",
                "-y",
                *options,
                "-i",
                url,
                "-t",
                str(seconds),
                "-c",
                "copy",
                str(file),
            ],
        )

    def rtmpdump(self, url: str, file: Path, *, seconds: float = 0) -> Process:
        """rtmpdump plays ``url`` into the FLV ``file``, for ``seconds`` of media or until the stream ends."""
        stop = ["--stop", str(seconds)] if seconds else []
        return self.start("rtmpdump", [program("rtmpdump"), "--live", "-r", url, "-o", str(file), *stop])

    def nginx_rtmp(self) -> tuple[Process, int]:
        """nginx with its RTMP module, application ``live``, on a port of its own."""
        nginx = program("nginx")
        if not NGINX_RTMP.exists():
            missing("libnginx-mod-rtmp")
        port, folder = free_port(), self.folder / f"nginx-{len(self.running)}"
        folder.mkdir()
        (folder / "nginx.conf").write_text(
            f"load_module {NGINX_RTMP};\n{'user root;' if os.geteuid() == 0 else ''}\n"
            f"daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr;\nevents {{}}\n"
            f"rtmp {{ access_log off; server {{ listen 127.0.0.1:{port}; chunk_size 60000;"
            f" application live {{ live on; }} }} }}\n"
        )
        process = self.start("nginx", [nginx, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"])
        wait_until(lambda: answers(port), f"nginx on port {port}")
        return process, port

    def stop(self) -> None:
        for process in reversed(self.running):
            process.stop()


class Postgres:
    """A PostgreSQL server with a cluster of its own in ``folder``, on a free port of this machine."""

    def __init__(self, folder: Path) -> None:
        if not (POSTGRES / "postgres").exists():
            missing("postgresql")
        # It refuses to run as root, and its folders must be its own.
        self.user = "postgres" if os.geteuid() == 0 else None
        self.data, self.log = Path(tempfile.mkdtemp(prefix="cluster-")), folder / "postgres.log"
        if self.user:
            shutil.chown(self.data, self.user)
        self.port = free_port()
        subprocess.run(
            [POSTGRES / "initdb", "-D", self.data, "-U", "test", "-A", "trust", "-E", "UTF8", "--locale", "C.UTF-8", "--no-sync"],
            check=True, capture_output=True, cwd="/", user=self.user,
        )  # fmt: skip
        self.start()

    def start(self) -> None:
        """Start it (again) and wait until it answers."""
        # fsync off: no test of ours cuts the power.
        options = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "max_connections": 60, "fsync": "off"}
        options |= dict.fromkeys(("synchronous_commit", "full_page_writes", "autovacuum"), "off")
        settings = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        command = [str(POSTGRES / "postgres"), "-D", str(self.data), "-p", str(self.port), *settings]
        self.process = Process("postgres", command, self.log, user=self.user)
        wait_until(lambda: "ready to accept connections" in self.process.log(), f"PostgreSQL on port {self.port}")
        self.log.write_text("")

    def stop(self) -> None:
        """End it, connections and all (SIGINT: its fast shutdown)."""
        if self.process.running:
            self.process.signal(signal.SIGINT)
            self.process.wait()

    def close(self) -> None:
        """End it for good."""
        self.stop()
        shutil.rmtree(self.data, ignore_errors=True)

    def url(self, name: str = "postgres") -> str:
        return f"postgresql://test@127.0.0.1:{self.port}/{name}"


class Redis:
    """A Redis server without a memory, on a free port of this machine."""

    def __init__(self, folder: Path) -> None:
        self.port, self.folder, self.binary = free_port(), folder, program("redis-server")
        self.start()

    def start(self) -> None:
        """Start it (again) and wait until it answers."""
        command = [self.binary, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.folder)]
        self.process = Process("redis", command, self.folder / f"redis-{self.port}.log")
        wait_until(lambda: answers(self.port), f"Redis on port {self.port}")

    def stop(self) -> None:
        self.process.stop()

    def url(self, number: int = 0) -> str:
        return f"redis://127.0.0.1:{self.port}/{number}"


def answers(port: int) -> bool:
    """Whether somebody accepts connections on ``port`` of this machine."""
    with socket.socket() as probe:
        probe.settimeout(5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def ffprobe(source: str | Path, *options: str, timeout: float = 60) -> dict[str, Any]:
    """What ffprobe says about the streams of ``source``, as its JSON."""
    command = [program("ffprobe"), "-v", "error", *options, "-show_streams", "-show_format", "-of", "json", str(source)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    assert result.returncode == 0, result.stderr
    return dict(json.loads(result.stdout))


class Server:
    """``python -m mediaserver serve`` on free ports, with a configuration and a data_dir of its own."""

    def __init__(
        self, folder: Path, tables: Mapping[str, Mapping[str, Any]], env: Mapping[str, str], command: str = "serve"
    ) -> None:
        self.folder = folder
        self.rtmp_port, self.http_port = free_port(), free_port()
        settings: dict[str, dict[str, Any]] = {
            "server": {"data_dir": str(folder / "data"), "log_level": "debug"},
            "rtmp": {"host": "127.0.0.1", "port": self.rtmp_port},
            "http": {"host": "127.0.0.1", "port": self.http_port},
        }
        for table, keys in tables.items():
            settings.setdefault(table, {}).update(keys)
        self.config = folder / "config.toml"
        self.config.write_text("".join(f"[{table}]\n{_toml(keys)}" for table, keys in settings.items()))
        self.env = env
        self.arguments = [sys.executable, "-m", "mediaserver", command, "--config", str(self.config)]
        self.process = self.start()

    def start(self) -> Process:
        """Start it (again): the log goes on in the same file."""
        env = {"PYTHONWARNINGS": "default", **self.env}
        self.process = Process("mediaserver", self.arguments, self.folder / "server.log", env)
        return self.process

    def wait_ready(self, timeout: float = 60) -> None:
        """Wait until /readyz says yes."""
        wait_until(self._ready, f"the server to be ready:\n{self.log()}", timeout)

    def _ready(self) -> bool:
        assert self.process.running, f"the server ended with status {self.process.wait()}:\n{self.log()}"
        try:
            return self.get("/readyz", timeout=10)[0] == 200
        except OSError:
            return False

    def rtmp(self, name: str, app: str = "live") -> str:
        """Where to push and play ``name``."""
        return f"rtmp://127.0.0.1:{self.rtmp_port}/{app}/{name}"

    def url(self, path: str, scheme: str = "http") -> str:
        """The address of ``path`` (with its slash) on the HTTP port."""
        return f"{scheme}://127.0.0.1:{self.http_port}{path}"

    def get(
        self, path: str, headers: Mapping[str, str] | None = None, *, method: str = "GET", timeout: float = 30
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        """Status, headers and body of one request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=timeout)
        try:
            connection.request(method, path, headers=dict(headers or {}))
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    def live(self) -> dict[str, dict[str, Any]]:
        """What /api/live lists, by name; renditions that are made now too, by theirs."""
        status, _, body = self.get("/api/live")
        assert status == 200, body
        streams = json.loads(body)["streams"]
        rungs = {f"{stream['name']}@{rung['name']}": rung for stream in streams for rung in stream["rungs"] if rung["running"]}
        return {stream["name"]: stream for stream in streams} | rungs

    def wait_live(self, name: str, timeout: float = 30) -> None:
        """Wait until somebody publishes ``name``."""
        wait_until(lambda: name in self.live(), f"{name} to be live; the server's log:\n{self.log()}", timeout)

    def log(self) -> str:
        return self.process.log()

    def kill(self) -> None:
        """As a power cut would."""
        self.process.signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """SIGTERM, then see that it went in peace."""
        status = self.process.stop(timeout=40)
        log = self.log()
        assert status == 0, f"the server ended with status {status}:\n{log}"
        for symptom in SYMPTOMS:
            assert symptom not in log, f"{symptom!r} in the server's log:\n{log}"


def _toml(keys: Mapping[str, Any]) -> str:
    return "".join(f"{key} = {_toml_value(value)}\n" for key, value in keys.items())


def _toml_value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml_value(item)}" for key, item in value.items()) + "}"
    return json.dumps(value)


@contextlib.contextmanager
def running_server(
    folder: Path,
    tables: Mapping[str, Mapping[str, Any]] | None = None,
    env: Mapping[str, str] | None = None,
    command: str = "serve",
) -> Iterator[Server]:
    """A server that is ready, stopped and checked at the end (unless the test killed it)."""
    server = Server(folder, tables or {}, env or {}, command)
    try:
        server.wait_ready()
        yield server
        if server.process.running:
            server.stop()
    finally:
        if server.process.running:
            server.process.popen.kill()
            server.process.wait()
