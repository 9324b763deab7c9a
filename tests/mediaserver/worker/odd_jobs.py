"""A worker for tests: it does as it is told by Notes."""

import os
import resource
import signal
import sys
import time
from collections.abc import Iterator, Mapping

from mediaserver.worker.child import Pipe, main
from mediaserver.worker.frames import Frame, Note


def work(settings: Mapping[str, object], pipe: Pipe, frames: Iterator[Frame]) -> None:
    for frame in frames:
        match frame:
            case Note({"do": "tell"}):
                limit = resource.getrlimit(resource.RLIMIT_DATA)[0]
                pipe.send(Note({"pid": os.getpid(), "nice": os.nice(0), "limit": limit, "settings": dict(settings)}))
            case Note({"do": "crash"}):
                raise RuntimeError("as it was told")
            case Note({"do": "abort"}):
                os.kill(os.getpid(), signal.SIGABRT)
            case Note({"do": "eat"}):
                sys.stderr.write(str(len(bytearray(1 << 30))))
            case Note({"do": "sleep"}):
                time.sleep(1000)
            case Note({"do": "flood"}):
                while True:
                    pipe.send(Note({"x": "y" * 1000}))
            case other:
                pipe.send(other)


if __name__ == "__main__":
    main(work)
