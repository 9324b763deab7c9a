"""How long a stream is said to have lasted: until its last publisher left, not until nobody waited for it any more."""

import asyncio
from types import SimpleNamespace

import pytest

from mediaserver.events import PublishEnded, PublisherLeft, PublishStarted
from mediaserver.hub import hub as hub_module
from mediaserver.ports import PublishGrant
from tests.mediaserver.hub.test_hub import PATIENCE, TRACK, Recorder, hub, ignore, session


@pytest.mark.parametrize("grace", [0.0, 0.02])
async def test_the_time_in_which_a_publisher_was_waited_for_is_none_on_air(grace: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look at the clock, and ten seconds have passed."""
    clock = iter(range(1_900_000_000, 2_000_000_000, 10))
    wall = SimpleNamespace(time=lambda: float(next(clock)), monotonic=lambda: 1000.0)
    monkeypatch.setattr(hub_module, "time", wall)
    house, note = hub(grace=grace)
    publisher = house.publish(PublishGrant("cam"), session(), ignore)
    publisher.write_track(TRACK)
    watching = Recorder()
    publisher.stream.subscribe(watching, replay=False)
    publisher.close("cable pulled")
    async with asyncio.timeout(PATIENCE):
        await watching.ended.wait()
    (started,) = (event for event in note.events if isinstance(event, PublishStarted))
    (left,) = (event for event in note.events if isinstance(event, PublisherLeft))
    (ended,) = (event for event in note.events if isinstance(event, PublishEnded))
    assert started.at <= left.at < ended.at
    assert ended.seconds == left.at - publisher.stream.since
