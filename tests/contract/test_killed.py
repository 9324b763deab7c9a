"""kill -9 of the server while its API is being written to. ``python -m tests.contract.killed`` is the long run."""

import os

from tests.conftest import Serve
from tests.contract import killed
from tests.contract.asking import ROOMY
from tests.contract.killed import content, revision_of

KILLS = int(os.environ.get("API_KILLS", "2"))


def test_no_answered_write_is_lost_and_none_is_half_there(serve: Serve) -> None:
    server = serve(**ROOMY)
    figures = killed.run(server, KILLS)
    assert figures.sound, str(figures)
    assert figures.answered >= KILLS


def test_what_is_half_written_would_be_seen() -> None:
    whole = content("show", 4)
    assert revision_of(whole) == 4
    for change in ({"latency_mode": "high"}, {"destinations": whole["destinations"][:1]}, {"keyframe_interval": 3.5}):
        assert revision_of({**whole, **change}) == -1
