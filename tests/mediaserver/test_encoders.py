"""What a machine's encoders do, as a child tells it."""

import asyncio
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mediaserver import encoders
from mediaserver.encoders import Probe, Prober
from mediaserver.transcode.transcoders import Machine
from tests.peers import wait_until


class Interpreter:
    """Stands in for Python, which ``Prober`` runs: the test writes what it does. ``pid`` is the one's that hangs."""

    def __init__(self, folder: Path) -> None:
        self.file, self.started = folder / "python", folder / "started"
        self.file.touch()

    def does(self, text: str) -> None:
        self.file.write_text(text)
        self.file.chmod(0o755)

    def hangs(self) -> None:
        """Says of each name that it works, but hangs over ``two``."""
        self.does(f"""#!{sys.base_prefix}/bin/python3
import json, os, sys, time
for name in sys.argv[3:]:
    if name == "two":
        open({str(self.started)!r}, "w").write(str(os.getpid()))
        time.sleep(3600)
    print(json.dumps([name, ""]), flush=True)
""")

    @property
    def pid(self) -> str:
        return self.started.read_text() if self.started.exists() else ""

    @property
    def lives(self) -> bool:
        return Path("/proc", self.pid).exists()


@pytest.fixture
def interpreter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Interpreter:
    made = Interpreter(tmp_path)
    monkeypatch.setattr(sys, "executable", str(made.file))
    return made


def test_what_drivers_write_between_is_no_answer(interpreter: Interpreter) -> None:
    interpreter.does(f"""#!{sys.base_prefix}/bin/python3
import json, os, sys
if sys.argv[3] == "one":
    for line in ["libva info: 1.20", json.dumps(["one", ""]), "[]", "3", '["two', json.dumps(["three", ""])]:
        print(line)
    sys.stdout.buffer.write(b"\\xff\\xfe\\n")
    sys.stdout.flush()
    os.abort()
print(json.dumps(["three", "ValueError: no"]))
print(json.dumps(["three", ""]))
""")
    assert encoders.probe(["one", "two", "three"]) == [
        Probe("one", ""),
        Probe("two", "took its process down (status -6)"),
        Probe("three", "ValueError: no"),
    ]


def test_one_that_hangs_is_told_so_and_the_rest_go_on(interpreter: Interpreter, monkeypatch: pytest.MonkeyPatch) -> None:
    class Popen(subprocess.Popen[str]):
        """Whose time begins to run out only when it hangs: it may be long in starting."""

        def communicate(self, input: str | None = None, timeout: float | None = None) -> tuple[str, str]:  # noqa: A002
            wait_until(lambda: interpreter.pid == str(self.pid) or self.poll() is not None, "it to hang or to end", 60)
            return super().communicate(input, timeout)

    monkeypatch.setattr("mediaserver.encoders.subprocess.Popen", Popen)
    monkeypatch.setattr(encoders, "PATIENCE", 0.5)
    monkeypatch.setattr(encoders, "KILL_PATIENCE", 30.0)
    interpreter.hangs()
    expected = [Probe("one", ""), Probe("two", "did not come to an end"), Probe("three", "")]
    assert encoders.probe(["one", "two", "three"]) == expected
    assert not interpreter.lives


async def test_a_server_that_stops_does_not_wait_for_one_that_hangs(interpreter: Interpreter) -> None:
    interpreter.hangs()
    before = threading.active_count()
    machine = Machine()
    machine._prober = Prober(["one", "two"])
    asking = asyncio.create_task(machine.failures())
    async with asyncio.timeout(60):
        while not interpreter.pid:  # noqa: ASYNC110 - a process of its own
            await asyncio.sleep(0.01)
        machine.close()
        assert await asking == {"one": ""}
        while threading.active_count() > before:  # noqa: ASYNC110 - a thread announces nothing
            await asyncio.sleep(0.01)
    assert not interpreter.lives


def test_drivers_are_told_no_secrets_of_the_environment(interpreter: Interpreter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDIASERVER__AUTH__STREAM_KEYS", "cam=canary")
    monkeypatch.setenv("LIBVA_DRIVER_NAME", "iHD")
    interpreter.does(
        f"#!{sys.base_prefix}/bin/python3\nimport json, os\nprint(json.dumps(['one', ' '.join(os.environ.values())]))\n"
    )
    (probe,) = encoders.probe(["one"])
    assert "canary" not in probe.failure
    assert "iHD" in probe.failure


async def test_a_machine_that_is_closed_tries_nothing(interpreter: Interpreter) -> None:
    interpreter.does("#!/bin/sh\nexit 1\n")
    machine = Machine()
    machine.close()
    assert await machine.failures() == {}


async def test_without_a_process_nothing_is_known_and_it_is_tried_again(
    interpreter: Interpreter, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine()
    machine._prober = Prober(["one"])
    assert await machine.failures() == {}
    interpreter.does('#!/bin/sh\necho \'["one", ""]\'\n')
    assert await machine.failures() == {"one": ""}
