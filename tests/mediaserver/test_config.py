"""config.toml is the manual, and a wrong value says where it stands and what is allowed."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from pydantic import SecretStr

from mediaserver.config import TABLES, AuthConfig, Config, ConfigError, RtmpConfig, load

MANUAL = Path(__file__).parents[2] / "config.toml"


def problems(tmp_path: Path, text: str, env: Mapping[str, str] | None = None) -> list[str]:
    file = tmp_path / "my.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(file, env or {})
    return [problem.replace(str(file), "my.toml") for problem in caught.value.problems]


def test_the_manual_is_the_defaults_key_by_key() -> None:
    manual = tomllib.loads(MANUAL.read_text("utf-8"))
    defaults = Config().model_dump(mode="json")  # tuples as lists, a secret that is empty as ""
    assert manual == defaults
    assert {t: list(keys) for t, keys in manual.items()} == {t: list(keys) for t, keys in defaults.items()}, "same order"
    assert load(MANUAL, {}) == load(None, {}) == Config()


def test_each_key_of_the_manual_has_a_sentence_above_it() -> None:
    lines = MANUAL.read_text("utf-8").splitlines()
    for number, line in enumerate(lines):
        if re.match(r"\w+ = ", line):
            assert lines[number - 1].startswith("# "), line


#: What stands for something of one's own in an example, and what that may be.
PLACES = {
    "HOST:PORT": "db.example:5432",
    "USER:PASSWORD": "me:word",
    "FILE": "/srv/mine.file",
    "NAME": "media",
}
#: In quotes, but no value of the setting: another program's word, another setting's value, the beginning of an address.
NO_EXAMPLES = {("rtmp.auth_secret", "secret"), ("auth.stream_keys", "keys"), ("database.url", "postgres://")}


def examples() -> Iterator[tuple[str, str, str]]:
    """Every value that a comment of the manual names, as TOML: its table, its key, and the value."""
    table, comment = "", ""
    for line in MANUAL.read_text("utf-8").splitlines():
        if line.startswith("["):
            table = line.strip("[]")
        elif line.startswith("#"):
            comment += line[1:]
        elif found := re.match(r"(\w+) = (.)", line):
            key, of_many = found[1], found[2] == "["
            for value in re.findall(r'\[[^]]*\]|\{[^}]*\}|"[^"]*"', comment):
                if (f"{table}.{key}", value.strip('"')) not in NO_EXAMPLES:
                    whole = f"[{value}]" if of_many and value[0] == '"' else value
                    yield table, key, re.sub("|".join(PLACES), lambda place: PLACES[place[0]], whole)
        if not line.startswith("#"):
            comment = ""


def test_each_example_of_the_manual_can_be_copied_into_a_file(tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    given = list(examples())
    for table, key, value in given:
        keys = 'publish = "keys"\n' if key == "stream_keys" else ""
        file.write_text(f"[{table}]\n{keys}{key} = {value}\n")
        taken = getattr(getattr(load(file, {}), table), key)
        assert isinstance(taken, SecretStr) or bool(taken) or value == '""', (table, key, value)
    settings = {f"{table}.{key}" for table, key, _ in given}
    assert settings >= {"auth.stream_keys", "http.cors_origins", "http.trusted_proxies", "rtmp.host", "database.url"}


def test_the_variables_in_the_manual_s_examples_are_taken() -> None:
    variables = dict(re.findall(r"(MEDIASERVER__\w+)=(\S+?)(?:,?\s)", MANUAL.read_text("utf-8")))
    assert len(variables) == 2
    load(None, variables)


def test_each_setting_says_what_is_allowed() -> None:
    for table, model in TABLES.items():
        for key, field in model.model_fields.items():
            assert field.description, f"{table}.{key}"


def test_a_file_sets_and_the_environment_wins(tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    file.write_text('[rtmp]\nport = 1936\napp = "show"\n[http]\ntrusted_proxies = ["10.0.0.0/8"]\n')
    env = {
        "MEDIASERVER__RTMP__PORT": "1937",
        "HOME": "/",
        "MEDIASERVER__HTTP__CORS_ORIGINS": "https://a.example, https://b.example",
    }
    config = load(file, env)
    assert (config.rtmp.port, config.rtmp.app) == (1937, "show")
    assert config.http.trusted_proxies == ("10.0.0.0/8",)
    assert config.http.cors_origins == ("https://a.example", "https://b.example")


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        ("MEDIASERVER__RTMP__TAKEOVER", "true", True),
        ("MEDIASERVER__RTMP__TAKEOVER", "0", False),
        ("MEDIASERVER__RTMP__IDLE_TIMEOUT", "7", 7.0),
        ("MEDIASERVER__RTMP__MAX_LATENCY", "20", 20),
        ("MEDIASERVER__RTMP__HOST", "::", "::"),
        ("MEDIASERVER__HTTP__CORS_ORIGINS", "", ()),
        (
            "MEDIASERVER__HTTP__CORS_ORIGINS",
            '["https://a.example", "https://b.example"]',
            ("https://a.example", "https://b.example"),
        ),
        ("mediaserver__rtmp__port", "1940", 1940),
    ],
)
def test_a_variable_is_read_as_its_setting_s_type(variable: str, text: str, value: object) -> None:
    _, table, key = variable.lower().split("__")
    assert getattr(getattr(load(None, {variable: text}), table), key) == value


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[rtmp]\nport = 0", "my.toml: rtmp.port: 0 is not allowed; allowed: a port number from 1 to 65535"),
        ("[rtmp]\nport = true", "my.toml: rtmp.port: True is not allowed; allowed: a port number from 1 to 65535"),
        ('[rtmp]\nport = "1935"', "my.toml: rtmp.port: '1935' is not allowed; allowed: a port number from 1 to 65535"),
        ("[rtmp]\ntakeover = 1", "my.toml: rtmp.takeover: 1 is not allowed; allowed: true or false"),
        ("[hls]\ndvr = nan", "my.toml: hls.dvr: nan is not allowed; allowed: seconds from 0 to 86400"),
        ("[rtmp]\nidle_timeout = inf", "my.toml: rtmp.idle_timeout: inf is not allowed; allowed: seconds from 0.1 to 3600"),
        ('[auth]\npublish = "all"', """my.toml: auth.publish: 'all' is not allowed; allowed: one of "open", "keys\""""),
        ("[server]\ndata_dir = ''", "my.toml: server.data_dir: '' is not allowed; allowed: the path of a folder"),
        ("rtmp = 3", "my.toml: rtmp: must be a table: a line [rtmp] and its keys below"),
    ],
)
def test_a_bad_value_names_file_key_value_and_what_is_allowed(tmp_path: Path, text: str, told: str) -> None:
    assert problems(tmp_path, text) == [told]


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("[rtmp]\nprot = 1", "my.toml: rtmp.prot: there is no such key; allowed: host, port, ", "; did you mean port?"),
        ("[rtpm]\nport = 1", "my.toml: rtpm: there is no such table; allowed: server, rtmp, ", "; did you mean rtmp?"),
        ("[rtmp\nport = 1", "my.toml: is not valid TOML: ", "(at line 1, column 6)"),
        ('[http]\ncors_origins = ["a.example"]', "my.toml: http.cors_origins: ['a.example'] is not allowed; ", "for all"),
        ('[http]\ntrusted_proxies = ["10.0.0.1/8"]', "my.toml: http.trusted_proxies: ", '"10.0.0.0/8"]'),
        ('[rtmp]\napp = "a/b"', "my.toml: rtmp.app: 'a/b' is not allowed; allowed: ", "first"),
        ('[server]\npublic_url = "example.com"', "my.toml: server.public_url: 'example.com' is not allowed; ", 'or ""'),
        ("[rtmp]\ntls_port = 1936", "my.toml: rtmp.tls_port = 1936 needs rtmp.tls_cert", "allowed without them: 0"),
        ('[http]\ntls_cert = "x"\ntls_key = "/"', "my.toml: http.tls_cert = 'x': there is no such file; ", "a PEM file"),
        ('[server]\npublic_url = "http://["', "my.toml: server.public_url: 'http://[' is not allowed; ", 'or ""'),
        ('[server]\npublic_url = "http://a:99999"', "my.toml: server.public_url: ", 'or ""'),
        ('[server]\npublic_url = "http://a:0"', "my.toml: server.public_url: ", 'or ""'),
        ('[server]\npublic_url = "http://:80"', "my.toml: server.public_url: ", 'or ""'),
        ('[http]\nnginx_status_url = "http://h:99999/status"', "my.toml: http.nginx_status_url: ", "for none"),
        ('[http]\ncors_origins = ["http://["]', "my.toml: http.cors_origins: ['http://['] is not allowed; ", "for all"),
        ('[rtmp]\nhost = "a..b"', "my.toml: rtmp.host: 'a..b' is not allowed; ", '"::" or "127.0.0.1"'),
        ('[rtmp]\nhost = "localhost:1935"', "my.toml: rtmp.host: 'localhost:1935' is not allowed; ", '"::" or "127.0.0.1"'),
        ('[rtmp]\nhost = "[::]"', "my.toml: rtmp.host: '[::]' is not allowed; ", '"::" or "127.0.0.1"'),
        ('[http]\nhost = "256.1.1.1"', "my.toml: http.host: '256.1.1.1' is not allowed; ", '"::" or "127.0.0.1"'),
        ('[rtmp]\nhost = "1.2.3.4.5"', "my.toml: rtmp.host: '1.2.3.4.5' is not allowed; ", '"::" or "127.0.0.1"'),
        ('[rtmp]\nhost = "::1::"', "my.toml: rtmp.host: '::1::' is not allowed; ", '"::" or "127.0.0.1"'),
        ('[rtmp]\nhost = "live,example"', "my.toml: rtmp.host: 'live,example' is not allowed; ", '"::" or "127.0.0.1"'),
        ('[rtmp]\nhost = "*"', "my.toml: rtmp.host: '*' is not allowed; ", '"::" or "127.0.0.1"'),
        ('[server]\npublic_url = "https://*.example.com"', "my.toml: server.public_url: ", 'or ""'),
        ('[rtmp]\nhost = "\\u0007"', r"my.toml: rtmp.host: '\x07' is not allowed; ", '"::" or "127.0.0.1"'),
        ('[server]\ndata_dir = " "', "my.toml: server.data_dir: ' ' is not allowed; ", "the path of a folder"),
        ('[pull]\nfile_roots = [""]', "my.toml: pull.file_roots: [''] is not allowed; ", "empty for none"),
        ('[pull]\nfile_roots = ["/dev/null"]', "my.toml: pull.file_roots: ['/dev/null'] is not allowed; ", "empty for none"),
        ("[recording]\nretention = 1e300", "my.toml: recording.retention: 1e+300 is not allowed; ", "days from 0 to 36500"),
        (f'[http]\nhost = "{"a" * 70}"', "my.toml: http.host: 'aaa", '"::" or "127.0.0.1"'),
        ("[http]\nport = 1935", "my.toml: http.port = 1935 is also rtmp.port; allowed: ", "a port of its own"),
        ("[hls]\nsegment_duration = 1\npart_duration = 2", "my.toml: hls.part_duration = 2.0: ", "(1.0)"),
        ("[limits]\nmessage_bytes = 100_000\nreassembly_bytes = 70_000", "my.toml: limits.message_bytes = 100000: ", "(70000)"),
    ],
)
def test_an_unusable_setting_is_told(tmp_path: Path, text: str, start: str, end: str) -> None:
    told = problems(tmp_path, text)[0]
    assert told.startswith(start)
    assert told.endswith(end)


@pytest.mark.parametrize(
    "setting",
    [
        'server.public_url = "https://tv.example.org:8443"',
        'server.public_url = "http://[::1]:8080"',
        'server.public_url = "https://bücher.example"',
        'rtmp.host = "::1"',
        'rtmp.host = "fe80::1%eth0"',
        'rtmp.host = "bücher.example."',
        'rtmp.host = "127.1"',
        'http.host = "my_host-2"',
        'database.url = "sqlite:///mine.db"',
        'database.url = "postgresql://me:a%2Fb@[::1]:5432,other:5433/media?sslmode=require"',
        'database.url = "postgresql:///media"',
        'redis.url = "redis://:word@h:6379/1"',
        'redis.url = "rediss://h?ssl_cert_reqs=required&ssl_ca_certs=/etc/ca.pem"',
        'redis.url = "redis://"',
        'redis.url = "redis://h:6379/0?health_check_interval=30&socket_keepalive=true"',
        'redis.url = "redis://h?username=me&password=word&socket_timeout=0.5&socket_connect_timeout=3&max_connections=50"',
        'redis.url = "unix:///run/redis.sock?retry_on_timeout=no&socket_read_size=65536"',
        'recording.directory = "/srv/me@host"',
        'redis.url = "unix:///run/redis.sock?db=1"',
        f'auth.jwt_secret = "{"s" * 32}"',
        f'auth.admin_password = "{"ü" * 1024}"',
    ],
)
def test_what_can_be_is_taken(tmp_path: Path, setting: str) -> None:
    file = tmp_path / "my.toml"
    file.write_text(setting, "utf-8")
    (table, keys), *_ = tomllib.loads(setting).items()
    ((key, value),) = keys.items()
    taken = getattr(getattr(load(file, {}), table), key)
    assert (taken.get_secret_value() if isinstance(taken, SecretStr) else taken) == value


@pytest.mark.parametrize(
    ("setting", "key", "allowed"),
    [
        ('auth.jwt_secret = "canary"', "auth.jwt_secret", "32 bytes or more"),
        (f'auth.admin_password = "{"canary" * 400}"', "auth.admin_password", "at most 1024 characters"),
        ("auth.admin_password = 424242", "auth.admin_password", "at most 1024 characters"),
        ('rtmp.auth_secret = "canary"', "rtmp.auth_secret", "16 bytes or more"),
        ('database.url = "mysql://me:canary@h/media"', "database.url", '"" or "sqlite:///FILE"'),
        ('database.url = "canary"', "database.url", '"" or "sqlite:///FILE"'),
        ('database.url = "postgresql://me:canary@h:99999/media"', "database.url", '"" or "sqlite:///FILE"'),
        ('database.url = "postgresql://me:canary@h:0/media"', "database.url", '"" or "sqlite:///FILE"'),
        ('redis.url = "http://canary@h"', "redis.url", '"redis://HOST:PORT/NUMBER"'),
        ('redis.url = "redis://:canary@h:99999/0"', "redis.url", '"redis://HOST:PORT/NUMBER"'),
        ('redis.url = "redis://:canary@h/first"', "redis.url", '"redis://HOST:PORT/NUMBER"'),
        ('redis.url = "redis://:canary@h:0"', "redis.url", '"redis://HOST:PORT/NUMBER"'),
        ('redis.url = "redis://:canary@h?db=first"', "redis.url", '"redis://HOST:PORT/NUMBER"'),
        ('redis.url = "redis://:canary@h?socket_timeout=soon"', "redis.url", '"redis://HOST:PORT/NUMBER"'),
        ('redis.url = "redis://:canary@h?ssl_cert_reqs=none"', "redis.url", '"redis://HOST:PORT/NUMBER"'),
        ('redis.url = "unix://canary@"', "redis.url", '"redis://HOST:PORT/NUMBER"'),
        ('database.url = "postgresql://me:canary@h/media?sslmode=none"', "database.url", '"" or "sqlite:///FILE"'),
        ('redis.url = "redis://:canary@["', "redis.url", '"redis://HOST:PORT/NUMBER"'),
    ],
)
def test_a_bad_secret_is_told_without_showing_it(tmp_path: Path, setting: str, key: str, allowed: str) -> None:
    (told,) = problems(tmp_path, setting)
    assert told.startswith(f"my.toml: {key}: that value is not allowed; allowed: {allowed}")
    assert not re.search("canary|424242", told)


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("db=1&socket_timout=canary", "socket_timout"),
        ("socket_timeout=canary", "socket_timeout"),
        ("socket_timeout=0.0", "socket_timeout"),
        ("max_connections=0", "max_connections"),
        ("timeout=3", "timeout"),
        ("ssl_ca_certs=canary", "ssl_ca_certs"),
    ],
)
def test_a_parameter_that_redis_does_not_take_is_named(tmp_path: Path, query: str, name: str) -> None:
    (told,) = problems(tmp_path, f'redis.url = "redis://:canary@h?{query}"')
    assert told.endswith(f"(its parameter {name} is not known there, or not with that value)")
    assert "canary" not in told


@pytest.mark.parametrize("url", ["redis://pass?canary=word@h", "redis://h?Canary=1"])
def test_what_may_be_a_password_is_not_taken_for_a_parameter(tmp_path: Path, url: str) -> None:
    (told,) = problems(tmp_path, f'redis.url = "{url}"')
    assert "canary" not in told.lower()


@pytest.mark.parametrize(
    ("setting", "shown"),
    [
        ('http.nginx_status_url = "http://me:canary@h:99999/status"', "'http://…@h:99999/status'"),
        ('http.nginx_status_url = "ftp://me:can/ar?canary@y@h/status?a=canary"', "'ftp://…@h/status?…'"),
        ('server.public_url = "https://canary:@h"', "'https://…@h'"),
        ('server.data_dir = "http://me:canary@h/data"', "'http://…@h/data'"),
        ('recording.directory = "s3://me:canary@bucket"', "'s3://…@bucket'"),
        ('server.public_url = "//me:canary@h"', "'…@h'"),
        ('server.public_url = "me:canary@h"', "'…@h'"),
        ('server.log_level = "postgresql://me:canary@h/media"', "'postgresql://…@h/media'"),
        ('http.cors_origins = ["https://a", "https://me:canary@h"]', "['https://a', 'https://…@h']"),
        ('pull.file_roots = {a = "https://me:canary@h"}', "{'a': 'https://…@h'}"),
        ('rtmp.port = "rtmp://h/live/x?key=canary"', "'rtmp://h/live/x?…'"),
    ],
)
def test_an_address_is_told_without_what_may_be_a_password_in_it(tmp_path: Path, setting: str, shown: str) -> None:
    (told,) = problems(tmp_path, setting)
    assert told.startswith(f"my.toml: {setting.partition(' ')[0]}: {shown} is not allowed; ")
    assert "canary" not in told


@pytest.mark.parametrize(
    "origin",
    [
        "https://example.com/", "https://example.com/page", "example.com", "//example.com", "https://*.example.com", "https://*",
        "http://localhost:*", "HTTPS://example.com", "https://Example.com", "https://bücher.example", "https://example.com:443",
        "http://example.com:80", "http://example.com:080", "http://example.com:", "http://example.com:0", "http://h:99999",
        "https://me@example.com", "https://example.com?a", "https://example.com#a", "https://a b", "https://", "https://a..b",
        "http://[0:0::1]", "http://[::1", "http://127.1", "http://1.2.3.999", "ftp://example.com", "null", "", " ",
    ],
)  # fmt: skip
def test_an_origin_that_no_browser_sends_is_refused(tmp_path: Path, origin: str) -> None:
    (told,) = problems(tmp_path, f'[http]\ncors_origins = ["https://example.com", "{origin}"]')
    assert told.startswith("my.toml: http.cors_origins: ['https://example.com', '")
    assert " is not allowed; allowed: a list of origins as browsers send them" in told


@pytest.mark.parametrize(
    "origin",
    [
        "https://example.com", "http://example.com:443", "https://example.com:80", "http://localhost:3000", "http://127.0.0.1:8080",
        "http://[::1]:8080", "https://[2001:db8::1]", "https://xn--bcher-kva.example", "http://my_host.", "*",
    ],
)  # fmt: skip
def test_an_origin_that_browsers_send_is_taken(tmp_path: Path, origin: str) -> None:
    file = tmp_path / "my.toml"
    file.write_text(f'http.cors_origins = ["{origin}"]')
    assert load(file, {}).http.cors_origins == (origin,)


def test_a_bad_secret_in_a_variable_is_told_without_showing_it(tmp_path: Path) -> None:
    (told,) = problems(tmp_path, "", {"MEDIASERVER__RTMP__AUTH_SECRET": "canary"})
    assert told.startswith("MEDIASERVER__RTMP__AUTH_SECRET: rtmp.auth_secret: that value is not allowed; allowed: 16 bytes")
    assert "canary" not in told


@pytest.mark.parametrize(
    "setting",
    [
        "server.data_dir = {}",
        "recording.directory = {}",
        "rtmp.host = {}",
        "http.tls_cert = {}",
        "pull.file_roots = [{}]",
        "auth.admin_password = {}",
        "analytics.country_file = {}",
    ],
)
def test_no_text_has_a_nul(tmp_path: Path, setting: str) -> None:
    (told,) = problems(tmp_path, setting.format(r'"a\u0000b"'))
    assert told.startswith("my.toml: " + setting.partition(" ")[0])
    assert told.endswith("(and no NUL character in it)")


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("9" * 5000, "my.toml: line 4: a number has too many digits"),
        ("[" * 2000, "my.toml: line 4: lists or tables stand too deep in one another"),
        ("0x" + "f" * 9000, "my.toml: rtmp.port: that value is not allowed; allowed: a port number from 1 to 65535"),
    ],
)
def test_a_value_beyond_all_measure_is_told_with_its_line(tmp_path: Path, value: str, told: str) -> None:
    assert problems(tmp_path, f'[rtmp]\nhost = "::"\n# The port\nport = {value}\ntls_port = 0\n') == [told]


@pytest.mark.parametrize("value", ["[" * 2000, f"[{'9' * 5000}]"])
def test_a_variable_beyond_all_measure_is_told_and_cut_off(tmp_path: Path, value: str) -> None:
    (told,) = problems(tmp_path, "", {"MEDIASERVER__PULL__FILE_ROOTS": value})
    assert told.startswith("MEDIASERVER__PULL__FILE_ROOTS: pull.file_roots: ")
    assert len(told) < 400


def test_a_byte_order_mark_is_no_part_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    file.write_text("[rtmp]\nport = 1936\n", "utf-8-sig")
    assert load(file, {}).rtmp.port == 1936


def test_all_problems_are_told_at_once_and_each_names_its_own_source(tmp_path: Path) -> None:
    env = {"MEDIASERVER__RTMP__IDLE_TIMEOUT": "soon", "MEDIASERVER__RTMP__PROT": "1", "MEDIASERVER__X": "1"}
    assert problems(tmp_path, "[http]\nport = -1", env) == [
        "MEDIASERVER__RTMP__PROT: names no setting; the form is MEDIASERVER__TABLE__KEY; did you mean MEDIASERVER__RTMP__PORT?",
        "MEDIASERVER__X: names no setting; the form is MEDIASERVER__TABLE__KEY",
        "MEDIASERVER__RTMP__IDLE_TIMEOUT: rtmp.idle_timeout: 'soon' is not allowed; allowed: seconds from 0.1 to 3600",
        "my.toml: http.port: -1 is not allowed; allowed: a port number from 1 to 65535",
    ]


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    missing, folder, latin = tmp_path / "missing.toml", tmp_path / "folder.toml", tmp_path / "latin.toml"
    folder.mkdir()
    latin.write_bytes(b"# caf\xe9\n")
    for file, told in (
        (missing, "there is no such file"),
        (folder, "cannot be read: Is a directory"),
        (latin, "byte 5 is not UTF-8"),
    ):
        with pytest.raises(ConfigError, match=re.escape(f"{file}: {told}")):
            load(file, {})


@pytest.mark.parametrize("text", ["one=key-1, two=key-2", 'one="key-1",two="key-2"', '{ one = "key-1", two = "key-2" }'])
def test_a_variable_holds_a_table_as_the_file_does_or_plainly(text: str) -> None:
    keys = load(None, {"MEDIASERVER__AUTH__PUBLISH": "keys", "MEDIASERVER__AUTH__STREAM_KEYS": text}).auth.stream_keys
    assert {name: key.get_secret_value() for name, key in keys.items()} == {"one": "key-1", "two": "key-2"}


def test_stream_keys_come_from_a_file_or_a_variable_and_are_never_shown(tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    file.write_text('[auth]\npublish = "keys"\n[auth.stream_keys]\ncam = "canary-1"\n')
    env = {"MEDIASERVER__AUTH__PUBLISH": "keys", "MEDIASERVER__AUTH__STREAM_KEYS": "cam=canary-1,stage=canary-2=x"}
    from_file, from_env = load(file, {}), load(None, env)
    assert from_file.auth.stream_keys["cam"].get_secret_value() == "canary-1"
    assert from_env.auth.stream_keys["stage"].get_secret_value() == "canary-2=x"
    assert "canary" not in f"{from_file!r}{from_file}{from_env!r}{from_env.model_dump()}{from_env.model_dump_json()}"


@pytest.mark.parametrize(
    "keys",
    [
        '{ cam = 3, b = "canary" }',
        '{ "a/b" = "canary" }',
        '{ cam = "" }',
        '{ cam = "a canary" }',
        '{ cam = "canary?b" }',
        '{ a = "canary", b = "canary" }',
        '"canary"',
    ],
)
def test_a_bad_stream_key_is_told_without_showing_it(tmp_path: Path, keys: str) -> None:
    told = problems(tmp_path, f'[auth]\npublish = "keys"\nstream_keys = {keys}')
    assert told
    assert all(t.startswith("my.toml: auth.stream_keys: that value is not allowed; allowed: a table of NAME") for t in told)
    assert "canary" not in "".join(told)


def test_stream_keys_that_would_protect_nothing_stop_the_start(tmp_path: Path) -> None:
    assert problems(tmp_path, '[auth]\nstream_keys = { cam = "canary" }') == [
        'my.toml: auth.stream_keys protects nothing while auth.publish = "open"; set auth.publish = "keys", or remove the keys'
    ]


def test_the_configuration_cannot_be_changed_afterwards() -> None:
    config = Config(rtmp=RtmpConfig(port=1936), auth=AuthConfig())
    with pytest.raises(ValueError, match="frozen"):
        config.rtmp.port = 1
