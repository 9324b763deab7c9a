"""Each heading of the document has a test that is named like it, or others below it that have."""

import ast
import hashlib
import re
from pathlib import Path

import pytest

#: All of the document's headings but its title, as it writes them.
HEADINGS = """\
## Base URL
## Authentication
### Get Authentication Token
### Using Token
## Stream Management
### List Streams
### Get Stream Details
### Create Stream
### Update Stream
### Delete Stream
### Start Stream
### Stop Stream
### Get Stream Status
### Get Stream Statistics
## RTMP Server Management
### Get RTMP Server Status
### Start RTMP Server
### Stop RTMP Server
### RTMP Authentication
## Destinations Management
### List Destinations
### Create Destination
### Update Destination
### Delete Destination
## Analytics and Reporting
### Get Dashboard Analytics
### Get Stream Analytics
## User Management
### List Users
### Create User
### Update User
## System Information
### Get System Status
### Get System Health
## Webhooks
### Stream Events
#### Stream Started
#### Stream Stopped
#### Viewer Threshold
## Rate Limiting
## Error Handling
### Error Response Format
### Common Error Codes
## SDK Examples
### Python SDK
### JavaScript SDK
## Support
"""
#: Of the document itself: ``grep -E '^#{2,4} ' DOCUMENT | sha256sum``. One that is forgotten above is noticed.
DIGEST = "426805863905353e9b837f710bcdb022eb2eda2e44fba5c12f945bb51fae7b7b"
#: Whom to write to: nothing that a server could do.
NO_PROMISE = {"Support"}

#: Headings of others, which have their tests.
GROUPS = {
    "Authentication": ["Get Authentication Token", "Using Token"],
    "Stream Management": [
        "List Streams", "Get Stream Details", "Create Stream", "Update Stream", "Delete Stream", "Start Stream", "Stop Stream",
        "Get Stream Status", "Get Stream Statistics",
    ],
    "RTMP Server Management": ["Get RTMP Server Status", "Start RTMP Server", "Stop RTMP Server", "RTMP Authentication"],
    "Destinations Management": ["List Destinations", "Create Destination", "Update Destination", "Delete Destination"],
    "Analytics and Reporting": ["Get Dashboard Analytics", "Get Stream Analytics"],
    "User Management": ["List Users", "Create User", "Update User"],
    "System Information": ["Get System Status", "Get System Health"],
    "Webhooks": ["Stream Events"],
    "Stream Events": ["Stream Started", "Stream Stopped", "Viewer Threshold"],
    "Error Handling": ["Error Response Format", "Common Error Codes"],
    "SDK Examples": ["Python SDK", "JavaScript SDK"],
}  # fmt: skip

OUTLINE = [(len(marks), name) for marks, name in re.findall(r"^(#+) (.+)$", HEADINGS, re.MULTILINE)]
TESTS = {
    node.name
    for file in Path(__file__).parent.glob("test_*.py")
    for node in ast.walk(ast.parse(file.read_text("utf-8")))
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
}


def below(place: int) -> list[str]:
    """The headings one level below the one at ``place``."""
    level, _ = OUTLINE[place]
    members = []
    for deeper, name in OUTLINE[place + 1 :]:
        if deeper <= level:
            break
        if deeper == level + 1:
            members.append(name)
    return members


def name_of(heading: str) -> str:
    return "test_" + re.sub(r"\W+", "_", heading).lower()


def test_the_list_of_headings_is_the_document_s() -> None:
    assert hashlib.sha256(HEADINGS.encode()).hexdigest() == DIGEST


@pytest.mark.parametrize("place", range(len(OUTLINE)), ids=[name_of(name) for _, name in OUTLINE])
def test_the_heading_has_a_test_of_its_name_or_is_a_group_of_such(place: int) -> None:
    name = OUTLINE[place][1]
    assert name_of(name) in TESTS or name in GROUPS or name in NO_PROMISE


def test_a_group_is_a_heading_that_only_has_others_below_it() -> None:
    told = {name: below(place) for place, (_, name) in enumerate(OUTLINE) if below(place)}
    assert told == GROUPS
