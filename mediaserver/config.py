"""Every setting of the server: its name, its default and what it may be. ``config.toml`` is the same list with words.

A value comes from the default, the TOML file, or a variable ``MEDIASERVER__TABLE__KEY``; the later one wins.
"""

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from mediaserver.config_checks import contradictions
from mediaserver.config_file import ConfigError, from_text, read, shown
from mediaserver.config_values import (
    SAYS_WHY,
    Address,
    Count,
    DatabaseUrl,
    Days,
    File,
    Folder,
    Folders,
    Host,
    Networks,
    Origins,
    Password,
    Patience,
    Port,
    PortOrOff,
    RedisUrl,
    SharedSecret,
    SigningSecret,
    Site,
    Span,
    StreamKeys,
    Switch,
    Timeout,
    without_nul,
)

ENV_PREFIX = "MEDIASERVER__"


class _Table(BaseModel):
    # Strict: `port = true` and `port = "1935"` are slips of the pen, not a port. hide_input_in_errors: no secret in a repr.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    _no_nul = field_validator("*")(without_nul)


class ServerConfig(_Table):
    """The process as a whole."""

    data_dir: Annotated[Folder, Field(min_length=1, description="the path of a folder")] = "data"
    public_url: Site = ""
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
    auth_secret: SharedSecret = SecretStr("")
    reconnect_grace: Patience = 10.0
    slate: Annotated[str, Field(description='"", "plain" or the path of a file')] = ""
    slate_longest: Patience = 60.0
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
    trusted_proxies: Networks = ()
    cors_origins: Origins = ("*",)
    newcomers_per_address: Annotated[int, Field(ge=1, le=100_000, description="a number from 1 to 100000")] = 100
    nginx_status_url: Address = ""
    header_timeout: Timeout = 10.0
    keepalive_timeout: Timeout = 75.0
    send_timeout: Timeout = 30.0


class AuthConfig(_Table):
    """Who may publish."""

    publish: Annotated[Literal["open", "keys"], Field(description='one of "open", "keys"')] = "open"
    stream_keys: StreamKeys = Field(default_factory=dict)
    jwt_secret: SigningSecret = SecretStr("")
    token_ttl: Annotated[float, Field(ge=60, le=86400, allow_inf_nan=False, description="seconds from 60 to 86400")] = 3600.0
    # Two bounds and a plain pattern: Unicode's letters 64 times over are 6 MB to the library that matches them.
    admin_username: Annotated[
        str, Field(min_length=2, max_length=64, pattern=r"^[\w.+-]+$", description="2 to 64 letters, digits and . _ + -")
    ] = "admin"
    admin_password: Password = SecretStr("")


class DatabaseConfig(_Table):
    """Where accounts, streams and figures are kept."""

    url: DatabaseUrl = SecretStr("")


class RedisConfig(_Table):
    """What several servers share."""

    url: RedisUrl = SecretStr("")


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
    directory: Annotated[Folder, Field(description='the path of a folder, or "" for recordings in server.data_dir')] = ""
    format: Annotated[Literal["mp4", "ts", "flv", "mkv"], Field(description='one of "mp4", "ts", "flv", "mkv"')] = "mp4"
    fsync: Annotated[Literal["part", "file", "never"], Field(description='one of "part", "file", "never"')] = "part"
    split_duration: Annotated[float, Field(ge=0, le=604800, allow_inf_nan=False, description="seconds from 0 to 604800")] = 0.0
    split_bytes: Annotated[int, Field(ge=0, description="bytes, 0 or more")] = 0
    retention: Days = 0.0
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
    file_roots: Folders = ()
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
    keep: Days = 30.0


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
        source.values = read(file)
    problems = list(_override(source, env))
    try:
        config = Config.model_validate(source.values)
    except ValidationError as error:
        problems += [_tell(source, detail) for detail in error.errors(include_url=False)]
    else:
        problems += [f"{source.where(table, key)} {text}" for table, key, text in contradictions(config)]
    if problems:
        raise ConfigError(problems)
    return config


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
            values[key] = from_text(env[variable], TABLES[table].model_fields[key].get_default(call_default_factory=True))
            source.variables[table, key] = variable


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
    given = "that value" if _is_secret(fields[key]) else shown(detail["input"])
    also = f" ({detail['msg']})" if detail["type"] == SAYS_WHY else ""
    return f"{where}: {given} is not allowed; allowed: {fields[key].description}{also}"


def _is_secret(field: FieldInfo) -> bool:
    return SecretStr in (field.annotation, *get_args(field.annotation))


def _nearest(word: str, words: list[str], prefix: str = "") -> str:
    found = difflib.get_close_matches(word, words, 1)
    return f"; did you mean {prefix}{found[0]}?" if found else ""
