"""What can be known before the first port is opened: addresses that are taken, and how many connections there may be."""

import contextlib
import errno
import fcntl
import os
import resource
import socket
from collections.abc import Iterator
from dataclasses import dataclass

from mediaserver.config import Config

#: Descriptors that the process needs whatever it does: ports, files, databases, and the few workers that there are one of.
_ALWAYS = 64
#: What a worker's process takes (its socket, its standard error, its end), and a recording (file, marker, folder).
_WORKER, _RECORDING = 3, 3
#: Recordings and relays that are started one by one, at a time.
_RECORDINGS, _RELAYS = 16, 64
#: Where every stream is recorded: so many connections are a stream and those who watch it, at the least.
_CONNECTIONS_PER_STREAM = 4
#: What a connection is when its program is done with it, and the kernel is not (RFC 9293, 3.3.2).
_OVER = frozenset({"FIN_WAIT1", "FIN_WAIT2", "CLOSING", "LAST_ACK", "TIME_WAIT"})
#: More than this is never asked for: "unlimited" makes some kernels and programs walk through billions.
MOST_DESCRIPTORS = 1 << 20


@dataclass(frozen=True, slots=True)
class Listener:
    """A port that the configuration opens. ``key`` is the setting that names it."""

    key: str
    host: str
    port: int


def listeners(config: Config) -> Iterator[Listener]:
    """The ports that ``config`` opens, in the order of the settings."""
    yield Listener("rtmp.port", config.rtmp.host, config.rtmp.port)
    if config.rtmp.tls_port:
        yield Listener("rtmp.tls_port", config.rtmp.host, config.rtmp.tls_port)
    yield Listener("http.port", config.http.host, config.http.port)


def obstacle(listener: Listener) -> str:
    """Why ``listener`` cannot be opened and what to do about it, or "" if it can. Binds for a moment and lets go."""
    port, key = listener.port, listener.key
    host_key = key.partition(".")[0] + ".host"
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(
            listener.host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind(address)
                probe.listen(1)
    except (socket.gaierror, UnicodeError):  # the latter: a name that no address can have
        return f"{listener.host!r} is no address of this machine: correct {host_key}"
    except OSError as error:
        variable = f"MEDIASERVER__{key.replace('.', '__').upper()}"
        match error.errno:
            case errno.EADDRINUSE:
                by_whom, remedy = _taken(port)
                return f"port {port} is in use {by_whom}: {remedy}, or choose another {key} ({variable}={port + 1})"
            case errno.EACCES:
                return f"port {port} needs privileges: choose a {key} of 1024 or more ({variable}={port + 8000})"
            case errno.EADDRNOTAVAIL:
                return f"{listener.host!r} is no address of this machine: correct {host_key}"
            case _:
                return f"port {port} ({key}) cannot be opened: {error.strerror}"
    return ""


def _taken(port: int) -> tuple[str, str]:
    """Who has ``port``, as far as is known, and what to do about it."""
    import psutil  # noqa: PLC0415 - only who meets a taken port pays for it

    try:
        found = [each for each in psutil.net_connections("tcp") if each.laddr and each.laddr.port == port]
    except (psutil.Error, OSError):
        found = []
    listening = sorted((each for each in found if each.status == psutil.CONN_LISTEN), key=lambda each: not each.pid)
    if listening:
        return f"by {_program(listening[0].pid)}", "end that program"
    # Nobody serves there: the kernel has given the port to one that called somebody else, and keeps it a while after that.
    for each in found:
        if not each.raddr:
            continue
        peer = f"{reachable(each.raddr.ip)}:{each.raddr.port}"
        if each.status in _OVER and not each.pid:
            return f"by a connection to {peer} that has just been closed", "try again in a minute"
        return f"by a connection of {_program(each.pid)} to {peer}", "wait until it is over"
    return "by a program that cannot be named", "end it"


def _program(pid: int | None) -> str:
    """The process ``pid`` in words; None is one that this user may not look at."""
    import psutil  # noqa: PLC0415

    if not pid:
        return "a program of another user"
    with contextlib.suppress(psutil.Error, OSError):
        return f"{psutil.Process(pid).name()} (process {pid})"
    return f"process {pid}"


def descriptors(config: Config, connections: int) -> int:
    """How many descriptors the process needs with so many connections."""
    jobs = config.transcode.max_jobs + config.pull.max_jobs
    recordings = connections // _CONNECTIONS_PER_STREAM if config.recording.always else 0
    return _ALWAYS + _WORKER * jobs + _RECORDING * (_RECORDINGS + recordings) + _RELAYS + connections


def connections_within(config: Config, most: int) -> int:
    """How many connections there may be where ``most`` descriptors may be open; one at the least."""
    left = max(most - descriptors(config, 0), 1)
    if config.recording.always:
        left = left * _CONNECTIONS_PER_STREAM // (_CONNECTIONS_PER_STREAM + _RECORDING)
    return max(left, 1)


def raise_descriptor_limit() -> int:
    """Allow this process as many open sockets as it may have without asking anybody. Returns how many that is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return soft if soft != resource.RLIM_INFINITY else MOST_DESCRIPTORS
    with contextlib.suppress(OSError, ValueError):  # macOS names a hard limit that it does not give
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def make_room(descriptors: int) -> None:
    """Let the kernel make its table for so many descriptors now.

    Else it doubles with every power of two, and in a process with threads who opens that one waits until every core has
    passed a quiet state (Linux, ``expand_fdtable``): some 10 ms in which nobody is served.
    """
    with open(os.devnull, "rb") as file, contextlib.suppress(OSError, ValueError):
        os.close(fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, descriptors - 1))


def reachable(host: str) -> str:
    """The name in a URL by which this machine itself reaches a listener on ``host``."""
    here = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{here}]" if ":" in here else here
