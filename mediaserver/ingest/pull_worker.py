"""The process that fetches one source: told its terms, it sends tracks and packets until the source, or the server, ends.

It goes with one Note that says why: ``{"lost": words}``, ``{"refused": words}`` (trying again is of no use) or
``{"ended": words}``.
"""

import importlib
from collections.abc import Iterator, Mapping

from mediaserver.errors import Refused
from mediaserver.ingest.pull_allowance import of_bytes
from mediaserver.ingest.pull_outlet import Outlet
from mediaserver.ingest.pull_terms import SourceEnded, SourceLost, SourceRefused, Terms
from mediaserver.ports import InputType
from mediaserver.worker.child import Pipe, end_with_server, main
from mediaserver.worker.frames import Frame, Note
from protocols.errors import ProtocolError

#: The module that reads each type, and how many seconds before their time its packets may leave (None: as they come).
_SOURCES: dict[InputType, tuple[str, float | None]] = {
    InputType.RTMP: ("pull_rtmp", None),
    InputType.RTSP: ("pull_rtsp", None),
    InputType.SRT: ("pull_srt", None),
    InputType.FILE: ("pull_file", 0.0),
    # A live server begins with what it kept since its last keyframe; a file in its place must not come all at once.
    InputType.HTTP: ("pull_http", 3.0),
    InputType.HLS: ("pull_hls", 0.0),
}


def work(settings: Mapping[str, object], pipe: Pipe, frames: Iterator[Frame]) -> None:
    """Fetch what ``settings`` (see Terms) say."""
    end_with_server(frames)  # one that waits for a silent source would not notice that nobody waits for it
    pipe.send(Note(_fetch(Terms.read(settings), pipe)))


def _fetch(terms: Terms, pipe: Pipe) -> dict[str, object]:
    """Why it is over."""
    name, lead = _SOURCES[terms.type]
    outlet = Outlet(pipe, lead, terms.largest, of_bytes(terms))
    if terms.type is InputType.RTMP:
        outlet.settle()  # its timestamps are what the hub expects, none of them below zero
    try:
        outlet.take(importlib.import_module(f"mediaserver.ingest.{name}").read(terms))
        outlet.settle()
    except SourceEnded as end:
        outlet.settle()
        return {"ended": str(end)}
    except SourceRefused as refusal:
        return {"refused": str(refusal)}
    except Refused as refusal:
        return {"lost": refusal.reason}
    except SourceLost as loss:
        return {"lost": str(loss)}
    except (ProtocolError, MemoryError) as error:
        return {"lost": f"it cannot be read: {error or type(error).__name__}"}
    return {"lost": "the source has ended"}


if __name__ == "__main__":
    main(work)
