"""Who asks may no more by the time that the request is whole, or that the database has time for it."""

import asyncio
import hashlib
import json

import pytest

from control.auth import models
from control.db import Database
from control.permissions import Role
from tests.control.conftest import OpenPanel
from tests.control.panel import PASSWORD, Panel, Person

PATIENCE = 30.0


@pytest.fixture
async def here(panel: OpenPanel) -> Panel:
    return await panel()


async def known(panel: Panel, token: str) -> None:
    """``token`` was looked at."""
    accounts = (await panel.services()).accounts
    async with asyncio.timeout(PATIENCE):
        while hashlib.sha256(token.encode()).digest() not in accounts._known:  # noqa: ASYNC110 - nothing announces it
            await asyncio.sleep(0.01)


async def blocked(panel: Panel, number: int = 1) -> None:
    """So many wait for what another transaction holds."""
    await blocked_in(panel.control.db, number)


async def blocked_in(database: Database, number: int = 1) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            async with database.read() as tx:
                if len(await tx.rows("SELECT 1 FROM pg_locks WHERE NOT granted")) >= number:
                    return


class Held:
    """A request of which all but the last byte was sent and the sender was recognized."""

    def __init__(self, panel: Panel, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, last: bytes) -> None:
        self.panel, self._reader, self._writer, self._last = panel, reader, writer, last

    async def finish(self) -> int:
        """Send it. The status of the answer."""
        self._writer.write(self._last)
        async with asyncio.timeout(PATIENCE):
            answer = await self._reader.read()
        self._writer.close()
        await self._writer.wait_closed()
        return int(answer.split(b" ", 2)[1])


async def hold(panel: Panel, token: str, method: str, path: str, body: object) -> Held:
    data = json.dumps(body).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", panel.client.port)
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Connection: close\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data[:-1])
    await known(panel, token)
    return Held(panel, reader, writer, data[-1:])


async def shown(panel: Panel, number: int) -> tuple[str, bool]:
    user = (await (await panel.log_in()).get(f"/api/users/{number}")).json
    return user["role"], user["enabled"]


@pytest.mark.parametrize(
    "body", [{"role": "administrator", "enabled": True}, {"role": "administrator", "enabled": True, "password": PASSWORD}]
)
async def test_who_was_disabled_while_the_body_came_changes_nothing(here: Panel, body: dict[str, object]) -> None:
    number, user = await here.person("mallory", Role.ADMINISTRATOR)
    held = await hold(here, user.token, "PUT", f"/api/users/{number}", body)
    admin = await here.log_in()
    assert (await admin.put(f"/api/users/{number}", json={"role": "user", "enabled": False})).status == 200
    assert await held.finish() == 401
    assert await shown(here, number) == ("user", False)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/api/users", {"username": "new", "email": "n@e.w", "password": PASSWORD}),
        ("POST", "/api/streams", {"name": "Camera", "input_type": "rtsp", "input_url": "rtsp://camera.example/1"}),
        ("POST", "/api/webhooks", {"url": "http://127.0.0.1:9/"}),
        ("POST", "/api/auth/api-keys", {"name": "k"}),
        ("POST", "/api/auth/logout", {}),
        ("GET", "/api/users/me", {}),
    ],
)
async def test_whose_login_ended_while_the_body_came_is_a_stranger(
    here: Panel, method: str, path: str, body: dict[str, object]
) -> None:
    number, user = await here.person("mallory", Role.ADMINISTRATOR)
    held = await hold(here, user.token, method, path, body)
    admin = await here.log_in()
    assert (await admin.put(f"/api/users/{number}", json={"password": "another password"})).status == 200
    assert await held.finish() == 401


async def test_a_key_does_not_do_what_its_user_no_longer_may(here: Panel) -> None:
    number, user = await here.person("mallory", Role.ADMINISTRATOR)
    key = (await user.post("/api/auth/api-keys", json={"name": "k"})).json["key"]
    held = await hold(here, key, "PUT", f"/api/users/{number}", {"role": "administrator"})
    admin = await here.log_in()
    assert (await admin.put(f"/api/users/{number}", json={"role": "user"})).status == 200
    assert await held.finish() == 403
    assert await shown(here, number) == ("user", True)


async def test_who_was_disabled_while_the_database_was_busy_changes_nothing(here: Panel) -> None:
    number, user = await here.person("mallory", Role.ADMINISTRATOR)
    async with here.control.db.write() as tx:
        await models.hold_administrators(tx)
        asking = asyncio.create_task(Person(here, user.token).put(f"/api/users/{number}", json={"enabled": True}))
        await known(here, user.token)
        if here.config.database.url.get_secret_value().startswith("postgresql"):
            await blocked(here)
        await models.update_user(tx, number, {"disabled": 1}, here.clock.now)
        await models.end_generation(tx, number, here.clock.now)
    assert (await asking).status == 401
    assert await shown(here, number) == ("administrator", False)
