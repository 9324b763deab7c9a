"""The commands of ``mediaserver``. Exit status: 0 all is well, 1 it cannot serve here, 2 the configuration is wrong."""

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import NoReturn, Protocol

from mediaserver.config import Config, load
from mediaserver.config_file import ConfigError
from mediaserver.version import VERSION

CANNOT_SERVE = 1
BAD_CONFIG = 2
DEMO_NAME = "demo"


class Serve(Protocol):
    """What serves until it is told to stop: the composition root's business."""

    def __call__(self, config: Config, *, demo: bool, ready: Callable[[str], None]) -> Coroutine[None, None, None]: ...


def main(serve: Serve, arguments: Sequence[str] | None = None) -> NoReturn:
    """Do what the command line asks, and exit with its status. ``serve`` is what the commands serve and demo run."""
    asked = _parser().parse_args(arguments)
    match asked.command:
        case "serve":
            _serve(serve, _load(asked.config), asked.config)
        case "demo":
            _demo(serve, _load(asked.config), asked.config)
        case "doctor":
            from mediaserver.doctor import examine  # noqa: PLC0415 - looks at more than the server needs

            sys.exit(CANNOT_SERVE if examine(_load(asked.config)) else 0)
        case "config" if asked.check is None:
            sys.stdout.write(_manual())
        case "config":
            _check(asked.check)
        case "recording" if asked.verb == "sprites":
            from mediaserver.recording import sprites  # noqa: PLC0415 - the server needs it only where it is asked for

            sys.exit(sprites.main(asked.files))
        case "recording":
            from mediaserver.recording import faststart  # noqa: PLC0415

            sys.exit(faststart.main(asked.file, asked.out))
    sys.exit(0)


def _parser() -> argparse.ArgumentParser:
    # argparse, because what is imported here stays resident as long as the server.
    parser = argparse.ArgumentParser(
        prog="mediaserver", description="A live media server: push RTMP in, watch it by LL-HLS, DASH, HTTP-FLV and RTMP."
    )
    parser.add_argument("--version", action="version", version=f"mediaserver {VERSION}", help="print the version")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, what in (
        ("serve", "serve until Ctrl-C (or SIGTERM, or a closed terminal), which lets players have what is on its way"),
        ("demo", "serve, and publish colour bars with a clock, so that there is something to watch at once"),
        ("doctor", "say what this machine can do, and the remedy for what it cannot; exit status 1 if it cannot serve"),
    ):
        command = commands.add_parser(name, help=what, description=what[0].upper() + what[1:] + ".")
        command.add_argument(
            "-c", "--config", type=Path, metavar="FILE", help="settings (TOML); without it: the defaults. See: mediaserver config"
        )
    what = "print every setting with its default and what it means: redirect it into a file to begin your own"
    command = commands.add_parser("config", help=what, description=what[0].upper() + what[1:] + ".")
    command.add_argument("--check", type=Path, metavar="FILE", help="say whether FILE is right, and which of its ports are taken")
    what = "make something of a recording that is finished"
    _add_recording(commands.add_parser("recording", help=what, description=what[0].upper() + what[1:] + "."))
    return parser


def _add_recording(command: argparse.ArgumentParser) -> None:
    verbs = command.add_subparsers(dest="verb", required=True, metavar="VERB")
    what = "small pictures in a grid, and a WebVTT file that says when each is shown, for players' seek bars"
    verb = verbs.add_parser("sprites", help=what, description=f"Make {what}; both lie beside FILE.")
    verb.add_argument("files", nargs="+", type=Path, metavar="FILE", help="a finished recording (mp4, ts, flv, mkv)")
    what = "a plain MP4 whose tables come first, for players that must begin or seek at once; nothing is coded anew"
    verb = verbs.add_parser("faststart", help=what, description=f"Write {what}.")
    verb.add_argument("file", type=Path, metavar="FILE", help="a recording (mp4, ts, flv, mkv)")
    verb.add_argument("out", type=Path, metavar="OUT", help="what to write")


def _demo(serve: Serve, config: Config, file: Path | None) -> None:
    if config.auth.publish == "keys":
        _fail(BAD_CONFIG, 'the demo publishes without a stream key: set auth.publish = "open" (MEDIASERVER__AUTH__PUBLISH=open)')
    _serve(serve, config, file, demo=True)


def _load(file: Path | None) -> Config:
    try:
        return load(file, os.environ)
    except ConfigError as error:
        _fail(BAD_CONFIG, str(error))


def _check(file: Path) -> None:
    """Ports come and go, and a server that runs has its own: what is in their way is told, and does not make the file wrong."""
    from mediaserver import preflight  # noqa: PLC0415

    config = _load(file)
    sys.stdout.write(f"{file}: fine\n")
    for problem in filter(None, map(preflight.obstacle, preflight.listeners(config))):
        sys.stdout.write(f"As things are, the server could not start here: {problem}\n")


def _fail(status: int, text: str) -> NoReturn:
    sys.stderr.write(text + "\n")
    sys.exit(status)


def _serve(serve: Serve, config: Config, file: Path | None, *, demo: bool = False) -> None:
    from mediaserver import logs, preflight  # noqa: PLC0415

    if problems := [problem for problem in map(preflight.obstacle, preflight.listeners(config)) if problem]:
        _fail(CANNOT_SERVE, "\n".join(f"{problem} (settings: {file})" if file else problem for problem in problems))
    _make_data_dir(config)
    logs.configure(
        config.server.log_level, config.server.log_format, [key.get_secret_value() for key in config.auth.stream_keys.values()]
    )
    config = _within_descriptors(config)
    import uvloop  # noqa: PLC0415

    from mediaserver.errors import CannotServe  # noqa: PLC0415

    serving = False

    def ready(new_password: str) -> None:
        nonlocal serving
        serving = True
        _say_ready(config, file, new_password, demo=demo)

    try:
        uvloop.run(serve(config, demo=demo, ready=ready))
    except (OSError, CannotServe) as error:
        if serving:
            raise
        _fail(CANNOT_SERVE, f"cannot serve: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


def _make_data_dir(config: Config) -> None:
    try:
        Path(config.server.data_dir).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _fail(CANNOT_SERVE, f"{config.server.data_dir}: {error.strerror}: choose another server.data_dir")


def _within_descriptors(config: Config) -> Config:
    """No more connections than this process may open sockets: the next one is refused, and nothing fails."""
    from mediaserver.preflight import connections_within, descriptors, make_room, raise_descriptor_limit  # noqa: PLC0415

    limit = raise_descriptor_limit()
    make_room(min(limit, descriptors(config, config.limits.max_connections)))
    most = connections_within(config, limit)
    if most >= config.limits.max_connections:
        return config
    return config.model_copy(update={"limits": config.limits.model_copy(update={"max_connections": most})})


def _say_ready(config: Config, file: Path | None, new_password: str, *, demo: bool) -> None:
    from mediaserver.preflight import reachable  # noqa: PLC0415

    rtmp, http = config.rtmp, config.http
    name = DEMO_NAME if demo else next(iter(config.auth.stream_keys), "show")
    server = f"rtmp://{reachable(rtmp.host)}:{rtmp.port}/{rtmp.app}"
    pages = config.server.public_url or f"{'https' if http.tls_cert else 'http'}://{reachable(http.host)}:{http.port}"
    keys = config.auth.publish == "keys"
    key = "any name, such as show"
    if keys:
        key = f"that of {name} in auth.stream_keys" if config.auth.stream_keys else "that of a stream made in the API"
    lines = [
        f"mediaserver {VERSION} is ready.",
        "",
        f"  Push    OBS: Settings > Stream > Service: Custom...   Server: {server}",
        f"          Stream Key: {key}",
        f"          ffmpeg -re -i FILE -c:v libx264 -g 60 -c:a aac -f flv {server}/{'KEY' if keys else 'show'}",
        f"  Watch   {pages}/watch/{name}   (everything that is live: {pages}/)",
        f"  Config  {file.resolve() if file else 'the defaults; begin your own: python -m mediaserver config > my.toml'}",
        "",
        "Ctrl-C stops it.",
        "",
    ]
    if new_password:
        lines.insert(
            -2, f"  Login   {config.auth.admin_username} with the password {new_password} (shown until somebody has logged in)"
        )
    if rtmp.tls_port:
        lines.insert(3, f"          or with TLS: rtmps://{reachable(rtmp.host)}:{rtmp.tls_port}/{rtmp.app}")
    with contextlib.suppress(OSError, ValueError):  # nobody listens: not a reason to stop
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()


def _manual() -> str:
    """config.toml: inside the package when installed, beside it in the source."""
    inside, beside = Path(__file__).with_name("config.toml"), Path(__file__).parents[1] / "config.toml"
    return (inside if inside.exists() else beside).read_text("utf-8")
