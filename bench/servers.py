"""The servers side by side: started on their own core, in a fresh directory, on free ports, and asked what they used."""

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from bench.load.process import LoadError, raise_descriptor_limit

_START_SECONDS: Final = 20.0
_STOP_SECONDS: Final = 10.0
_PORTS: Final = (5_000, 12_000)
_NGINX_MODULES: Final = (Path("/usr/lib/nginx/modules"), Path("/usr/lib64/nginx/modules"), Path("/usr/share/nginx/modules"))

_NGINX_CONFIG: Final = """\
{load_module}
worker_processes 1;
worker_rlimit_nofile 16384;
daemon off;
pid {home}/nginx.pid;
error_log {home}/error.log error;
{user}
events {{ worker_connections 16384; }}
rtmp {{
    access_log off;
    server {{
        listen 127.0.0.1:{rtmp_port} so_keepalive=off;
        chunk_size 60000;
        application live {{ live on; wait_key on; wait_video on; }}
    }}
}}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    open_file_cache max=1000;
    keepalive_requests 1000000000;
    keepalive_timeout 600;
    default_type application/octet-stream;
    types {{ application/vnd.apple.mpegurl m3u8; video/mp4 m4s mp4; }}
    client_body_temp_path {home}; proxy_temp_path {home}; fastcgi_temp_path {home};
    uwsgi_temp_path {home}; scgi_temp_path {home};
    server {{ listen 127.0.0.1:{http_port} backlog=4096; root {home}/www; }}
}}
"""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a row asks of a server. ``latency`` in ms: the longest that ours may hold data back."""

    latency: int = 100
    seconds: float = 10.0
    hls_always: bool = False


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now, below those that the kernel gives to outgoing connections: one of these might take it."""
    ports: set[int] = set()
    while len(ports) < count:
        port = random.randrange(*_PORTS)  # noqa: S311 - no secret
        with socket.socket() as link, contextlib.suppress(OSError):
            link.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            link.bind(("0.0.0.0", port))
            ports.add(port)
    return list(ports)


class Running:
    """A server process in a directory of its own, pinned to one core; ``with`` it."""

    app = "live"

    def __init__(self, name: str, cpu: int | None) -> None:
        self.name = name
        self.home = Path(tempfile.mkdtemp(prefix="bench-"))
        self.rtmp_port, self.http_port = free_ports(2)
        self._cpu = cpu
        self._log = (self.home / "log").open("wb")
        self._process: subprocess.Popen[bytes] | None = None

    def _spawn(self, command: list[str], environment: dict[str, str]) -> None:
        cpu = self._cpu

        def prepare() -> None:
            if cpu is not None:
                os.sched_setaffinity(0, {cpu})
            raise_descriptor_limit()

        self._process = subprocess.Popen(
            command,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            preexec_fn=prepare,  # noqa: PLW1509 - this process has no threads
        )

    def __enter__(self) -> Self:
        try:
            self._wait_for_ports()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        process = self._process
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._log.close()
        shutil.rmtree(self.home, ignore_errors=True)

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    def _wait_for_ports(self) -> None:
        until = time.monotonic() + _START_SECONDS
        for port in (self.rtmp_port, self.http_port):
            while True:
                with socket.socket() as link:
                    if link.connect_ex(("127.0.0.1", port)) == 0:
                        break
                if self._process is None or self._process.poll() is not None or time.monotonic() > until:
                    raise LoadError(f"{self.name} did not start:\n{self.log_tail()}")
                time.sleep(0.05)

    def log_tail(self) -> str:
        """The end of what it wrote, for a report of why it failed."""
        texts = [file.read_text(errors="replace") for file in (self.home / "log", self.home / "error.log") if file.exists()]
        return "\n".join(texts)[-2000:]


class Nginx(Running):
    """nginx with its RTMP module, tuned: one worker, no access log, chunks of 60 000, sendfile, files kept open."""

    def __init__(self, cpu: int | None, settings: Settings) -> None:  # noqa: ARG002 - it has no latency to set
        super().__init__("nginx", cpu)
        binary = nginx_binary()
        if binary is None:
            raise LoadError(MISSING_NGINX)
        (self.home / "www").mkdir()
        module = rtmp_module()
        config = self.home / "nginx.conf"
        config.write_text(
            _NGINX_CONFIG.format(
                load_module=f"load_module {module};" if module else "",
                user="user root;" if os.geteuid() == 0 else "",
                home=self.home,
                rtmp_port=self.rtmp_port,
                http_port=self.http_port,
            )
        )
        self._spawn([binary, "-p", str(self.home), "-c", str(config)], {})


class Ours(Running):
    """This server, with its defaults but for the latency budget."""

    #: What is run, and what else it is told in its environment.
    module = "mediaserver"

    def environment(self) -> Mapping[str, str]:
        """Settings beyond those of all rows; the place to put files into ``home`` before it starts."""
        return {}

    def __init__(self, cpu: int | None, settings: Settings) -> None:
        super().__init__("ours", cpu)
        values = {
            "RTMP__HOST": "127.0.0.1",
            "RTMP__PORT": str(self.rtmp_port),
            "RTMP__MAX_LATENCY": str(settings.latency),
            "RTMP__IDLE_TIMEOUT": str(int(60 + settings.seconds * 3)),
            "HTTP__HOST": "127.0.0.1",
            "HTTP__PORT": str(self.http_port),
            "HLS__ALWAYS": str(settings.hls_always).lower(),
            "AUTH__PUBLISH": "open",
            "SERVER__DATA_DIR": str(self.home / "data"),
            "SERVER__LOG_LEVEL": "warning",
        }
        root = Path(__file__).resolve().parent.parent
        config = root / "config.toml"
        command = [sys.executable, "-m", self.module, "serve", "--config", str(config)]
        settings_ = {f"MEDIASERVER__{key}": value for key, value in values.items()}
        self._spawn(command, {"PYTHONPATH": str(root), **settings_, **self.environment()})


MISSING_NGINX: Final = "nginx with its RTMP module is not installed (Debian: apt install nginx-light libnginx-mod-rtmp)"


def nginx_binary() -> str | None:
    """nginx, also where a user's PATH does not have it."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/local/nginx/sbin")


def rtmp_module() -> Path | None:
    """The RTMP module, when it is a loadable one."""
    return next((file for folder in _NGINX_MODULES if (file := folder / "ngx_rtmp_module.so").exists()), None)
