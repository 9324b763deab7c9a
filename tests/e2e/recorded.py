"""What the tests of recordings look at, and the kill -9 cycles: ``python -m tests.e2e.recorded 50`` runs fifty and prints the
worst loss.
"""

import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from protocols.flv import VIDEO
from tests.e2e.rtmp import RtmpClient, tags_of
from tests.media import Clips, frames
from tests.peers import Server, program, running_server, wait_until

FRAME_RATE = 25
SUFFIXES = (".mp4", ".flv", ".ts", ".mkv")
#: A power cut takes a part and what is on its way at most.
MOST_LOST = 1.0


def files(server: Server, suffix: str = ".mp4") -> list[Path]:
    """The recordings of a server, oldest first."""
    return oldest_first((server.folder / "data" / "recordings").rglob(f"*{suffix}"))


def oldest_first(recordings: Iterable[Path]) -> list[Path]:
    """By the second in which they began, and of one second by the number behind it, which the first of them has not."""

    def began(file: Path) -> tuple[str, int]:
        named = re.fullmatch(r"(.*-\d{8}-\d{6})(?:-(\d+))?", file.stem)
        assert named, file
        return named[1], int(named[2] or 1)

    return sorted(recordings, key=began)


def numbers(file: Path) -> list[int]:
    """The number of every picture in ``file``, as decoded. Empty if it cannot be opened."""
    return [number for number, _ in frames(file)]


def errors(file: Path) -> str:
    """What ffmpeg complains about when it decodes the whole of ``file``."""
    command = [program("ffmpeg"), "-v", "warning", "-i", str(file), "-f", "null", "-"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return result.stderr if result.returncode == 0 else f"status {result.returncode}: {result.stderr}"


@dataclass(frozen=True)
class Cycle:
    """One life of a server: what was sent last, and what the file had of it, before and after it was recovered."""

    sent: int
    found: list[int]
    recovered: list[int]
    complaints: str
    seconds_told: float

    @property
    def lost(self) -> float:
        """Seconds of pictures that are not in the recovered file."""
        return (self.sent + 1 - len(in_a_row(self.recovered))) / FRAME_RATE

    @property
    def whole(self) -> bool:
        """Whether the file plays, before and after, from the first picture on without a gap."""
        # What was cut off between a picture and the B-pictures before it shows as a gap at the very end.
        missing = len(self.recovered) - len(in_a_row(self.recovered))
        return bool(self.found) and self.recovered[:1] == [0] and missing <= 1 and not self.complaints


def in_a_row(seen: list[int]) -> list[int]:
    """The pictures before the first gap."""
    return next((seen[: at + 1] for at, (one, two) in enumerate(pairwise(seen)) if two != one + 1), seen)


def there(server: Server, suffix: str) -> list[int]:
    """The pictures in a row of the newest file."""
    return in_a_row([number for file in files(server, suffix)[-1:] for number in numbers(file)])


def cycle(server: Server, clip: Path, seconds: float, suffix: str = ".mp4") -> Cycle:
    """Send ``clip`` for so many seconds, kill the server, look at the file, start the server again, look once more."""
    sent = -1
    with RtmpClient(server.rtmp("show")).publish() as publisher:
        for type_id, timestamp, body in publisher.pace(tags_of(clip)):
            sent += type_id == VIDEO and body[1] == 1
            if timestamp >= seconds * 1000:
                break
        # What a busy machine has not even let the server read, or write, is no loss of a recording's.
        publisher.settle()
        wait_until(lambda: len(there(server, suffix)) >= sent + 1 - MOST_LOST * FRAME_RATE, "all but a part to be written")
        server.kill()
    file = files(server, suffix)[-1]
    found = numbers(file)
    server.start()
    server.wait_ready(60)
    said = re.findall(r"recording_finished.*", server.log())[-1]
    told = re.search(r"seconds=([\d.]+)", said)
    assert "recovered=True" in said.replace("recovered=true", "recovered=True"), said
    assert not list(file.parent.glob("*.recording")), "a marker is left"
    return Cycle(sent, found, numbers(file), errors(file), float(told[1]) if told else 0.0)


def main(cycles: int, suffix: str) -> None:
    """Print each cycle's loss, and the worst."""
    with tempfile.TemporaryDirectory() as folder:
        clips = Clips(Path(folder))
        clip = clips.get(seconds=12.0, gop=50)
        tables = {"recording": {"always": True, "min_free_bytes": 0, "format": suffix.removeprefix(".")}}
        with running_server(Path(folder), tables) as server:
            lost, broken = [], 0
            for number in range(cycles):
                done = cycle(server, clip, random.uniform(1.2, 5.0), suffix)
                lost.append(done.lost)
                broken += not done.whole
                say(f"{number + 1}: {done.sent + 1} sent, {len(done.recovered)} found, {done.lost:.2f} s lost {done.complaints}")
                wait_until(lambda: not server.live(), "the name to be free")
                time.sleep(1.0)  # a file name has whole seconds
            say(f"{cycles} cycles of {suffix}: worst {max(lost):.2f} s lost, mean {sum(lost) / cycles:.2f} s, {broken} broken")
    sys.exit(bool(broken or max(lost) > MOST_LOST))


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 50, sys.argv[2] if len(sys.argv) > 2 else ".mp4")
