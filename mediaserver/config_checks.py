"""What is wrong with a configuration whose values are fine one by one: files that are not what they should be, and settings that
do not go together. ``config.load`` tells of it, so that serve, doctor and config --check all know it before any port is open."""

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mediaserver.config_file import shown
from mediaserver.config_values import PLAIN

if TYPE_CHECKING:
    from mediaserver.config import Config

#: (table, key, what is wrong and what is allowed).
Complaint = tuple[str, str, str]


def contradictions(config: "Config") -> Iterator[Complaint]:
    """Everything that is wrong. Looks at the files and folders that are named."""
    yield from _files(config)
    yield from _certificates(config)
    yield from _ports(config)
    auth, hls, limits = config.auth, config.hls, config.limits
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


def _files(config: "Config") -> Iterator[Complaint]:
    for table, authorities in (("relay", config.relay.tls_ca), ("pull", config.pull.tls_ca)):
        if authorities:
            problem = _unreadable(authorities) or _without_certificates(authorities)
            if problem:
                yield table, "tls_ca", f"= {shown(authorities)}: {problem}; allowed: the path of a PEM file"
    if config.rtmp.slate not in ("", PLAIN) and (problem := _unreadable(config.rtmp.slate)):
        allowed = f'"" for none, "{PLAIN}", or the path of a picture or a film'
        yield "rtmp", "slate", f"= {shown(config.rtmp.slate)}: {problem}; allowed: {allowed}"
    if countries := config.analytics.country_file:
        problem = _unreadable(countries) or _no_countries(countries)
        if problem:
            allowed = 'the path of a file of lines FIRST,LAST,CC in order, or "" for none'
            yield "analytics", "country_file", f"= {shown(countries)}: {problem}; allowed: {allowed}"
    if problem := _no_folder(Path(config.server.data_dir).absolute()):
        yield "server", "data_dir", f"= {shown(config.server.data_dir)}: {problem}; allowed: the path of a folder"
    else:
        yield from _database(config)
    if (directory := config.recording.directory) and (problem := _no_folder(Path(directory).absolute())):
        allowed = 'the path of a folder, or "" for recordings in server.data_dir'
        yield "recording", "directory", f"= {shown(directory)}: {problem}; allowed: {allowed}"


def _unreadable(file: str) -> str:
    """Why ``file`` cannot be read, or "" if it can."""
    try:
        if not stat.S_ISREG(os.stat(file).st_mode):
            return "that is not a file"
        with open(file, "rb"):
            return ""
    except (FileNotFoundError, NotADirectoryError):
        return "there is no such file"
    except OSError as error:
        return f"it cannot be read: {error.strerror}"


def _without_certificates(file: str) -> str:
    from mediaserver.tls import holds_certificates  # noqa: PLC0415 - only who names such a file pays for it

    return "" if holds_certificates(file) else "there is no PEM certificate in it"


def _no_countries(file: str) -> str:
    """Why this is no list of countries, or "" if it is one."""
    from mediaserver.countries import ranges  # noqa: PLC0415 - only who names such a file pays for it

    try:
        for _ in ranges(Path(file)):
            pass
    except (OSError, ValueError) as error:
        return str(error)
    return ""


def _no_folder(folder: Path) -> str:
    """Why ``folder`` is none and cannot become one, or "" if it is or can."""
    for place in (folder, *folder.parents):
        try:
            mode = place.stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            return str(error.strerror)
        return "" if stat.S_ISDIR(mode) else f"{place} is not a folder"
    return ""


def _database(config: "Config") -> Iterator[Complaint]:
    scheme, _, rest = config.database.url.get_secret_value().partition("://")
    if scheme != "sqlite" or not (name := rest.removeprefix("/")):
        return
    file = Path(config.server.data_dir).absolute() / name
    problem = _no_folder(file.parent)
    if not problem and file.exists() and not file.is_file():
        problem = f"{file} is a folder" if file.is_dir() else f"{file} is not a file"
    if problem:
        yield (
            "database",
            "url",
            f'cannot be used: {problem}; allowed: "sqlite:///FILE" with the path of a file, or "" for the usual one',
        )


def _certificates(config: "Config") -> Iterator[Complaint]:
    rtmp = config.rtmp
    if rtmp.tls_port and not rtmp.tls_cert:
        yield "rtmp", "tls_port", f"= {rtmp.tls_port} needs rtmp.tls_cert and rtmp.tls_key; allowed without them: 0"
    for table, tls in (("rtmp", rtmp), ("http", config.http)):
        if bool(tls.tls_cert) != bool(tls.tls_key):
            there, gone = ("tls_cert", "tls_key") if tls.tls_cert else ("tls_key", "tls_cert")
            yield table, there, f"is set and {table}.{gone} is not; allowed: both, or neither"
        yield from _pair(table, tls.tls_cert, tls.tls_key)
    if rtmp.tls_cert and not rtmp.tls_port:
        yield "rtmp", "tls_cert", "has no use without rtmp.tls_port; allowed: both, or neither"


def _pair(table: str, certificate: str, key: str) -> Iterator[Complaint]:
    named = {"tls_cert": certificate, "tls_key": key}
    problems = {name: problem for name, file in named.items() if file and (problem := _unreadable(file))}
    for name, problem in problems.items():
        yield table, name, f"= {shown(named[name])}: {problem}; allowed: the path of a PEM file"
    if problems or not (certificate and key):
        return
    from mediaserver.tls import objection_to_pair  # noqa: PLC0415 - only who encrypts pays for it

    name, problem = objection_to_pair(certificate, key)
    if problem:
        yield table, name, f"= {shown(named[name])}: {problem}"


def _ports(config: "Config") -> Iterator[Complaint]:
    ports: Mapping[str, int] = {
        "rtmp.port": config.rtmp.port,
        "rtmp.tls_port": config.rtmp.tls_port or -1,
        "http.port": config.http.port,
    }
    seen: dict[int, str] = {}
    for name, port in ports.items():
        if port in seen:
            table, key = name.split(".")
            yield table, key, f"= {port} is also {seen[port]}; allowed: a port of its own"
        seen.setdefault(port, name)
