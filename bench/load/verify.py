"""What a sampled player checks: every frame whole, in order, none missing, time never back; and how long each took."""

import time
from dataclasses import dataclass, field

from bench.load.clip import AUDIO, VIDEO, read_stamp
from bench.load.process import Window


@dataclass(slots=True)
class Findings:
    """What the sampled players of one run saw. Latencies in ms, of video frames sent within the measured time."""

    latencies: list[float] = field(default_factory=list)
    frames: int = 0
    lost: int = 0
    faults: list[str] = field(default_factory=list)

    def merge(self, other: "Findings") -> None:
        self.latencies += other.latencies
        self.frames += other.frames
        self.lost += other.lost
        self.faults += other.faults


class Verifier:
    """One player's stream of messages, checked against the stamps in it."""

    def __init__(self) -> None:
        self.findings = Findings()
        self.window: Window | None = None
        self._last_number: dict[int, int] = {}
        self._last_timestamp: dict[int, int] = {}

    def message(self, type_id: int, timestamp: int, body: bytes) -> None:
        """Check one message that has just become complete."""
        if type_id not in (AUDIO, VIDEO) or len(body) < 2:
            return
        found = self.findings
        try:
            stamp = read_stamp(type_id, body)
        except ValueError as error:
            found.faults.append(str(error))
            return
        if stamp is None:
            return
        found.frames += 1
        last = self._last_number.get(type_id)
        self._last_number[type_id] = stamp.number
        if last is not None and stamp.number != last + 1:
            if stamp.number <= last:
                found.faults.append(f"type {type_id}: frame {stamp.number} came after frame {last}")
            else:
                found.lost += stamp.number - last - 1
        if timestamp < self._last_timestamp.get(type_id, 0):
            found.faults.append(f"type {type_id}: timestamp {timestamp} after {self._last_timestamp[type_id]}")
        self._last_timestamp[type_id] = timestamp
        window = self.window
        if type_id == VIDEO and window is not None and window.start <= stamp.sent_ns < window.end:
            found.latencies.append((time.monotonic_ns() - stamp.sent_ns) / 1e6)
