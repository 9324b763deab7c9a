"""What ``python -m bench`` is told."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.load.play import Drain


@dataclass(frozen=True, slots=True)
class Options:
    """The command line. None: what the row says itself."""

    work: tuple[str, ...]
    peers: tuple[str, ...]
    rounds: int
    seconds: float
    out: Path
    players: int | None
    streams: int | None
    publishers: int | None
    bitrate: float | None  # bit/s
    latency: int | None  # ms
    drain: Drain
    nice: int
    realtime: bool
    patience: float  # seconds


def parse(arguments: Sequence[str], work: Sequence[str]) -> Options:
    """Options from ``arguments``; ``work`` is the names of all rows."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="This server beside nginx-rtmp: one table with ratios.")
    parser.add_argument("--work", nargs="+", metavar="NAME", choices=work, default=list(work), help=f"rows: {', '.join(work)}")
    parser.add_argument("--players", type=_positive, metavar="N", help="players instead of a row's own number")
    parser.add_argument("--streams", type=_positive, metavar="N", help="streams of the streams rows, five players each")
    parser.add_argument("--publishers", type=_positive, metavar="N", help="publishers of the publishers rows")
    parser.add_argument("--bitrate", type=float, metavar="MBIT", help="Mbit/s of every stream")
    parser.add_argument("--latency-budget", type=int, metavar="MS", help="rtmp.max_latency of this server")
    parser.add_argument("--seconds", type=float, default=8.0, metavar="S", help="measured time of a run (8)")
    parser.add_argument("--rounds", type=_positive, default=3, metavar="N", help="rounds of each row, both in turn (3)")
    parser.add_argument("--peer", default="nginx,ours", metavar="NAMES", help="who runs: nginx,ours (default) or one of them")
    parser.add_argument("--drain", choices=[mode.value for mode in Drain], default="ready", help="when counted players read")
    parser.add_argument("--nice", type=int, default=-15, metavar="N", help="priority of servers and load alike, if allowed (-15)")
    parser.add_argument(
        "--realtime", action="store_true", help="run servers and load in real time, on a machine that others use too (root)"
    )
    parser.add_argument(
        "--patience", type=float, default=20.0, metavar="S", help="wait so long for quiet cores before a run (20)"
    )
    parser.add_argument("--out", type=Path, default=Path("bench/out"), metavar="DIR", help="where JSON and plot go (bench/out)")
    given = parser.parse_args(arguments)
    peers = tuple(given.peer.split(","))
    if not peers or set(peers) - {"nginx", "ours"}:
        parser.error("--peer takes nginx, ours or nginx,ours")
    return Options(
        work=tuple(given.work),
        peers=peers,
        rounds=given.rounds,
        seconds=given.seconds,
        out=given.out,
        players=given.players,
        streams=given.streams,
        publishers=given.publishers,
        bitrate=given.bitrate * 1e6 if given.bitrate else None,
        latency=given.latency_budget,
        drain=Drain(given.drain),
        nice=given.nice,
        realtime=given.realtime,
        patience=given.patience,
    )


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError
    return value
