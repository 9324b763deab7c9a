"""What a machine's encoders do, as a child tells it."""

import json
import subprocess
from collections.abc import Sequence

import pytest

from mediaserver import encoders
from mediaserver.encoders import Probe


def test_what_drivers_write_between_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = iter(
        [
            ["libva info: 1.20", json.dumps(["one", ""]), "[]", "3", '["two', json.dumps(["three", ""])],
            [json.dumps(["three", "ValueError: no"]), json.dumps(["three", ""])],
        ]
    )

    def run(command: Sequence[str], **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, -11, "\n".join(next(ends)), "")

    monkeypatch.setattr(encoders.subprocess, "run", run)
    assert encoders.probe(["one", "two", "three"]) == [
        Probe("one", ""),
        Probe("two", "took its process down (status -11)"),
        Probe("three", "ValueError: no"),
    ]
