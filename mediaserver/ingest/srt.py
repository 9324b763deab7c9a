"""The system's libsrt, where that is installed: calling a listener in live mode. Blocking, for worker processes.

Sizes, numbers and names are those of srt.h and of SRT's API documentation (Haivision, docs/API).
"""

import ctypes
import struct
import sys
from collections.abc import Callable
from ipaddress import IPv4Address, ip_address
from urllib.parse import SplitResult, parse_qsl

from mediaserver.ingest.pull_terms import SourceLost, SourceRefused
from mediaserver.transport.targets import Target

#: Debian's two builds, and others'.
_LIBRARIES = ("libsrt-gnutls.so.1.5", "libsrt-openssl.so.1.5", "libsrt.so.1.5", "libsrt.so.1", "libsrt.1.5.dylib")
_FAILED = -1
#: SRT_SOCKOPT.
_RCVTIMEO, _LATENCY, _PASSPHRASE, _PBKEYLEN, _CONNTIMEO, _STREAMID = 14, 23, 26, 27, 36, 46
_TIMED_OUT = 6003  # SRT_ETIMEOUT
_LOG_NOTHING = 0
#: A message in live mode is one datagram (SRTO_PAYLOADSIZE: 1456 at most).
_LONGEST_MESSAGE = 2048
#: Bytes of a stream id and of a passphrase.
_LONGEST_ID, _PASSPHRASE_SIZES = 512, range(10, 80)
_LONGEST_LATENCY = 60_000


def library() -> ctypes.CDLL | None:
    """libsrt, or None where it is not installed."""
    for name in _LIBRARIES:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None


def version() -> str:
    """libsrt's version, or an empty string where it is not installed."""
    found = library()
    if found is None:
        return ""
    number = found.srt_getversion()
    return f"{number >> 16}.{number >> 8 & 255}.{number & 255}"


def options_in(parts: SplitResult) -> dict[int, bytes]:
    """Socket options by their numbers. Raises SourceRefused for what cannot be."""
    # A stream id may hold a "#", which is not a fragment's here.
    query = dict(parse_qsl(f"{parts.query}#{parts.fragment}" if parts.fragment else parts.query))
    if query.get("mode", "caller") != "caller":
        raise SourceRefused("SRT is pulled as a caller (mode=caller)")
    options: dict[int, bytes] = {}
    if stream_id := query.get("streamid"):
        options[_STREAMID] = stream_id.encode()[:_LONGEST_ID]
    if passphrase := query.get("passphrase"):
        if len(passphrase.encode()) not in _PASSPHRASE_SIZES:
            raise SourceRefused("an SRT passphrase has 10 to 79 characters")
        options[_PASSPHRASE] = passphrase.encode()
        if query.get("pbkeylen", "") in ("16", "24", "32"):
            options[_PBKEYLEN] = _int(int(query["pbkeylen"]))
    if (latency := query.get("latency", "")).isdecimal() and len(latency) < 10:
        options[_LATENCY] = _int(min(int(latency), _LONGEST_LATENCY))
    return options


def connect(
    srt: ctypes.CDLL, targets: tuple[Target, ...], options: dict[int, bytes], timeout: int, spend: Callable[[int], None]
) -> "SrtTape":
    """A connection to the first of ``targets`` that takes it within ``timeout`` ms, which is also how long it may be silent.
    ``spend`` is told of all bytes that come; it may wait, or raise SourceLost.

    Raises SourceLost, and SourceRefused for options that libsrt does not take.
    """
    srt.srt_setloglevel(_LOG_NOTHING)
    failure = "no address"
    for target in targets:
        handle = srt.srt_create_socket()
        for number, value in {**options, _CONNTIMEO: _int(timeout), _RCVTIMEO: _int(timeout)}.items():
            if srt.srt_setsockflag(handle, number, value, len(value)) == _FAILED:
                srt.srt_close(handle)
                raise SourceRefused("libsrt does not take the options in the address")
        address = _socket_address(target)
        if srt.srt_connect(handle, address, len(address)) != _FAILED:
            return SrtTape(srt, handle, spend)
        failure = _words(srt)
        srt.srt_close(handle)
    raise SourceLost(f"the source cannot be reached: {failure}")


class SrtTape:
    """A connection as a file that can only be read on."""

    def __init__(self, srt: ctypes.CDLL, handle: int, spend: Callable[[int], None]) -> None:
        self.name = ""
        self.failure = ""
        self._srt, self._handle, self._spend = srt, handle, spend
        self._buffer = ctypes.create_string_buffer(_LONGEST_MESSAGE)
        self._left = b""

    def read(self, size: int = _LONGEST_MESSAGE) -> bytes:
        """The next message, or as much of it as is wanted."""
        if not self._left and not self.failure:
            count = self._srt.srt_recvmsg(self._handle, self._buffer, _LONGEST_MESSAGE)
            if count <= 0:
                silent = count == _FAILED and self._srt.srt_getlasterror(None) == _TIMED_OUT
                self.failure = "the source is silent" if silent else "the source closed the connection"
                return b""
            self._left = self._buffer.raw[:count]
            try:
                self._spend(count)
            except SourceLost as loss:
                self.failure = str(loss)
                return b""
        data, self._left = self._left[:size], self._left[size:]
        return data

    def close(self) -> None:
        self._srt.srt_close(self._handle)


def _int(value: int) -> bytes:
    return struct.pack("=i", value)


def _socket_address(target: Target) -> bytes:
    """``target`` as struct sockaddr_in or sockaddr_in6; BSD has its length in front."""
    parsed = ip_address(target.address.partition("%")[0])
    if isinstance(parsed, IPv4Address):
        rest = struct.pack(">H4s8x", target.port, parsed.packed)
    else:
        rest = struct.pack(">HI16s", target.port, 0, parsed.packed) + bytes(4)
    family = int(target.family)
    head = struct.pack("=H", family) if sys.platform == "linux" else bytes((len(rest) + 2, family))
    return head + rest


def _words(srt: ctypes.CDLL) -> str:
    srt.srt_getlasterror_str.restype = ctypes.c_char_p
    text = srt.srt_getlasterror_str() or b""
    return str(text.decode("utf-8", "replace"))[:200]
