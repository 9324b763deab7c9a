"""The API does what its OpenAPI document says, whatever is sent: schemathesis reads that, and tries what fits it and what does
not, on a started server."""

import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from typing import Any

import pytest

from control.api import DOMAINS
from tests.conftest import Serve
from tests.contract.asking import ROOMY, Caller, log_in
from tests.peers import ROOT, Server

#: Examples for each operation beyond those at the bounds of each field: few for every run, more for a long one.
EXAMPLES = os.environ.get("SCHEMATHESIS_EXAMPLES", "3")
CHECKS = (
    "status_code_conformance,content_type_conformance,response_schema_conformance,response_headers_conformance,"
    "negative_data_rejection,ignored_auth,unsupported_method"
)
#: All but the one that never ends: it has tests of its own.
PARTS = {
    "accounts": "^/api/(auth|users)",
    "streams": "^/api/streams",
    "webhooks": "^/api/webhooks",
    "all else": "^/api/(destinations|rtmp|system|analytics|live|audit)",
}
ENDLESS = "/api/events"
#: Things of each kind: who deletes some leaves others.
EACH = 12


def test_every_operation_is_in_one_part() -> None:
    paths = {f"/api{operation.path}" for domain in DOMAINS for operation in domain.operations} - {ENDLESS}
    assert {path: sum(bool(re.search(part, path)) for part in PARTS.values()) for path in paths} == dict.fromkeys(paths, 1)


def make_things(admin: Caller) -> dict[str, list[int]]:
    """Things for what stands in paths."""
    made: dict[str, list[int]] = defaultdict(list)
    bodies: dict[str, tuple[str, dict[str, Any]]] = {
        "user_id": ("/api/users", {"password": "a long password"}),
        "stream_id": ("/api/streams", {"name": "Show"}),
        "destination_id": ("/api/destinations", {"name": "There", "platform": "twitch"}),
        "webhook_id": ("/api/webhooks", {"url": "http://127.0.0.1:9/hook"}),
        "key_id": ("/api/auth/api-keys", {"name": "key"}),
    }
    for number in range(EACH):
        bodies["stream_id"][1]["input_url"] = f"rtmp://localhost:{admin.server.rtmp_port}/live/key{number}"
        bodies["user_id"][1].update(username=f"user{number}", email=f"user{number}@example.com")
        for name, (path, body) in bodies.items():
            if name != "user_id" or number < 3:  # their passwords take a while
                made[name].append(admin.made(path, body)["id"])
    return made


def schemathesis(server: Server, key: str, part: str, things: dict[str, list[int]]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [
            sys.executable, "-c", "from schemathesis.cli import schemathesis as s; s()", "run", server.url("/api/openapi.json"),
            "--header", f"Authorization: Bearer {key}", "--max-examples", EXAMPLES, "--phases", "examples,coverage,fuzzing",
            "--checks", CHECKS, "--include-path-regex", part, "--exclude-path", ENDLESS, "--request-timeout", "15",
            "--seed", "1", "--generation-deterministic", "--suppress-health-check", "all",
        ],
        cwd=server.folder, capture_output=True, text=True, timeout=300,
        env={
            **os.environ,
            "NO_COLOR": "1",
            "PYTHONPATH": str(ROOT),
            "SCHEMATHESIS_HOOKS": "tests.e2e.schema_hooks",
            "API_THINGS": json.dumps(things),
        },
    )  # fmt: skip


@pytest.mark.timeout(320)
@pytest.mark.parametrize("part", PARTS)
def test_no_answer_is_undocumented_and_none_is_a_mistake_of_the_server(serve: Serve, part: str) -> None:
    server = serve(**ROOMY, webhooks={"max_per_user": 100_000})
    admin = log_in(server)
    things = make_things(admin)
    # A key, which cannot log itself out, and is none of those that are revoked.
    key = admin.made("/api/auth/api-keys", {"name": "schemathesis"})["key"]
    result = schemathesis(server, key, PARTS[part], things)
    # A 503 that is documented is an answer; what is a mistake of the server's is undocumented, or in its log.
    assert result.returncode == 0, result.stdout[-12000:] + result.stderr[-2000:]
    assert "request_failed" not in server.log()
