"""The rows of the API: lists and details out of a thousand streams beside FastAPI on uvicorn, logins, status while 500 watch,
and what 200 requests a second do to the media loop.
"""

import asyncio
import atexit
import functools
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self
from urllib.request import Request, urlopen

from bench.figures import Figures, percentile
from bench.load.api import ApiReport, ApiSpec, ask_api, request, turns
from bench.load.process import LoadError, LoadProcess, Window
from bench.measure import CONTESTANTS, LOAD_CPU, SERVER_CPU, Meter, Scene, run_scene, sleep_until, window_from_now
from bench.media_rows import BITRATE
from bench.options import Options
from bench.row import Goal, Row, Runs, note_at_most, nothing_lost, ratio_at_least
from bench.servers import Ours, Running, Settings
from bench.web import run_wrk
from control.auth.tokens import Tokens
from control.destinations import models as destination_rows
from control.plane import open_control
from control.secret import server_secret
from control.streams import models as stream_rows
from control.streams import service
from mediaserver.config import Config

STREAMS: Final = 1000
RATE: Final = 200
PLAYERS: Final = 500
CONNECTIONS: Final = 64
_PASSWORD: Final = "a password of the bench"  # noqa: S105
_KEY: Final = "bench"
_LOOSE: Final = str(1_000_000)


# -- the database -----------------------------------------------------------------------------------------------------


async def _fill(folder: Path) -> None:
    """An administrator with a thousand streams, a destination of each."""
    config = Config.model_validate({"server": {"data_dir": str(folder)}, "auth": {"admin_password": _PASSWORD}})
    now = time.time()
    async with open_control(config) as control:
        cipher = await control.vault.cipher()
        async with control.db.write() as tx:
            for number in range(STREAMS):
                key = _KEY if not number else f"key{number}"
                hashed = control.vault.look_up("stream key", key)
                await stream_rows.take_key(tx, hashed, 1)
                stream_id = await stream_rows.insert_stream(
                    tx,
                    {
                        "user_id": 1,
                        "name": f"Stream {number}",
                        "input_type": "rtmp",
                        "input_url": cipher.seal(service.INPUT_URL, f"rtmp://localhost/live/{key}"),
                        "key_hash": hashed,
                        "latency_mode": "normal",
                        "record_enabled": 0,
                        "auto_start": 1,
                        "video_codec": "h264",
                        "audio_codec": "aac",
                        "bitrate_mode": "vbr",
                        "keyframe_interval": 2.0,
                        "qualities": "[]",
                        "created_at": now,
                        "updated_at": now,
                    },
                )
                destination = {"user_id": 1, "stream_id": stream_id, "name": "There", "platform": "twitch", "enabled": 0}
                sealed = cipher.seal(service.STREAM_KEY, "key")
                destination |= {"rtmp_url": "rtmp://example.com/app/", "stream_key": sealed, "created_at": now, "updated_at": now}
                await destination_rows.insert_destination(tx, destination)


@functools.cache
def database() -> Path:
    """A data_dir with all that in it, made once a bench."""
    folder = Path(tempfile.mkdtemp(prefix="bench-api-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    asyncio.run(_fill(folder))
    return folder


# -- the servers ------------------------------------------------------------------------------------------------------


class OursWithApi(Ours):
    """This server with that database and nothing limited, and somebody who looks at its clock."""

    module = "bench.load.watched"
    folder = Path()

    def environment(self) -> Mapping[str, str]:
        shutil.copytree(self.folder, self.home / "data")
        self.lags_file = self.home / "lags.json"
        limits = dict.fromkeys(("API_WITH_TOKEN", "API_WITHOUT_TOKEN", "STREAMING", "LOGIN"), _LOOSE)
        return {"LAGS": str(self.lags_file)} | {f"MEDIASERVER__LIMITS__{key}": value for key, value in limits.items()}

    def lags(self, window: Window) -> Sequence[float]:
        """How late its loop was within ``window``: ms, in order of size."""
        os.kill(self.pid, signal.SIGUSR1)
        until = time.monotonic() + 10
        while not self.lags_file.exists():
            if time.monotonic() > until:
                raise LoadError("nobody has looked at the clock")
            time.sleep(0.05)
        looks = json.loads(self.lags_file.read_text())
        return sorted(late for at, late in looks if window.start <= at < window.end)

    def log_in(self) -> str:
        """An access token."""
        body = json.dumps({"username": "admin", "password": _PASSWORD}).encode()
        asked = Request(f"http://127.0.0.1:{self.http_port}/api/auth/login", body, {"Content-Type": "application/json"})
        with urlopen(asked, timeout=20) as answer:  # noqa: S310 - our own server
            return str(json.load(answer)["access_token"])


class FastApi(Running):
    """FastAPI on uvicorn with uvloop and httptools: one process, no access log."""

    def __init__(self, cpu: int | None, folder: Path) -> None:
        super().__init__("fastapi", cpu)
        self.rtmp_port = self.http_port
        shutil.copytree(folder, self.home / "data")
        root = Path(__file__).resolve().parent.parent
        options = ["--host", "127.0.0.1", "--port", str(self.http_port), "--loop", "uvloop", "--http", "httptools"]
        command = [
            sys.executable,
            "-m",
            "uvicorn",
            "bench.load.peer_api:app",
            *options,
            "--no-access-log",
            "--log-level",
            "warning",
        ]
        self._spawn(command, {"PYTHONPATH": str(root), "FOLDER": str(self.home / "data")})

    def log_in(self) -> str:
        """An access token that it takes: it looks at the signature alone."""
        return Tokens(server_secret("", self.home / "data"), 3600).issue(1, "bench", 0, time.time())


def _ours(folder: Path, settings: Settings) -> OursWithApi:
    OursWithApi.folder = folder
    return OursWithApi(SERVER_CPU, settings)


# -- lists and details ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ApiRow:
    """One GET over keep-alive connections."""

    name: str
    words: str
    path: str
    contestants: tuple[str, ...]
    reference: str | None
    goals: tuple[Goal, ...]
    unit: str = "requests per CPU-s"
    subject: str = "ours"
    saturates: bool = True

    def title(self, options: Options) -> str:  # noqa: ARG002 - the row's signature
        return self.words

    def own_numbers(self, options: Options) -> bool:  # noqa: ARG002 - likewise
        return True

    def run(self, contestant: str, options: Options, past: Runs) -> Figures:  # noqa: ARG002 - likewise
        figures = Figures(contestant)
        folder = database()
        with ExitStack() as stack:
            if contestant == "ours":
                server: OursWithApi | FastApi = stack.enter_context(_ours(folder, Settings(seconds=options.seconds)))
            else:
                server = stack.enter_context(FastApi(SERVER_CPU, folder))
            url = f"http://127.0.0.1:{server.http_port}{self.path}"
            header = f"Authorization: Bearer {server.log_in()}"
            size = _checked(url, header, self.path)
            run_wrk(url, CONNECTIONS, 1.0, LOAD_CPU, [header])  # what is loaded on the first occasion is loaded now
            meter = Meter(server)
            report = run_wrk(url, CONNECTIONS, options.seconds, LOAD_CPU, [header])
            meter.read(figures)
        if not report.requests:
            raise LoadError(f"{server.name} answered nothing at {url}")
        figures.faults, figures.p50, figures.p99 = list(report.faults), report.p50, report.p99
        figures.load_percent = 100 * report.cpu_seconds / figures.seconds
        figures.metric = report.requests / figures.cpu_seconds
        figures.notes |= {"requests_per_second": report.requests / figures.seconds, "body_bytes": size}
        return figures


def _checked(url: str, header: str, path: str) -> int:
    """The size of an answer that has what it should have."""
    name, _, value = header.partition(": ")
    with urlopen(Request(url, headers={name: value}), timeout=20) as answer:  # noqa: S310 - our own server
        body = answer.read()
    seen = json.loads(body)
    if "per_page" in path and (seen["total"], len(seen["streams"])) != (STREAMS, 100):
        raise LoadError(f"that is no list of {STREAMS} streams: {body[:200]!r}")
    return len(body)


# -- what is asked by a load of our own ---------------------------------------------------------------------------------


def _asked(figures: Figures, report: ApiReport) -> None:
    """Requests a second and how long they took; seconds and CPU are in ``figures`` already."""
    latencies = sorted(report.latencies)
    if not latencies:
        raise LoadError("no request was answered")
    figures.p50, figures.p99, figures.worst = percentile(latencies, 0.5), percentile(latencies, 0.99), latencies[-1]
    figures.faults = [*figures.faults, *report.faults]
    figures.notes["requests_per_second"] = len(latencies) / figures.seconds
    figures.load_percent += 100 * report.cpu_seconds / figures.seconds


def _login() -> bytes:
    return request("POST", "/api/auth/login", body=json.dumps({"username": "admin", "password": _PASSWORD}).encode())


@dataclass(frozen=True, slots=True)
class LoginRow:
    """Logins, each connection as fast as it is answered: Argon2 is all that they cost."""

    name: str = "api-login"
    unit: str = "logins per CPU-s"
    contestants: tuple[str, ...] = ("ours",)
    subject: str = "ours"
    reference: str | None = None
    saturates: bool = True
    goals: tuple[Goal, ...] = ()

    def title(self, options: Options) -> str:  # noqa: ARG002 - the row's signature
        return "API: logins on 4 connections"

    def own_numbers(self, options: Options) -> bool:  # noqa: ARG002 - likewise
        return True

    def run(self, contestant: str, options: Options, past: Runs) -> Figures:  # noqa: ARG002 - likewise
        figures = Figures(contestant)
        with ExitStack() as stack:
            server = stack.enter_context(_ours(database(), Settings(seconds=options.seconds)))
            server.log_in()
            spec = ApiSpec(server.http_port, (_login(),), connections=4)
            askers: LoadProcess[ApiSpec, ApiReport] = stack.enter_context(LoadProcess(ask_api, spec, LOAD_CPU))
            askers.wait_ready()
            window = window_from_now(options.seconds)
            askers.measure(window)
            sleep_until(window.start)
            meter = Meter(server)
            sleep_until(window.end)
            meter.read(figures)
            _asked(figures, askers.report())
            lags = server.lags(window)
        figures.metric = figures.notes["requests_per_second"] * figures.seconds / figures.cpu_seconds
        figures.notes["lag_p99"] = percentile(lags, 0.99)
        return figures


# -- beside media -----------------------------------------------------------------------------------------------------


class Callers:
    """People who ask the API while media flows (Beside)."""

    def __init__(self, server: Running, requests: Callable[[str], Sequence[bytes]], connections: int, rate: float) -> None:
        assert isinstance(server, OursWithApi)  # noqa: S101 - the contestants of these rows
        self._server = server
        self._requests = requests
        self._connections = connections
        self._rate = rate
        self._window = Window(0, 0)
        self._askers: LoadProcess[ApiSpec, ApiReport] | None = None

    def __enter__(self) -> Self:
        requests = tuple(self._requests(self._server.log_in()))
        if requests:
            spec = ApiSpec(self._server.http_port, requests, self._connections, self._rate)
            self._askers = LoadProcess(ask_api, spec, LOAD_CPU)
            self._askers.wait_ready()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._askers is not None:
            self._askers.__exit__()

    def begin(self, window: Window) -> None:
        self._window = window
        if self._askers is not None:
            self._askers.measure(window)

    def end(self) -> None:
        self._lags = self._server.lags(self._window)

    def report(self, figures: Figures) -> None:
        media = figures.p99 or 0.0
        if self._askers is not None:
            _asked(figures, self._askers.report())
        figures.notes |= {"media_p99": media, "lag_p50": percentile(self._lags, 0.5), "lag_p99": percentile(self._lags, 0.99)}


def _status(token: str) -> Sequence[bytes]:
    return [request("GET", "/api/streams/1/status", token)]


def _mix(token: str) -> Sequence[bytes]:
    """In 200: lists, details and status alike, and a login."""
    get = [request("GET", path, token) for path in ("/api/streams", "/api/streams/500", "/api/streams/1/status")]
    return turns((67, get[0]), (66, get[1]), (66, get[2]), (1, _login()))


def _nothing(_token: str) -> Sequence[bytes]:
    return []


def _beside(options: Options, requests: Callable[[str], Sequence[bytes]], connections: int, rate: float) -> Figures:
    """One stream of the API's to 500 players, and who asks beside that."""
    OursWithApi.folder = database()
    CONTESTANTS["ours with its API"] = OursWithApi
    scene = Scene((_KEY,), options.bitrate or BITRATE, ("stream_1",) * (options.players or PLAYERS), drain=options.drain)
    settings = Settings(latency=options.latency or 100, seconds=options.seconds)
    return run_scene("ours with its API", scene, settings, lambda server: Callers(server, requests, connections, rate))


@dataclass(frozen=True, slots=True)
class StatusRow:
    """A stream's status, asked for as fast as it is answered while 500 watch it."""

    name: str = "api-status"
    unit: str = "requests per CPU-s"
    contestants: tuple[str, ...] = ("ours",)
    subject: str = "ours"
    reference: str | None = None
    saturates: bool = True
    goals: tuple[Goal, ...] = ()

    def title(self, options: Options) -> str:
        return f"API: the status of a stream with {options.players or PLAYERS} RTMP players, 8 connections"

    def own_numbers(self, options: Options) -> bool:
        return options.players is None and options.bitrate is None

    def run(self, contestant: str, options: Options, past: Runs) -> Figures:  # noqa: ARG002 - the row's signature
        figures = _beside(options, _status, 8, 0.0)
        figures.contestant = contestant
        figures.metric = figures.notes["requests_per_second"] * figures.seconds / figures.cpu_seconds
        return figures


@dataclass(frozen=True, slots=True)
class ApiLagRow:
    """How late the media loop comes to its turns with 500 players, and with 200 requests a second to the API beside them."""

    name: str = "api-lag"
    unit: str = "ms of lag, p99"
    contestants: tuple[str, ...] = ("quiet", "asked")
    subject: str = "asked"
    reference: str | None = None
    saturates: bool = False
    goals: tuple[Goal, ...] = (note_at_most(2.0, "rise", "p99 at most 2 ms above that without"), nothing_lost())

    def title(self, options: Options) -> str:
        return f"the loop's lag with {options.players or PLAYERS} RTMP players, and with {RATE} API requests/s beside them"

    def own_numbers(self, options: Options) -> bool:
        return options.players is None and options.bitrate is None and options.latency is None

    def run(self, contestant: str, options: Options, past: Runs) -> Figures:
        asked = contestant == "asked"
        figures = _beside(options, _mix if asked else _nothing, 16, float(RATE))
        figures.contestant, figures.metric = contestant, figures.notes["lag_p99"]
        before = past.get("quiet")
        if asked and before:
            figures.notes["rise"] = figures.metric - before[-1].metric
        return figures


API_ROWS: Final[tuple[Row, ...]] = (
    ApiRow(
        "api-list",
        f"API: 100 of {STREAMS} streams, {CONNECTIONS} keep-alive connections",
        "/api/streams?per_page=100",
        ("fastapi", "ours"),
        "fastapi",
        (ratio_at_least(1.0, "FastAPI + uvicorn"),),
    ),
    ApiRow(
        "api-page",
        f"API: the first 10 of {STREAMS} streams, {CONNECTIONS} keep-alive connections",
        "/api/streams",
        ("fastapi", "ours"),
        "fastapi",
        (ratio_at_least(1.0, "FastAPI + uvicorn"),),
    ),
    ApiRow(
        "api-detail",
        f"API: one of {STREAMS} streams, {CONNECTIONS} keep-alive connections",
        "/api/streams/500",
        ("ours",),
        None,
        (),
    ),
    LoginRow(),
    StatusRow(),
    ApiLagRow(),
)
