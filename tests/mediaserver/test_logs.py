"""Log lines: whole, one a line, and without secrets."""

import json
import subprocess
import sys

import pytest

from tests.peers import ROOT

SCRIPT = """
import logging, sys, warnings
from mediaserver import logs
logs.configure("info", sys.argv[1], ["canary-in-text", "x"])
log = logging.getLogger("a name")
facts = {"name": "cam", "session_id": "s1", "key": "canary-key", "query": "token=canary-query", "token": "canary-token"}
log.debug("too quiet")
log.info("publish_started", extra={"facts": facts})
log.info("text with canary-in-text", extra={"facts": {"agent": "a b\\x1b[31m\\u202e\\nforged line", "empty": "", "count": 3}})
logging.getLogger("asyncio").error("Task exception was never retrieved", exc_info=ValueError("canary-in-text"))
warnings.warn("careful")
try:
    1 / 0
except ZeroDivisionError:
    log.exception("failed", extra={"facts": {"session_id": "s2"}})
"""


def lines(form: str) -> list[str]:
    result = subprocess.run([sys.executable, "-c", SCRIPT, form], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    assert result.stdout == ""
    assert "canary" not in result.stderr
    return result.stderr.splitlines()


def test_json_is_one_object_a_line() -> None:
    told = [json.loads(line) for line in lines("json")]
    assert [line["event"] for line in told[:3]] == ["publish_started", "text with ***", "Task exception was never retrieved"]
    assert told[0] | {"at": ""} == {
        "event": "publish_started", "level": "info", "name": "cam", "session_id": "s1",
        "key": "***", "query": "***", "token": "***", "at": "",
    }  # fmt: skip
    assert told[2]["logger"] == "asyncio"
    assert "ValueError: ***" in told[2]["exception"]
    assert told[-1]["exception"].endswith("ZeroDivisionError: division by zero")


def test_text_puts_time_level_event_and_facts_on_a_line_and_lets_nobody_forge_one() -> None:
    told = lines("text")
    at, level, event, *facts = told[0].split()
    assert at[4] == at[7] == "-"
    assert (level, event) == ("info", "publish_started")
    assert facts == ["name=cam", "session_id=s1", "key=***", "query=***", "token=***"]
    assert r"agent='a b\x1b[31m\u202e\nforged line' empty='' count=3" in told[1]
    assert told[-1] == "ZeroDivisionError: division by zero"


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_every_level_of_the_settings_is_known(level: str) -> None:
    code = (
        "import sys, logging; from mediaserver import logs; logs.configure(sys.argv[1], 'text')\n"
        "log = logging.getLogger('x'); [getattr(log, each)(each) for each in ('debug', 'info', 'warning', 'error')]"
    )
    result = subprocess.run([sys.executable, "-c", code, level], capture_output=True, text=True, cwd=ROOT)
    levels = ["debug", "info", "warning", "error"]
    assert [line.split()[1] for line in result.stderr.splitlines()] == levels[levels.index(level) :]


def test_a_standard_error_that_is_gone_does_not_end_the_server() -> None:
    code = (
        "import sys, logging; from mediaserver import logs; logs.configure('info', 'text')\n"
        "sys.stderr.close(); logging.getLogger('x').info('nobody hears it')"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True).returncode == 0
