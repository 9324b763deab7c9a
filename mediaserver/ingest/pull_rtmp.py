"""Pulling over RTMP and RTMPS: plays like any player. Bodies pass as they come. Runs in a worker process, and waits."""

import ssl
import time
from collections.abc import Iterator
from urllib.parse import SplitResult, unquote, urlsplit

from mediaserver.errors import Refused
from mediaserver.ingest.pull_allowance import of_bytes
from mediaserver.ingest.pull_terms import SourceLost, SourceRefused, Terms, barred
from mediaserver.transport.targets import Connection, connect, resolve
from mediaserver.transport.trust import client_tls, objection
from protocols.errors import RemoteProtocolError
from protocols.flv import TagReader
from protocols.media import Packet, Track
from protocols.rtmp.client import ClientSession
from protocols.rtmp.enhanced import server_capabilities
from protocols.rtmp.events import CommandFailed, Event, MediaReceived, StatusReceived, StreamEnded
from protocols.rtmp.limits import SessionLimits

_PORTS = {"rtmp": 1935, "rtmps": 443}
_READ_SIZE = 1 << 16
#: Characters of a server's text that are shown.
_LONGEST_TEXT = 200
#: Statuses that end a play.
_OVER = frozenset({"NetStream.Play.UnpublishNotify", "NetStream.Play.Stop", "NetStream.Play.Complete"})


def read(terms: Terms) -> Iterator[Track | Packet]:
    """Everything that the server at ``terms.url`` (``rtmp://HOST[:PORT]/APP/NAME``) sends, with its timestamps."""
    parts = urlsplit(terms.url)
    app, _, name = parts.path.strip("/").rpartition("/")
    if not app or not name:
        raise SourceRefused("an RTMP address needs an application and a name: rtmp://HOST/APP/NAME")
    if parts.query:
        name += f"?{parts.query}"
    host = parts.netloc.rpartition("@")[2]
    limits = SessionLimits(message=terms.largest, reassembly=2 * terms.largest)
    session = ClientSession(app, f"{parts.scheme}://{host}/{app}", properties=server_capabilities(), limits=limits)
    connection = socket_to(parts, _PORTS[parts.scheme], terms)
    if parts.scheme == "rtmps":
        connection = secure(connection, parts, terms)
    reader, allowance = TagReader(), of_bytes(terms)
    try:
        session.start()
        session.play(name)
        # Control messages alone are no stream: the server must answer in time, and then send media in time.
        silent_from = time.monotonic()
        while True:
            connection.sendall(session.data_to_send())
            data = connection.recv(_READ_SIZE)
            if not data:
                raise SourceLost("the server closed the connection")
            allowance.spend(len(data))
            for event in session.receive_data(data):
                if isinstance(event, MediaReceived):
                    silent_from = time.monotonic()
                    yield from items_of(reader, event.type_id, event.timestamp, event.body)
                else:
                    _look(event, parts)
            if time.monotonic() - silent_from > terms.timeout:
                raise SourceLost("the source is silent")
    except TimeoutError:
        raise SourceLost("the source is silent") from None
    except (OSError, RemoteProtocolError) as error:
        raise SourceLost(f"the connection broke: {error}") from None
    finally:
        connection.close()


def socket_to(parts: SplitResult, port: int, terms: Terms) -> Connection:
    """A connection to where the address leads, if the server may go there; ``port`` where it names none."""
    host = parts.hostname or ""
    try:
        return connect(resolve(host, parts.port or port, allow_private=terms.allow_private), terms.timeout)
    except Refused as refusal:
        raise barred(refusal) from None
    except OSError as error:
        raise SourceLost(f"{host} cannot be reached: {error.strerror or type(error).__name__}") from None


def secure(connection: Connection, parts: SplitResult, terms: Terms) -> Connection:
    """``connection`` with TLS, once the other end has shown that it is who it should be."""
    try:
        return trust(terms).wrap_socket(connection, server_hostname=parts.hostname)
    except ssl.SSLError as error:
        connection.close()
        raise SourceLost(f"{parts.hostname} cannot be reached: {objection(error)}") from None
    except OSError as error:
        connection.close()
        raise SourceLost(f"{parts.hostname} cannot be reached: {error.strerror or type(error).__name__}") from None


def trust(terms: Terms) -> ssl.SSLContext:
    """Whom TLS believes. Raises SourceRefused where that cannot be read."""
    try:
        return client_tls(terms.tls_ca, verify=terms.tls_verify)
    except OSError:
        raise SourceRefused("the certificates in pull.tls_ca cannot be read") from None


def items_of(reader: TagReader, type_id: int, timestamp: int, body: bytes) -> Iterator[Track | Packet]:
    """What one FLV tag holds."""
    item = reader.read(type_id, timestamp, body)
    if item is None:
        return
    yield item
    if isinstance(item, Track) and not item.body:
        # A codec without a sequence header: the tag that told of the track is a packet too.
        again = reader.read(type_id, timestamp, body)
        if again is not None:
            yield again


def _look(event: Event, parts: SplitResult) -> None:
    match event:
        case StreamEnded():
            raise SourceLost("the stream has ended")
        case CommandFailed() | StatusReceived(level="error"):
            raise SourceLost(f"the server refuses: {_said(event.description or event.code, parts)}")
        case StatusReceived(code=code) if code in _OVER:
            raise SourceLost("the stream has ended")
        case _:
            pass


def _said(text: str, parts: SplitResult) -> str:
    """``text``, which the server wrote, fit to be shown: servers like to say back what they were asked for."""
    values = [pair.partition("=")[2] for pair in parts.query.split("&")]
    secrets = {parts.query, parts.password or "", parts.path.rstrip("/").rpartition("/")[2], *values}
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, "…").replace(unquote(secret), "…")
    return "".join(character for character in text[:_LONGEST_TEXT] if character.isprintable())
