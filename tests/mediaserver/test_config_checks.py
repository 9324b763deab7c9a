"""Files that settings name are looked at before any port is open, and what is wrong with them is told with the key."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from control.auth.schemas import Password
from mediaserver.config import ConfigError, load
from mediaserver.config_values import LONGEST_PASSWORD
from tests.mediaserver.running import self_signed
from tests.peers import ROOT, free_port, program

DAMAGED = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a pair, another pair's key, the first key under a password (in both forms), and what is neither."""
    folder = tmp_path_factory.mktemp("pairs")
    (folder / "other").mkdir()
    self_signed(folder)
    self_signed(folder / "other")
    openssl("genrsa", "-out", str(folder / "rsa.pem"), "2048")
    locked = ("-in", str(folder / "key.pem"), "-aes256", "-passout", "pass:canary", "-out")
    openssl("pkey", *locked, str(folder / "locked.pem"))
    openssl("ec", *locked, str(folder / "locked-of-old.pem"))
    (folder / "text.pem").write_text("no certificate")
    (folder / "empty.pem").write_text("")
    (folder / "damaged.pem").write_text(DAMAGED)
    return folder


def openssl(*arguments: str) -> None:
    subprocess.run([program("openssl"), *arguments], check=True, capture_output=True)


def problems(tmp_path: Path, text: str) -> Sequence[str]:
    file = tmp_path / "my.toml"
    file.write_text(text)
    try:
        load(file, {})
    except ConfigError as error:
        return [problem.removeprefix(f"{file}: ") for problem in error.problems]
    return []


def encrypted(table: str, certificate: Path, key: Path) -> str:
    port = "tls_port = 1936\n" if table == "rtmp" else ""
    return f'[{table}]\n{port}tls_cert = "{certificate}"\ntls_key = "{key}"\n'


@pytest.mark.parametrize("table", ["rtmp", "http"])
@pytest.mark.parametrize(
    ("certificate", "key", "wrong", "told"),
    [
        ("certificate.pem", "other/key.pem", "tls_key", "the key does not fit the certificate; allowed: "),
        ("certificate.pem", "rsa.pem", "tls_key", "the key does not fit the certificate; allowed: "),
        ("certificate.pem", "locked.pem", "tls_key", "the key is encrypted; allowed: "),
        ("certificate.pem", "locked-of-old.pem", "tls_key", "the key is encrypted; allowed: "),
        ("certificate.pem", "text.pem", "tls_key", "there is no PEM private key in it; allowed: "),
        ("certificate.pem", "certificate.pem", "tls_key", "there is no PEM private key in it; allowed: "),
        ("certificate.pem", "gone.pem", "tls_key", "there is no such file; allowed: the path of a PEM file"),
        ("text.pem", "key.pem", "tls_cert", "there is no PEM certificate in it; allowed: "),
        ("empty.pem", "key.pem", "tls_cert", "there is no PEM certificate in it; allowed: "),
        ("damaged.pem", "key.pem", "tls_cert", "there is no PEM certificate in it; allowed: "),
        ("other", "key.pem", "tls_cert", "that is not a file; allowed: the path of a PEM file"),
        ("key.pem", "certificate.pem", "tls_cert", "there is no PEM certificate in it; allowed: "),
    ],
)
def test_files_that_are_no_certificate_and_its_key_are_told(
    files: Path, tmp_path: Path, table: str, certificate: str, key: str, wrong: str, told: str
) -> None:
    (problem,) = problems(tmp_path, encrypted(table, files / certificate, files / key))
    file = files / (certificate if wrong == "tls_cert" else key)
    assert problem.startswith(f"{table}.{wrong} = {str(file)!r}: {told}")


@pytest.mark.parametrize("table", ["rtmp", "http"])
def test_a_certificate_and_its_key_are_fine(files: Path, tmp_path: Path, table: str) -> None:
    assert problems(tmp_path, encrypted(table, files / "certificate.pem", files / "key.pem")) == []


def test_half_a_certificate_is_told(files: Path, tmp_path: Path) -> None:
    certificate, key = files / "certificate.pem", files / "key.pem"
    told = problems(tmp_path, f'[http]\ntls_cert = "{certificate}"')
    assert told == ["http.tls_cert is set and http.tls_key is not; allowed: both, or neither"]
    assert problems(tmp_path, f'[rtmp]\ntls_cert = "{certificate}"\ntls_key = "{key}"') == [
        "rtmp.tls_cert has no use without rtmp.tls_port; allowed: both, or neither"
    ]


def test_an_encrypted_key_asks_nobody_for_its_password(files: Path, tmp_path: Path) -> None:
    """Where there is a terminal, OpenSSL would ask it, and wait."""
    code = (
        "import os, pty, sys\n"
        "child, terminal = pty.fork()\n"
        "if child == 0:\n"
        "    os.execv(sys.executable, [sys.executable, '-m', 'mediaserver', 'config', '--check', sys.argv[1]])\n"
        "told = b''\n"
        "while b'?' not in told and b'phrase' not in told:\n"
        "    try:\n"
        "        piece = os.read(terminal, 4096)\n"
        "    except OSError:\n"
        "        break\n"
        "    if not piece:\n"
        "        break\n"
        "    told += piece\n"
        "os.close(terminal)\n"
        "print(told.decode())\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    file = tmp_path / "my.toml"
    file.write_text(encrypted("http", files / "certificate.pem", files / "locked.pem"))
    result = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, timeout=100, cwd=ROOT)
    assert result.returncode == 2, result.stdout
    assert "the key is encrypted" in result.stdout


@pytest.mark.parametrize("table", ["relay", "pull"])
def test_authorities_are_certificates(files: Path, tmp_path: Path, table: str) -> None:
    assert problems(tmp_path, f'[{table}]\ntls_ca = "{files / "certificate.pem"}"') == []
    for name, told in (("text", "there is no PEM certificate in it"), ("gone", "there is no such file")):
        (problem,) = problems(tmp_path, f'[{table}]\ntls_ca = "{files / name}.pem"')
        assert problem.startswith(f"{table}.tls_ca = ")
        assert problem.endswith(f"{told}; allowed: the path of a PEM file")


@pytest.mark.parametrize(
    "lines",
    [
        b"1.0.0.0,1.0.0.255,AU\n",
        b"\xef\xbb\xbf# a list\r\n\r\n1.0.0.0,1.0.0.255,AU\r\n",
        b'"2001:200::","2001:200:ffff::","JP","Japan"\n',
        b"1.0.0.0, 1.0.0.255, au, M\xe9xico",
        b"0.0.0.0,0.255.255.255,ZZ",
        b"",
    ],
)
def test_a_list_of_countries_is_one(tmp_path: Path, lines: bytes) -> None:
    (tmp_path / "list.csv").write_bytes(lines)
    assert problems(tmp_path, f'[analytics]\ncountry_file = "{tmp_path / "list.csv"}"') == []


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b"root:x:0:0:root:/root:/bin/sh\n", "is not FIRST,LAST,CC"),
        (b"1.0.0.0,AU\n", "is not FIRST,LAST,CC"),
        (b"1.0.0.0,::1,AU\n", "is not FIRST,LAST,CC"),
        (b"1.0.0.0,1.0.0.255,Australia\n", "is not FIRST,LAST,CC"),
        (b"01.0.0.0,1.0.0.255,AU\n", "is not FIRST,LAST,CC"),
        (b"\xff\xfe1\x00", "is not FIRST,LAST,CC"),
        (b"1.0.0.0\x00,1.0.0.255,AU", "is not FIRST,LAST,CC"),
        (b"x" * 9000, "is not FIRST,LAST,CC"),
        (b'1.0.0.0,1.0.0.255,"' + b"A" * 200_000, "is not FIRST,LAST,CC"),
        (b"1.0.0.255,1.0.0.0,AU\n", "is out of order"),
    ],
)
@pytest.mark.parametrize("before", [b"", b"0.1.0.0,0.1.0.255,US\n# more\n"], ids=["first", "later"])
def test_what_is_no_list_of_countries_is_told_with_its_line(tmp_path: Path, line: bytes, told: str, before: bytes) -> None:
    (tmp_path / "list.csv").write_bytes(before + line)
    (problem,) = problems(tmp_path, f'[analytics]\ncountry_file = "{tmp_path / "list.csv"}"')
    assert problem == (
        f"analytics.country_file = {str(tmp_path / 'list.csv')!r}: line {before.count(b'# more') * 2 + 1} {told}; "
        'allowed: the path of a file of lines FIRST,LAST,CC in order, or "" for none'
    )


def test_state_goes_into_a_folder_that_is_one_or_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for directory in (tmp_path, tmp_path / "new" / "folder"):
        assert problems(tmp_path, f'[server]\ndata_dir = "{directory}"') == []
    for directory in (tmp_path / "file", tmp_path / "file" / "folder"):
        assert problems(tmp_path, f'[server]\ndata_dir = "{directory}"') == [
            f"server.data_dir = {str(directory)!r}: {tmp_path / 'file'} is not a folder; allowed: the path of a folder"
        ]


def test_the_database_is_a_file_or_can_become_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    told = {
        "file": "",
        "new": "",
        "new/file": "",
        "folder": f"{tmp_path / 'folder'} is a folder",
        "pipe": f"{tmp_path / 'pipe'} is not a file",
        "file/new": f"{tmp_path / 'file'} is not a folder",
    }
    allowed = 'allowed: "sqlite:///FILE" with the path of a file, or "" for the usual one'
    for name, problem in told.items():
        for url in (f"sqlite:///{name}", f"sqlite:///{tmp_path}/{name}"):
            expected = [f"database.url cannot be used: {problem}; {allowed}"] if problem else []
            assert problems(tmp_path, f'database.url = "{url}"\nserver.data_dir = "{tmp_path}"') == expected


def test_recordings_go_into_a_folder_that_is_one_or_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for directory in (tmp_path, tmp_path / "new" / "folder"):
        assert problems(tmp_path, f'[recording]\ndirectory = "{directory}"') == []
    for directory in (tmp_path / "file", tmp_path / "file" / "folder"):
        (problem,) = problems(tmp_path, f'[recording]\ndirectory = "{directory}"')
        assert problem.startswith(f"recording.directory = {str(directory)!r}: {tmp_path / 'file'} is not a folder; allowed: ")


def test_a_slate_is_plain_or_a_file_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "pause.png").write_bytes(b"a picture")
    for slate in ("", "plain", str(tmp_path / "pause.png")):
        assert problems(tmp_path, f'[rtmp]\nslate = "{slate}"') == []
    (problem,) = problems(tmp_path, '[rtmp]\nslate = "plane"')
    assert problem.startswith("rtmp.slate = 'plane': there is no such file; allowed: ")


@pytest.mark.parametrize("key", ["relay.tls_ca", "pull.tls_ca", "analytics.country_file", "http.tls_cert"])
def test_an_address_where_a_file_should_be_is_told_without_its_password(tmp_path: Path, key: str) -> None:
    *_, problem = problems(tmp_path, f'{key} = "https://me:canary@h/{"a" * 3000}"')
    assert problem.startswith(f"{key} = 'https://…@h/aaa")
    assert "aaa...: there is no such file; allowed: " in problem
    assert "canary" not in problem
    *_, problem = problems(tmp_path, f'{key} = "{tmp_path}/me@host"')
    assert problem.startswith(f"{key} = '{tmp_path}/me@host': there is no such file; ")


def test_a_password_may_be_as_long_as_a_login_takes() -> None:
    assert [each.max_length for each in Password.__metadata__[0].metadata if hasattr(each, "max_length")] == [LONGEST_PASSWORD]


def test_a_later_line_of_a_list_of_countries_that_cannot_be_stops_the_start(tmp_path: Path) -> None:
    file, listed, folder = tmp_path / "my.toml", tmp_path / "list.csv", tmp_path / "data"
    listed.write_text("1.0.0.0,1.0.0.255,AU\n1.0.1.0\n")
    file.write_text(f'analytics.country_file = "{listed}"\nserver.data_dir = "{folder}"\n')
    result = subprocess.run(
        [sys.executable, "-m", "mediaserver", "serve", "--config", str(file)],
        capture_output=True,
        text=True,
        timeout=100,
        cwd=ROOT,
    )
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(f"{file}: analytics.country_file = {str(listed)!r}: line 2 is not FIRST,LAST,CC; allowed: ")
    assert not folder.exists(), "not even its folder is made"


@pytest.mark.parametrize("command", [["serve", "--config"], ["doctor", "--config"], ["config", "--check"]])
def test_every_command_tells_of_a_key_that_does_not_fit_and_opens_no_port(
    files: Path, tmp_path: Path, command: list[str]
) -> None:
    file = tmp_path / "my.toml"
    folder = tmp_path / "data"
    text = encrypted("http", files / "certificate.pem", files / "other" / "key.pem")
    file.write_text(f'{text}port = {free_port()}\n[rtmp]\nport = {free_port()}\n[server]\ndata_dir = "{folder}"\n')
    result = subprocess.run(
        [sys.executable, "-m", "mediaserver", *command, str(file)], capture_output=True, text=True, timeout=100, cwd=ROOT
    )
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(f"{file}: http.tls_key = ")
    assert not folder.exists(), "not even its folder is made"
