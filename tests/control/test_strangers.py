"""Who looks for a stream key by trying."""

import pytest

from control import strangers
from control.auth import models
from control.db import Row, Transaction
from control.strangers import FORGET, WRONG_KEYS, Strangers
from mediaserver.errors import Refused
from mediaserver.ports import PublishRequest, Wire
from tests.control.conftest import OpenPanel
from tests.control.panel import Panel

KEY, ADDRESS, OTHER = "a_key_of_some_length", "203.0.113.7", "203.0.113.8"


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    return sqlite_url


async def push(here: Panel, key: str, address: str = ADDRESS) -> str:
    """Why not; empty where it may."""
    try:
        await here.control.authorizer.may_publish(PublishRequest("s-1", Wire.RTMP, address, "live", key))
    except Refused as refusal:
        return refusal.reason
    return ""


async def test_who_tries_many_keys_is_not_told_which_is_right(panel: OpenPanel) -> None:
    here = await panel(auth={"publish": "keys"})
    admin = await here.log_in()
    assert (await admin.post("/api/streams", json={"name": "x", "input_url": f"rtmp://localhost/live/{KEY}"})).status == 201
    assert {await push(here, f"guess{number}") for number in range(WRONG_KEYS)} == {"unknown stream key"}
    for key in ("another", KEY):
        assert (await push(here, key)).startswith("too many wrong stream keys")
    assert await push(here, KEY, OTHER) == ""
    here.clock.now += FORGET
    assert await push(here, KEY) == ""
    assert await push(here, "guess") == "unknown stream key"


async def test_an_encoder_that_keeps_trying_the_same_wrong_key_shuts_nobody_out(panel: OpenPanel) -> None:
    here = await panel(auth={"publish": "keys", "stream_keys": {"show": KEY}})
    for _ in range(3 * WRONG_KEYS):
        assert await push(here, "old_key") == "unknown stream key"
        assert await push(here, "") == "a stream key is required"
    assert await push(here, KEY) == ""


async def test_who_asks_for_many_from_this_machine_is_not_shut_out_for_one(panel: OpenPanel) -> None:
    here = await panel(auth={"publish": "keys", "stream_keys": {"show": KEY}})
    for address in ("127.0.0.1", "::1", "::ffff:127.0.0.1"):
        assert {await push(here, f"guess{number}", address) for number in range(2 * WRONG_KEYS)} == {"unknown stream key"}
        assert await push(here, KEY, address) == ""


def test_so_many_addresses_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strangers, "REMEMBERED", 3)
    seen = Strangers()
    for number in range(10):
        for key in range(WRONG_KEYS):
            seen.note(f"198.51.100.{number}", str(key), 0.0)
    assert not seen.barred("198.51.100.0", 0.0)
    assert seen.barred("198.51.100.9", 0.0)


async def test_api_keys_that_somebody_makes_up_soon_ask_the_database_no_more(
    panel: OpenPanel, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = await panel(http={"trusted_proxies": ["127.0.0.1"]})
    admin = await here.log_in()
    key = (await admin.post("/api/auth/api-keys", json={"name": "k"})).json["key"]
    asked: list[str] = []
    by_prefix = models.api_key_by_prefix

    async def noted(tx: Transaction, prefix: str) -> Row | None:
        asked.append(prefix)
        return await by_prefix(tx, prefix)

    monkeypatch.setattr(models, "api_key_by_prefix", noted)

    async def ask(given: str, address: str = ADDRESS) -> int:
        return (await here.nobody.get("/api/users/me", headers={"X-API-Key": given, "X-Forwarded-For": address})).status

    made_up = [f"msk_{number:012x}_{'x' * 43}" for number in range(WRONG_KEYS + 5)]
    assert [await ask(each) for each in made_up] == [401] * WRONG_KEYS + [429] * 5
    assert len(asked) == WRONG_KEYS
    here.clock.now += FORGET / 2
    refused = await here.nobody.get("/api/users/me", headers={"X-API-Key": made_up[-1], "X-Forwarded-For": ADDRESS})
    assert (refused.headers["X-RateLimit-Limit"], refused.headers["X-RateLimit-Remaining"]) == (str(WRONG_KEYS), "0")
    assert int(refused.headers["Retry-After"]) == FORGET / 2
    here.clock.now -= FORGET / 2
    assert (await ask(key), await ask(key, OTHER)) == (429, 200)
    assert await ask(key) == 200  # it is known by now
    here.clock.now += FORGET
    assert await ask(made_up[-1]) == 401
