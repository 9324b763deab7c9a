"""The commands of ``mediaserver``. Exit status: 0 all is well, 1 it cannot serve here, 2 the configuration is wrong."""

import contextlib
import os
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from mediaserver.config import Config

CANNOT_SERVE = 1
BAD_CONFIG = 2
DEMO_NAME = "demo"

app = typer.Typer(
    name="mediaserver",
    help="A live media server: push RTMP in, watch it by LL-HLS, DASH, HTTP-FLV and RTMP.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", "-c", metavar="FILE", help="Settings (TOML). Without it: the defaults. See: mediaserver config"),
]


@app.command()
def serve(config: ConfigFile = None) -> None:
    """Serve until Ctrl-C (or SIGTERM), which lets players have what is on its way."""
    _serve(_load(config), config)


@app.command()
def demo(config: ConfigFile = None) -> None:
    """Serve, and publish colour bars with a clock, so that there is something to watch at once."""
    loaded = _load(config)
    if loaded.auth.publish == "keys":
        _fail(BAD_CONFIG, 'the demo publishes without a stream key: set auth.publish = "open" (MEDIASERVER__AUTH__PUBLISH=open)')
    _serve(loaded, config, demo=True)


@app.command()
def doctor(config: ConfigFile = None) -> None:
    """Say what this machine can do, and the remedy for what it cannot. Exit status 1 if it cannot serve."""
    from mediaserver.doctor import examine  # noqa: PLC0415

    raise typer.Exit(CANNOT_SERVE if examine(_load(config)) else 0)


@app.command("config")
def settings(
    check: Annotated[
        Path | None, typer.Option("--check", metavar="FILE", help="Say whether the server would start with FILE.")
    ] = None,
) -> None:
    """Print every setting with its default and what it means: redirect it into a file to begin your own."""
    if check is None:
        typer.echo(_manual(), nl=False)
    else:
        _load(check)
        typer.echo(f"{check}: fine")


@app.callback(invoke_without_command=True)
def options(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """A live media server: push RTMP in, watch it by LL-HLS, DASH, HTTP-FLV and RTMP."""
    if version:
        typer.echo(f"mediaserver {_version()}")
        raise typer.Exit


def main() -> None:
    """What the program ``mediaserver`` and ``python -m mediaserver`` run."""
    app(prog_name="mediaserver")


def _load(file: Path | None) -> "Config":
    from mediaserver.config import ConfigError, load  # noqa: PLC0415

    try:
        return load(file, os.environ)
    except ConfigError as error:
        _fail(BAD_CONFIG, str(error))


def _fail(status: int, text: str) -> NoReturn:
    typer.echo(text, err=True)
    raise typer.Exit(status)


def _serve(config: "Config", file: Path | None, *, demo: bool = False) -> None:
    from mediaserver import logs, preflight  # noqa: PLC0415

    if problems := [problem for problem in map(preflight.obstacle, preflight.listeners(config)) if problem]:
        _fail(CANNOT_SERVE, "\n".join(problems))
    _make_data_dir(config)
    logs.configure(
        config.server.log_level, config.server.log_format, [key.get_secret_value() for key in config.auth.stream_keys.values()]
    )
    config = _within_descriptors(config)
    import uvloop  # noqa: PLC0415

    from mediaserver.__main__ import serve  # noqa: PLC0415

    try:
        uvloop.run(serve(config, demo=demo, ready=lambda: _say_ready(config, file, demo=demo)))
    except OSError as error:
        _fail(CANNOT_SERVE, f"cannot serve: {error}")
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _make_data_dir(config: "Config") -> None:
    try:
        Path(config.server.data_dir).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _fail(CANNOT_SERVE, f"{config.server.data_dir}: {error.strerror}: choose another server.data_dir")


def _within_descriptors(config: "Config") -> "Config":
    """No more connections than this process may open sockets: the next one is refused in order, not by an error."""
    from mediaserver.preflight import OWN_DESCRIPTORS, raise_descriptor_limit  # noqa: PLC0415

    most = max(1, raise_descriptor_limit() - OWN_DESCRIPTORS)
    if most >= config.limits.max_connections:
        return config
    return config.model_copy(update={"limits": config.limits.model_copy(update={"max_connections": most})})


def _say_ready(config: "Config", file: Path | None, *, demo: bool) -> None:
    from mediaserver.preflight import reachable  # noqa: PLC0415

    rtmp, http, name = config.rtmp, config.http, DEMO_NAME if demo else "show"
    server = f"rtmp://{reachable(rtmp.host)}:{rtmp.port}/{rtmp.app}"
    pages = config.server.public_url or f"{'https' if http.tls_cert else 'http'}://{reachable(http.host)}:{http.port}"
    keys = config.auth.publish == "keys"
    lines = [
        f"mediaserver {_version()} is ready.",
        "",
        f"  Push    OBS: Settings > Stream > Service: Custom...   Server: {server}",
        f"          Stream Key: {'one of auth.stream_keys' if keys else 'any name, such as show'}",
        f"          ffmpeg -re -i FILE -c:v libx264 -bf 2 -g 60 -c:a aac -f flv {server}/{'KEY' if keys else 'show'}",
        f"  Watch   {pages}/watch/{name}   (everything that is live: {pages}/)",
        f"  Config  {file.resolve() if file else 'the defaults; begin your own: mediaserver config > my.toml'}",
        "",
        "Ctrl-C stops it.",
        "",
    ]
    if rtmp.tls_port:
        lines.insert(3, f"          or with TLS: rtmps://{reachable(rtmp.host)}:{rtmp.tls_port}/{rtmp.app}")
    with contextlib.suppress(OSError, ValueError):  # nobody listens: not a reason to stop
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()


def _version() -> str:
    try:
        return metadata.version("mediaserver")
    except metadata.PackageNotFoundError:  # run from its source, not installed
        import tomllib  # noqa: PLC0415

        return str(tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))["project"]["version"])


def _manual() -> str:
    """config.toml: inside the package when installed, beside it in the source."""
    inside, beside = Path(__file__).with_name("config.toml"), Path(__file__).parents[1] / "config.toml"
    return (inside if inside.exists() else beside).read_text("utf-8")
