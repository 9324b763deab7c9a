"""kill -9 of the server while its API is being written to: ``python -m tests.contract.killed`` does it 200 times.

Some writers make, change and delete streams with their destinations. Each change is several rows in several tables, and what a
stream holds says everywhere which revision it is: so one that is half written shows. After each restart every answered write
must be there; of the one that was on its way, all or nothing.
"""

import argparse
import contextlib
import http.client
import json
import random
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.contract.asking import ROOMY, Answer, Caller, log_in
from tests.peers import Postgres, Server, running_server, wait_until

WRITERS = 4
#: Seconds from the program's start until it takes requests.
LONGEST_START = 3.0
#: Seconds that the writers have from the first answer on, at most.
LONGEST = 0.6

_MODES = ("low", "normal", "high")
_QUALITIES = (["720p"], ["480p", "360p"], [])


def content(name: str, revision: int) -> dict[str, Any]:
    """What a stream holds as its revision ``revision``."""
    destination = {"platform": "twitch", "rtmp_url": f"rtmp://example.com/r{revision}/"}
    return {
        "name": f"{name} r{revision}",
        "latency_mode": _MODES[revision % 3],
        "qualities": _QUALITIES[revision % 3],
        "keyframe_interval": revision % 20 + 0.5,
        "destinations": [{**destination, "name": f"{name} r{revision} {number}"} for number in range(2)],
    }


def revision_of(stream: dict[str, Any]) -> int:
    """Which revision that is; -1 for one that is half one and half another."""
    name, _, revision = stream["name"].rpartition(" r")
    wanted = content(name, int(revision))
    seen = {key: stream[key] for key in wanted}
    seen["destinations"] = [
        {key: each[key] for key in ("name", "platform", "rtmp_url")}
        for each in sorted(seen["destinations"], key=lambda d: d["name"])
    ]
    return int(revision) if seen == wanted else -1


@dataclass(slots=True)
class Kept:
    """A stream as its writer knows it. ``revision`` None: it was deleted. ``wanted`` is what was on its way when the server died:
    a revision, None for its deletion, and the same as ``revision`` for nothing."""

    name: str
    revision: int | None
    wanted: int | None


@dataclass
class Writer:
    """A user of his own who changes his streams until the server is gone."""

    caller: Caller
    number: int
    kept: dict[int, Kept] = field(default_factory=dict)
    #: The name of the stream that was being made when the server died.
    making: str = ""
    answered: int = 0
    faults: list[str] = field(default_factory=list)
    _made: int = 0

    def write(self) -> None:
        """Until the connection breaks."""
        chance = random.Random()
        with contextlib.suppress(OSError, http.client.HTTPException):
            while True:
                present = [number for number, kept in self.kept.items() if kept.revision is not None]
                dice = chance.random()
                if not present or (dice < 0.4 and len(present) < 20):
                    self._make()
                elif dice < 0.85:
                    self._change(chance.choice(present))
                else:
                    self._delete(chance.choice(present))
        self.caller.close()

    def _make(self) -> None:
        self._made += 1
        self.making = f"w{self.number}-{self._made}"
        url = f"rtmp://localhost:{self.caller.server.rtmp_port}/live/{self.making}"
        number = self._checked(self.caller.post("/api/streams", {**content(self.making, 0), "input_url": url}), 201).json["id"]
        self.kept[number] = Kept(self.making, 0, 0)
        self.making = ""

    def _change(self, number: int) -> None:
        kept = self.kept[number]
        kept.wanted = (kept.revision or 0) + 1
        self._checked(self.caller.put(f"/api/streams/{number}", content(kept.name, kept.wanted)))
        kept.revision = kept.wanted

    def _delete(self, number: int) -> None:
        kept = self.kept[number]
        kept.wanted = None
        self._checked(self.caller.delete(f"/api/streams/{number}"))
        kept.revision = None

    def _checked(self, answer: Answer, status: int = 200) -> Answer:
        if answer.status != status:
            self.faults.append(f"{answer.status}: {answer.body[:300]!r}")
            raise ConnectionError
        self.answered += 1
        return answer

    def look(self) -> tuple[int, int]:
        """After the restart: how many answered writes are lost, and how many are half there. Goes on from what is there."""
        lost = half = 0
        for number, kept in list(self.kept.items()):
            answer = self.caller.get(f"/api/streams/{number}")
            seen = None if answer.status == 404 else revision_of(answer.json)
            half += seen == -1
            lost += seen not in (kept.revision, kept.wanted, -1)
            kept.revision = kept.wanted = seen
            if seen is None:
                del self.kept[number]
        for number, stream in self._strangers():
            whole = revision_of(stream) == 0 and stream["name"] == f"{self.making} r0"
            half += not whole
            self.kept[number] = Kept(self.making, 0, 0)
        self.making = ""
        self.caller.close()
        return lost, half

    def _strangers(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Streams that nobody was told of."""
        listed = self.caller.get("/api/streams?per_page=100").json["streams"]
        for number in [stream["id"] for stream in listed if stream["id"] not in self.kept]:
            yield number, self.caller.get(f"/api/streams/{number}").json


@dataclass
class Figures:
    """What came of all cycles. ``starts`` in seconds, ``works`` in seconds of CPU."""

    cycles: int = 0
    answered: int = 0
    lost: int = 0
    half: int = 0
    unaudited: int = 0
    faults: list[str] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)
    works: list[float] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        return not (self.lost or self.half or self.unaudited or self.faults)

    def __str__(self) -> str:
        return (
            f"{self.cycles} cycles, {self.answered} answered writes: {self.lost} lost, {self.half} half there, "
            f"{self.unaudited} not in the audit log, {len(self.faults)} faults {self.faults[:1]}; start: "
            f"{statistics.median(self.starts):.2f} s in the middle, {max(self.starts):.2f} s at most, "
            f"{statistics.median(self.works):.2f} s of CPU"
        )


def writers_of(server: Server) -> list[Writer]:
    """Users with keys of their own: logging in again after each restart would take longer than all else."""
    admin, writers = log_in(server), []
    for number in range(WRITERS):
        body = {"username": f"writer{number}", "email": f"writer{number}@example.com", "password": "a long password"}
        admin.made("/api/users", body)
        key = log_in(server, f"writer{number}", "a long password").made("/api/auth/api-keys", {"name": "key"})["key"]
        writers.append(Writer(Caller(server, key, keep=True), number))
    return writers


def cycle(server: Server, writers: list[Writer], figures: Figures) -> None:
    """Write, kill, start, look."""
    answered = sum(writer.answered for writer in writers)
    threads = [threading.Thread(target=writer.write) for writer in writers]
    for thread in threads:
        thread.start()
    # Before the first answer there is nothing to lose; who is not there any more has found a fault.
    wait_until(
        lambda: sum(writer.answered for writer in writers) > answered or not all(thread.is_alive() for thread in threads),
        "an answered write",
        30,
    )
    time.sleep(random.uniform(0, LONGEST))
    server.kill()
    for thread in threads:
        thread.join(30)
    began = time.monotonic()
    server.start()
    server.wait_ready(60)
    figures.starts.append(time.monotonic() - began)
    times = psutil.Process(server.process.pid).cpu_times()
    figures.works.append(times.user + times.system)
    figures.cycles += 1
    for writer in writers:
        lost, half = writer.look()
        figures.lost += lost
        figures.half += half
    figures.answered = sum(writer.answered for writer in writers)
    figures.faults = [fault for writer in writers for fault in writer.faults]


def unaudited(server: Server) -> int:
    """Streams that nobody is noted to have made: the note is in the same transaction."""
    with contextlib.closing(sqlite3.connect(server.folder / "data" / "mediaserver.db")) as database:
        (count,) = database.execute(
            "SELECT count(*) FROM streams WHERE NOT EXISTS (SELECT 1 FROM audit_log"
            " WHERE action = 'stream.created' AND object_id = CAST(streams.id AS TEXT))"
        ).fetchone()
    return int(count)


def run(server: Server, cycles: int) -> Figures:
    """So many cycles on a server that is ready."""
    figures, writers = Figures(), writers_of(server)
    for _ in range(cycles):
        cycle(server, writers, figures)
    if (server.folder / "data" / "mediaserver.db").exists():
        figures.unaudited = unaudited(server)
    return figures


def main() -> int:
    """Exit status 0 if nothing was lost and every start was quick."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cycles", type=int, default=200)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        tables = {**ROOMY, "server": {"log_level": "warning"}}
        if given.database == "postgresql":
            postgres = Postgres(Path(folder))
            stack.callback(postgres.close)
            tables["database"] = {"url": postgres.url()}
        server = stack.enter_context(running_server(Path(folder), tables))
        figures = run(server, given.cycles)
    sys.stdout.write(json.dumps({"database": given.database}) + f" {figures}\n")
    return 0 if figures.sound and max(figures.starts) < LONGEST_START else 1


if __name__ == "__main__":
    sys.exit(main())
