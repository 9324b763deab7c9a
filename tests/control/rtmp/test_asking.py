"""/api/rtmp/auth as somebody sees it who looks for its secret; and starts of the ports that come to nothing."""

import pytest
from pydantic import ValidationError

from control.db import DatabaseUnavailable
from control.permissions import Role
from mediaserver.config import Config
from tests.control.conftest import OpenPanel
from tests.control.contract.conftest import ObedientEngine
from tests.control.panel import Panel

SECRET = "a secret of some length"
TRIES = 3


async def ask(here: Panel, secret: str) -> tuple[int, str]:
    answer = await here.nobody.post("/api/rtmp/auth", data={"name": "show", "secret": secret})
    return answer.status, answer.headers.get("Retry-After", "")


async def test_after_some_guesses_the_right_secret_is_not_heard_either(panel: OpenPanel) -> None:
    here = await panel(rtmp={"auth_secret": SECRET}, limits={"login": TRIES})
    for _ in range(TRIES + 2):
        assert (await ask(here, SECRET))[0] == 200
    for number in range(TRIES):
        assert (await ask(here, f"guess {number}"))[0] == 403
    for secret in ("another guess", SECRET):
        status, wait = await ask(here, secret)
        assert status == 429
        assert 1 <= int(wait) <= 60


def test_a_secret_that_can_be_guessed_is_none() -> None:
    with pytest.raises(ValidationError):
        Config.model_validate({"rtmp": {"auth_secret": SECRET[:15]}})
    assert Config.model_validate({"rtmp": {"auth_secret": SECRET[:16]}})


async def test_a_host_that_is_none_is_no_mistake_of_ours(panel: OpenPanel) -> None:
    here = await panel()
    admin = await here.log_in()
    answer = await admin.post("/api/rtmp/start", headers={"Host": "["})
    assert answer.status == 200
    assert answer.json["url"].startswith("rtmp://127.0.0.1:")


async def test_ports_are_opened_when_it_is_safe_that_they_are_wanted(
    panel: OpenPanel, engine: ObedientEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = await panel()
    _, admin = await here.person("second", Role.ADMINISTRATOR)
    opened: list[str] = []

    async def open_rtmp() -> None:
        opened.append("opened")

    async def unable(*_: object, **__: object) -> None:
        raise DatabaseUnavailable("full")

    monkeypatch.setattr(engine, "open_rtmp", open_rtmp)
    with monkeypatch.context() as patched:
        patched.setattr("control.audit.record", unable)
        assert (await admin.post("/api/rtmp/start")).status == 503
    assert opened == []
    assert (await admin.post("/api/rtmp/start")).status == 200
    assert opened == ["opened"]
