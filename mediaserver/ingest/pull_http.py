"""Pulling over HTTP: FLV as it comes, anything else through a demuxer. Runs in a worker process, and waits."""

from collections.abc import Iterator
from functools import partial

from mediaserver.errors import Refused
from mediaserver.ingest.pull_allowance import of_bytes
from mediaserver.ingest.pull_container import read as read_container
from mediaserver.ingest.pull_rtmp import items_of, trust
from mediaserver.ingest.pull_terms import SourceEnded, SourceLost, SourceRefused, Terms, barred
from mediaserver.transport.fetch import Fetcher, FetchError, Resource
from protocols.errors import RemoteProtocolError
from protocols.flv import FlvReader, TagReader
from protocols.media import Packet, Track

_READ_SIZE = 1 << 16
#: How far pictures and sound may be apart in a file, in ms, and in a stream that has no end: it cannot be read on at will, and
#: shows its pictures though its sound fell silent. Nor does one of its kinds wait for the other because of what is usual.
_FILE_SPAN, _LIVE_SPAN, _LIVE_SLACK = 15_000, 4_000, 500
#: Bytes that tell what it is.
_LOOK = 7


class Tape:
    """A resource as a file that can only be read on; ``begin`` is what of it was read already."""

    def __init__(self, resource: Resource, begin: bytes) -> None:
        self._resource, self._begin = resource, begin
        self.name = ""
        self.failure: FetchError | SourceLost | None = None

    def read(self, size: int = _READ_SIZE) -> bytes:
        """As much as there is, up to ``size`` bytes."""
        if self._begin:
            data, self._begin = self._begin[:size], self._begin[size:]
            return data
        try:
            return self._resource.read(size)
        except (FetchError, SourceLost) as error:
            self.failure = error  # the demuxer hears of an end, and the worker of this
            return b""


def fetcher_for(terms: Terms) -> Fetcher:
    """What gets resources within ``terms``. It raises SourceLost where they send too much."""
    return Fetcher(
        allow_private=terms.allow_private,
        timeout=terms.timeout,
        trust=partial(trust, terms),
        spend=of_bytes(terms).spend,
    )


def read(terms: Terms) -> Iterator[Track | Packet]:
    """Everything at ``terms.url``."""
    try:
        with fetcher_for(terms).open(terms.url) as resource:
            begin = b""
            while len(begin) < _LOOK and (data := resource.read(_READ_SIZE)):
                begin += data
            if begin.startswith(b"#EXTM3U"):
                raise SourceRefused("this is a playlist: its input type is hls")
            tape = Tape(resource, begin)
            live = resource.length is None
            try:
                yield from _flv(tape) if begin.startswith(b"FLV") else _contained(tape, terms, live=live)
            except SourceLost:
                # Most likely because the demuxer was told of an end too early.
                if tape.failure is None:
                    raise
            if tape.failure is not None:
                raise tape.failure
            if resource.length is not None:
                raise SourceEnded("all of it was played")
            raise SourceLost("the source has ended")
    except FetchError as error:
        raise SourceLost(str(error)) from None
    except Refused as refusal:
        raise barred(refusal) from None


def _contained(tape: Tape, terms: Terms, *, live: bool) -> Iterator[Track | Packet]:
    """A file's pictures and sound wait for each other as far as they may be apart; but waiting must not look like silence, where
    it is sent no faster than it plays."""
    span, slack = (_LIVE_SPAN, _LIVE_SLACK) if live else (_FILE_SPAN, 0)
    return read_container(tape, span=span, slack=slack, patience=terms.timeout / 2)


def _flv(tape: Tape) -> Iterator[Track | Packet]:
    """FLV's tags are what the engine passes on: no demuxer has to look into them."""
    tags, reader = FlvReader(), TagReader()
    while data := tape.read():
        try:
            found = tags.receive_data(data)
        except RemoteProtocolError as error:
            raise SourceLost(f"this is not FLV any more: {error}") from None
        for tag in found:
            yield from items_of(reader, *tag)
