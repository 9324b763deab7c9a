"""Pulling SRT: MPEG-2 TS from a listener. Runs in a worker process, and waits."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from mediaserver.errors import Refused
from mediaserver.ingest import srt
from mediaserver.ingest.pull_allowance import of_bytes
from mediaserver.ingest.pull_container import read as read_container
from mediaserver.ingest.pull_terms import SourceLost, SourceRefused, Terms, barred
from mediaserver.transport.targets import resolve
from protocols.media import Packet, Track


def read(terms: Terms) -> Iterator[Track | Packet]:
    """What the listener at ``terms.url`` (``srt://HOST:PORT?streamid=…&passphrase=…&latency=MILLISECONDS``) sends."""
    library = srt.library()
    if library is None:
        raise SourceRefused("SRT needs libsrt (Debian, Ubuntu: apt install libsrt1.5-gnutls)")
    parts = urlsplit(terms.url)
    if parts.port is None:
        raise SourceRefused("an SRT address needs a port: srt://HOST:PORT")
    options = srt.options_in(parts)
    try:
        targets = resolve(parts.hostname or "", parts.port, allow_private=terms.allow_private)
    except Refused as refusal:
        raise barred(refusal) from None
    library.srt_startup()
    try:
        tape = srt.connect(library, targets, options, round(terms.timeout * 1000), of_bytes(terms).spend)
        try:
            yield from read_container(tape, name="mpegts")
        except SourceLost as loss:
            raise SourceLost(tape.failure or str(loss)) from None
        finally:
            tape.close()
        raise SourceLost(tape.failure or "the source has ended")
    finally:
        library.srt_cleanup()
