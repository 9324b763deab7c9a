"""Every setting of the server: its name, its default and what it may be. ``config.toml`` is the same list with words.

A value comes from the default, the TOML file, or a variable ``MEDIASERVER__TABLE__KEY``; the later one wins.
"""

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_core import ErrorDetails

from mediaserver.ports import objection_to

ENV_PREFIX = "MEDIASERVER__"


class ConfigError(Exception):
    """The configuration cannot be used. Each of ``problems`` names file or variable, key, value and what is allowed."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


#: Bytes of a secret that programs share: what people would choose is shorter.
LEAST_SHARED_SECRET = 16


def _networks(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        ip_network(value)
    return values


def _origins(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if value != "*" and (not value.startswith(("http://", "https://")) or value.count("/") != 2):
            raise ValueError(value)
    return values


def _keys(values: Mapping[str, SecretStr]) -> Mapping[str, SecretStr]:
    for name, key in values.items():
        # Behind a question mark an encoder's key is a query.
        if objection_to(name) or not re.fullmatch(r"[^\s?\x00-\x1f\x7f]+", key.get_secret_value()):
            raise ValueError(name)
    if len({key.get_secret_value() for key in values.values()}) < len(values):
        raise ValueError("twice")
    return values


def _long(secret: SecretStr) -> SecretStr:
    if 0 < len(secret.get_secret_value().encode()) < LEAST_SHARED_SECRET:
        raise ValueError("short")
    return secret


# The description of each type is what an error message says is allowed.
Switch = Annotated[bool, Field(description="true or false")]
Port = Annotated[int, Field(ge=1, le=65535, description="a port number from 1 to 65535")]
PortOrOff = Annotated[int, Field(ge=0, le=65535, description="a port number from 1 to 65535, or 0 for none")]
Host = Annotated[
    str, Field(min_length=1, pattern=r"^\S+$", description='an address to listen on, such as "0.0.0.0", "::" or "127.0.0.1"')
]
File = Annotated[str, Field(description='the path of a file, or "" for none')]
Timeout = Annotated[float, Field(ge=0.1, le=3600, allow_inf_nan=False, description="seconds from 0.1 to 3600")]
Patience = Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False, description="seconds from 0 to 3600")]
Span = Annotated[float, Field(ge=0.1, le=2_592_000, allow_inf_nan=False, description="seconds from 0.1 to 2592000")]
Days = Annotated[float, Field(ge=0, le=36500, allow_inf_nan=False, description="days from 0 to 36500")]
Count = Annotated[int, Field(ge=1, le=1_000_000, description="a whole number from 1 to 1000000")]


class _Table(BaseModel):
    # Strict: `port = true` and `port = "1935"` are slips of the pen, not a port. hide_input_in_errors: no secret in a repr.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class ServerConfig(_Table):
    """The process as a whole."""

    data_dir: Annotated[str, Field(min_length=1, description="the path of a folder")] = "data"
    public_url: Annotated[
        str, Field(pattern=r"^(https?://[^\s/?#@]+)?$", description='"https://HOST" or "http://HOST:PORT" without a path, or ""')
    ] = ""
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Field(description='one of "debug", "info", "warning", "error"')
    ] = "info"
    log_format: Annotated[Literal["text", "json"], Field(description='one of "text", "json"')] = "text"
    allow_private_targets: Switch = False


class RtmpConfig(_Table):
    """Encoders push here, and RTMP players play from here. Seconds, but for ``max_latency`` (milliseconds)."""

    host: Host = "0.0.0.0"
    port: Port = 1935
    tls_port: PortOrOff = 0
    tls_cert: File = ""
    tls_key: File = ""
    app: Annotated[
        str,
        Field(
            pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$", description="1 to 64 letters, digits, - or _, a letter or digit first"
        ),
    ] = "live"
    handshake_timeout: Timeout = 10.0
    idle_timeout: Timeout = 30.0
    max_latency: Annotated[int, Field(ge=0, le=5000, description="milliseconds from 0 to 5000")] = 100
    takeover: Switch = False
    auth_secret: Annotated[
        SecretStr, AfterValidator(_long), Field(strict=False, description='16 bytes or more, or "" for none')
    ] = SecretStr("")
    reconnect_grace: Patience = 10.0
    slate_after: Annotated[float, Field(ge=1, le=3600, allow_inf_nan=False, description="seconds from 1 to 3600")] = 2.5
    wait_for_publisher: Patience = 0.0
    slow_timeout: Timeout = 15.0
    gop_max_bytes: Annotated[int, Field(ge=0, le=1 << 30, description="bytes from 0 to 1073741824")] = 16 << 20
    gop_max_seconds: Annotated[float, Field(ge=0, le=120, allow_inf_nan=False, description="seconds from 0 to 120")] = 20.0


class HttpConfig(_Table):
    """Players and people come here. Seconds."""

    host: Host = "0.0.0.0"
    port: Port = 8080
    tls_cert: File = ""
    tls_key: File = ""
    trusted_proxies: Annotated[
        tuple[str, ...],
        AfterValidator(_networks),
        Field(strict=False, description='a list of addresses or networks, such as ["127.0.0.1", "10.0.0.0/8"]'),
    ] = ()
    cors_origins: Annotated[
        tuple[str, ...],
        AfterValidator(_origins),
        Field(strict=False, description='a list of origins, such as ["https://example.com"], or ["*"] for all'),
    ] = ("*",)
    newcomers_per_address: Annotated[int, Field(ge=1, le=100_000, description="a number from 1 to 100000")] = 100
    nginx_status_url: Annotated[
        str, Field(pattern=r"^(https?://\S+)?$", description='"http://HOST:PORT/PATH", or "" for none')
    ] = ""
    header_timeout: Timeout = 10.0
    keepalive_timeout: Timeout = 75.0
    send_timeout: Timeout = 30.0


class AuthConfig(_Table):
    """Who may publish."""

    publish: Annotated[Literal["open", "keys"], Field(description='one of "open", "keys"')] = "open"
    stream_keys: Annotated[
        Mapping[str, SecretStr],
        AfterValidator(_keys),
        Field(description='a table of NAME = "KEY": names of letters, digits and ._+~-, keys without space or "?", none twice'),
    ] = Field(default_factory=dict)
    jwt_secret: Annotated[SecretStr, Field(strict=False, description='32 bytes or more, or "" for one of its own')] = SecretStr(
        ""
    )
    token_ttl: Annotated[float, Field(ge=60, le=86400, allow_inf_nan=False, description="seconds from 60 to 86400")] = 3600.0
    # Two bounds and a plain pattern: Unicode's letters 64 times over are 6 MB to the library that matches them.
    admin_username: Annotated[
        str, Field(min_length=2, max_length=64, pattern=r"^[\w.+-]+$", description="2 to 64 letters, digits and . _ + -")
    ] = "admin"
    admin_password: Annotated[SecretStr, Field(strict=False, description='a password, or "" for one that is made')] = SecretStr(
        ""
    )


class DatabaseConfig(_Table):
    """Where accounts, streams and figures are kept."""

    url: Annotated[
        SecretStr,
        Field(strict=False, description='"" or "sqlite:///FILE" for a file, "postgresql://USER:PASSWORD@HOST/NAME"'),
    ] = SecretStr("")


class RedisConfig(_Table):
    """What several servers share."""

    url: Annotated[SecretStr, Field(strict=False, description='"redis://HOST:PORT/NUMBER", or "" for none')] = SecretStr("")


class HlsConfig(_Table):
    """Packaging for HLS and DASH. Seconds, but for ``window`` (segments)."""

    always: Switch = False
    segment_duration: Annotated[float, Field(ge=0.5, le=30, allow_inf_nan=False, description="seconds from 0.5 to 30")] = 2.0
    part_duration: Annotated[float, Field(ge=0.1, le=5, allow_inf_nan=False, description="seconds from 0.1 to 5")] = 0.2
    window: Annotated[int, Field(ge=3, le=1000, description="a whole number of segments from 3 to 1000")] = 7
    dvr: Annotated[float, Field(ge=0, le=86400, allow_inf_nan=False, description="seconds from 0 to 86400")] = 0.0
    idle_timeout: Timeout = 30.0


class TranscodeConfig(_Table):
    """Renditions of a stream. Seconds, but for ``memory`` (bytes)."""

    encoder: Annotated[str, Field(pattern=r"^[a-z0-9_]{2,40}$", description='"auto", or the name of an encoder of FFmpeg')] = (
        "auto"
    )
    policy: Annotated[
        Literal["software", "drop_rung", "passthrough", "fail"],
        Field(description='one of "software", "drop_rung", "passthrough", "fail"'),
    ] = "software"
    preset: Annotated[
        Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow"],
        Field(description='one of "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow"'),
    ] = "veryfast"
    ladder: Annotated[
        tuple[Literal["2160p", "1440p", "1080p", "720p", "480p", "360p", "240p", "audio"], ...],
        Field(
            strict=False,
            description='a list of "2160p", "1440p", "1080p", "720p", "480p", "360p", "240p", "audio"; empty for none',
        ),
    ] = ()
    keyframe_interval: Annotated[float, Field(ge=0, le=20, allow_inf_nan=False, description="seconds from 0 to 20")] = 0.0
    max_jobs: Count = 8
    max_deaths: Annotated[int, Field(ge=0, le=100, description="a whole number from 0 to 100")] = 5
    memory: Annotated[int, Field(ge=1 << 28, le=1 << 40, description="bytes from 268435456")] = 4 << 30


class RelayConfig(_Table):
    """Relays to other servers. Seconds, but for ``max_backlog_bytes``."""

    connect_timeout: Timeout = 10.0
    stall_timeout: Timeout = 10.0
    max_backlog_bytes: Annotated[int, Field(ge=1 << 16, le=1 << 30, description="bytes from 65536 to 1073741824")] = 8 << 20
    max_backlog_seconds: Timeout = 8.0
    first_retry: Timeout = 1.0
    longest_retry: Timeout = 30.0
    tls_ca: File = ""


class RecordingConfig(_Table):
    """Recordings. Seconds, but for ``retention`` (days) and bytes."""

    always: Switch = False
    directory: Annotated[str, Field(description='the path of a folder, or "" for recordings in server.data_dir')] = ""
    format: Annotated[Literal["mp4", "ts", "flv", "mkv"], Field(description='one of "mp4", "ts", "flv", "mkv"')] = "mp4"
    fsync: Annotated[Literal["part", "file", "never"], Field(description='one of "part", "file", "never"')] = "part"
    split_duration: Annotated[float, Field(ge=0, le=604800, allow_inf_nan=False, description="seconds from 0 to 604800")] = 0.0
    split_bytes: Annotated[int, Field(ge=0, description="bytes, 0 or more")] = 0
    retention: Annotated[float, Field(ge=0, allow_inf_nan=False, description="days, 0 or more")] = 0.0
    retention_bytes: Annotated[int, Field(ge=0, description="bytes, 0 or more")] = 0
    sprites: Switch = False
    min_free_bytes: Annotated[int, Field(ge=0, description="bytes, 0 or more")] = 100_000_000


class PullConfig(_Table):
    """Pulls from elsewhere. Seconds, but for ``memory`` (bytes) and ``max_bitrate`` (bits a second)."""

    timeout: Timeout = 10.0
    longest_retry: Timeout = 30.0
    max_jobs: Count = 50
    max_bitrate: Annotated[int, Field(ge=100_000, le=10_000_000_000, description="bits a second from 100000 to 10000000000")] = (
        200_000_000
    )
    memory: Annotated[int, Field(ge=1 << 28, le=1 << 40, description="bytes from 268435456")] = 1 << 30
    file_roots: Annotated[
        tuple[str, ...], Field(strict=False, description='a list of folders, such as ["/srv/media"]; empty for none')
    ] = ()
    tls_ca: File = ""
    tls_verify: Switch = True


class WebhooksConfig(_Table):
    """How users' servers are told what happens. Seconds, but for ``keep`` (days)."""

    timeout: Annotated[float, Field(ge=0.1, le=60, allow_inf_nan=False, description="seconds from 0.1 to 60")] = 10.0
    max_jobs: Annotated[int, Field(ge=1, le=1000, description="a whole number from 1 to 1000")] = 16
    max_per_user: Count = 20
    retry_first: Span = 5.0
    retry_longest: Span = 14400.0
    retry_for: Span = 86400.0
    disable_after: Span = 432000.0
    keep: Annotated[float, Field(ge=0, allow_inf_nan=False, description="days, 0 or more")] = 30.0


class StatisticsConfig(_Table):
    """What streams did over time. Days."""

    keep_minutes: Days = 7.0
    keep_five_minutes: Days = 31.0
    keep_hours: Days = 400.0
    keep_days: Days = 0.0


class AnalyticsConfig(_Table):
    """Who watched. ``keep`` in days, ``engaged_after`` in seconds."""

    keep: Days = 400.0
    engaged_after: Timeout = 10.0
    country_file: File = ""


class AuditConfig(_Table):
    """Who changed what. Days."""

    keep: Days = 400.0


class LimitsConfig(_Table):
    """What one server takes on."""

    max_connections: Count = 20000
    message_bytes: Annotated[int, Field(ge=65536, le=(1 << 24) - 1, description="bytes from 65536 to 16777215")] = 8 << 20
    reassembly_bytes: Annotated[int, Field(ge=65536, le=1 << 28, description="bytes from 65536 to 268435456")] = 16 << 20
    api_with_token: Count = 1000
    api_without_token: Count = 100
    streaming: Count = 60
    login: Count = 10
    rtmp_auth: Count = 600
    reports: Count = 600
    streams_per_user: Count = 10_000
    destinations_per_user: Count = 100


class Config(_Table):
    """All tables. Made by ``load``, or by keywords in a test: ``Config(rtmp=RtmpConfig(port=1936))``."""

    server: ServerConfig = ServerConfig()
    rtmp: RtmpConfig = RtmpConfig()
    http: HttpConfig = HttpConfig()
    auth: AuthConfig = AuthConfig()
    database: DatabaseConfig = DatabaseConfig()
    redis: RedisConfig = RedisConfig()
    hls: HlsConfig = HlsConfig()
    transcode: TranscodeConfig = TranscodeConfig()
    relay: RelayConfig = RelayConfig()
    recording: RecordingConfig = RecordingConfig()
    pull: PullConfig = PullConfig()
    webhooks: WebhooksConfig = WebhooksConfig()
    statistics: StatisticsConfig = StatisticsConfig()
    analytics: AnalyticsConfig = AnalyticsConfig()
    audit: AuditConfig = AuditConfig()
    limits: LimitsConfig = LimitsConfig()


TABLES: Mapping[str, type[BaseModel]] = {name: type(field.default) for name, field in Config.model_fields.items()}


class _Source:
    """The values as given, and which file or variable gave each, so that a complaint can say where to look."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.values: dict[str, object] = {}
        self.variables: dict[tuple[str, str], str] = {}

    def where(self, table: str, key: str) -> str:
        variable = self.variables.get((table, key))
        return f"{variable}: {table}.{key}" if variable else f"{self.file}: {table}.{key}" if key else f"{self.file}: {table}"


def load(file: Path | None, env: Mapping[str, str]) -> Config:
    """Read ``file`` (None: the defaults alone) and the overrides in ``env``.

    Raises:
        ConfigError: with every problem that was found, not only the first.
    """
    source = _Source(str(file) if file else "defaults")
    if file is not None:
        source.values = _read(file)
    problems = list(_override(source, env))
    try:
        config = Config.model_validate(source.values)
    except ValidationError as error:
        problems += [_tell(source, detail) for detail in error.errors(include_url=False)]
    else:
        problems += [f"{source.where(table, key)} {text}" for table, key, text in _contradictions(config)]
    if problems:
        raise ConfigError(problems)
    return config


def _read(file: Path) -> dict[str, object]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        raise ConfigError([f"{file}: there is no such file"]) from None
    except OSError as error:
        raise ConfigError([f"{file}: cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError as error:
        raise ConfigError([f"{file}: byte {error.start} is not UTF-8; a TOML file is UTF-8 text"]) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{file}: is not valid TOML: {error}"]) from None


def _override(source: _Source, env: Mapping[str, str]) -> Iterator[str]:
    """Lay the variables over the file's values. Yields what is wrong with their names."""
    for variable in sorted(env):
        if not variable.upper().startswith(ENV_PREFIX):
            continue
        table, _, key = variable[len(ENV_PREFIX) :].lower().partition("__")
        if table not in TABLES or key not in TABLES[table].model_fields:
            every = [f"{t}__{k}".upper() for t, model in TABLES.items() for k in model.model_fields]
            nearest = _nearest(variable.upper().removeprefix(ENV_PREFIX), every, ENV_PREFIX)
            yield f"{variable}: names no setting; the form is {ENV_PREFIX}TABLE__KEY{nearest}"
            continue
        values = source.values.setdefault(table, {})
        if isinstance(values, dict):
            values[key] = _from_text(env[variable], TABLES[table].model_fields[key].get_default(call_default_factory=True))
            source.variables[table, key] = variable


def _from_text(text: str, default: object) -> object:
    """A variable's text as a value of the default's type; the text itself where it is none (validation will say so)."""
    match default:
        case bool():
            return {"true": True, "1": True, "false": False, "0": False}.get(text.lower(), text)
        case int() | float():
            try:
                return type(default)(text)
            except ValueError:
                return text
        case tuple():
            return _of_file(text) if text.lstrip().startswith("[") else [part.strip() for part in text.split(",") if part.strip()]
        case Mapping():
            return _table_from_text(text)
        case _:
            return text


def _of_file(text: str) -> object:
    """A value in the file's own words; the text itself where it is none."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _table_from_text(text: str) -> object:
    """A table as the file has it, ``{ one = "1" }``, or ``one=1,two=2``."""
    if text.lstrip().startswith("{"):
        return _of_file(text)
    pairs = (part.partition("=") for part in text.split(",") if part.strip())
    return {name.strip(): value.strip().strip('"') for name, _, value in pairs}


def _tell(source: _Source, detail: ErrorDetails) -> str:
    """One of pydantic's complaints in our words."""
    table, key, *_ = (*(str(step) for step in detail["loc"]), "")
    where = source.where(table, key)
    if table not in TABLES:
        return f"{where}: there is no such table; allowed: {', '.join(TABLES)}{_nearest(table, list(TABLES))}"
    fields = TABLES[table].model_fields
    if not key:
        return f"{where}: must be a table: a line [{table}] and its keys below"
    if key not in fields:
        return f"{where}: there is no such key; allowed: {', '.join(fields)}{_nearest(key, list(fields))}"
    given = "that value" if key == "stream_keys" else repr(detail["input"])
    return f"{where}: {given} is not allowed; allowed: {fields[key].description}"


def _nearest(word: str, words: list[str], prefix: str = "") -> str:
    found = difflib.get_close_matches(word, words, 1)
    return f"; did you mean {prefix}{found[0]}?" if found else ""


def _contradictions(config: Config) -> Iterator[tuple[str, str, str]]:
    """(table, key, what is wrong) for values that are fine alone and not together."""
    for table, file in (("relay", config.relay.tls_ca), ("pull", config.pull.tls_ca)):
        if file and not Path(file).is_file():
            yield table, "tls_ca", f"= {file!r}: there is no such file; allowed: the path of a PEM file"
    if (countries := config.analytics.country_file) and not Path(countries).is_file():
        yield "analytics", "country_file", f"= {countries!r}: there is no such file; allowed: the path of a file, or none"
    rtmp, http, auth, hls, limits = config.rtmp, config.http, config.auth, config.hls, config.limits
    if rtmp.tls_port and not rtmp.tls_cert:
        yield "rtmp", "tls_port", f"= {rtmp.tls_port} needs rtmp.tls_cert and rtmp.tls_key; allowed without them: 0"
    for table, tls in (("rtmp", rtmp), ("http", http)):
        if bool(tls.tls_cert) != bool(tls.tls_key):
            there, gone = ("tls_cert", "tls_key") if tls.tls_cert else ("tls_key", "tls_cert")
            yield table, there, f"is set and {table}.{gone} is not; allowed: both, or neither"
        for key in ("tls_cert", "tls_key"):
            if (file := getattr(tls, key)) and not Path(file).is_file():
                yield table, key, f"= {file!r}: there is no such file; allowed: the path of a PEM file"
    if rtmp.tls_cert and not rtmp.tls_port:
        yield "rtmp", "tls_cert", "has no use without rtmp.tls_port; allowed: both, or neither"
    if len(ports := {"rtmp.port": rtmp.port, "rtmp.tls_port": rtmp.tls_port or -1, "http.port": http.port}) > len(
        set(ports.values())
    ):
        yield from _shared_ports(ports)
    if auth.publish == "open" and auth.stream_keys:
        yield "auth", "stream_keys", 'protects nothing while auth.publish = "open"; set auth.publish = "keys", or remove the keys'
    if hls.part_duration * 2 > hls.segment_duration:
        yield (
            "hls",
            "part_duration",
            f"= {hls.part_duration}: allowed is at most half of hls.segment_duration ({hls.segment_duration})",
        )
    if limits.message_bytes > limits.reassembly_bytes:
        yield (
            "limits",
            "message_bytes",
            f"= {limits.message_bytes}: allowed is at most limits.reassembly_bytes ({limits.reassembly_bytes})",
        )


def _shared_ports(ports: Mapping[str, int]) -> Iterator[tuple[str, str, str]]:
    seen: dict[int, str] = {}
    for name, port in ports.items():
        if port in seen:
            table, key = name.split(".")
            yield table, key, f"= {port} is also {seen[port]}; allowed: a port of its own"
        seen.setdefault(port, name)
