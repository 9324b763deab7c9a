"""A control plane with its application on a free port, and people who ask it."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web import Application, Request

from control.app import create_app
from control.auth.passwords import Passwords
from control.duty import on_duty
from control.gate import GATE
from control.permissions import Role
from control.plane import ControlPlane, open_control
from control.services import Resident, Services
from mediaserver.config import Config
from tests.control.engine import FakeEngine

ADMIN = "admin"
PASSWORD = "correct horse battery"


@dataclass
class Clock:
    """Unix time as a test wants it."""

    now: float = 1_900_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, whole."""

    status: int
    headers: Mapping[str, str]
    json: Any

    @property
    def error(self) -> dict[str, Any]:
        """The documented frame; an answer without it is none."""
        frame = self.json["error"]
        assert set(frame) == {"code", "message", "details", "timestamp", "requestId"}, frame
        assert frame["requestId"] == self.headers["X-Request-ID"]
        return dict(frame)

    @property
    def fields(self) -> set[str]:
        """The faulty fields that it names."""
        return set(self.error["details"]["fields"])


@dataclass
class Person:
    """Somebody with a token, or nobody."""

    panel: "Panel"
    token: str = ""
    login: dict[str, Any] = field(default_factory=dict)

    async def ask(self, method: str, path: str, **options: Any) -> Answer:
        headers = dict(options.pop("headers", {}))
        if self.token:
            headers.setdefault("Authorization", f"Bearer {self.token}")
        response: ClientResponse
        async with self.panel.client.request(method, path, headers=headers, **options) as response:
            is_json = response.content_type == "application/json"
            return Answer(response.status, response.headers, await response.json() if is_json else None)

    async def get(self, path: str, **options: Any) -> Answer:
        return await self.ask("GET", path, **options)

    async def post(self, path: str, **options: Any) -> Answer:
        return await self.ask("POST", path, **options)

    async def put(self, path: str, **options: Any) -> Answer:
        return await self.ask("PUT", path, **options)

    async def delete(self, path: str, **options: Any) -> Answer:
        return await self.ask("DELETE", path, **options)


@dataclass
class Panel:
    """The application, what it stands on, and the clock of its accounts."""

    client: TestClient[Request, Application]
    control: ControlPlane
    resident: Resident
    config: Config
    clock: Clock

    @property
    def nobody(self) -> Person:
        return Person(self)

    async def services(self) -> Services:
        """What operations stand on."""
        assert self.client.app is not None
        return (await self.client.app[GATE].api()).services

    async def log_in(self, name: str = ADMIN, password: str = PASSWORD, **options: Any) -> Person:
        answer = await self.nobody.post("/api/auth/login", json={"username": name, "password": password}, **options)
        assert answer.status == 200, answer
        return Person(self, answer.json["access_token"], answer.json)

    async def person(self, name: str, role: Role = Role.USER) -> tuple[int, Person]:
        """A new user's id, and the user logged in."""
        admin = await self.log_in()
        body = {"username": name, "email": f"{name}@example.com", "password": PASSWORD, "role": role.value}
        answer = await admin.post("/api/users", json=body)
        assert answer.status == 201, answer
        return answer.json["id"], await self.log_in(name)


@contextlib.asynccontextmanager
async def open_panel(
    engine: FakeEngine, folder: Path, url: str, passwords: Passwords, tables: Mapping[str, dict[str, object]]
) -> AsyncIterator[Panel]:
    """A panel over ``engine`` on the database ``url``. The limits are out of the way unless ``tables`` set them."""
    settings: dict[str, dict[str, object]] = {
        "server": {"data_dir": str(folder)},
        "database": {"url": url},
        "auth": {"admin_password": PASSWORD},
        "limits": {"api_with_token": 100_000, "api_without_token": 100_000, "login": 100_000, "destinations_per_user": 100_000},
    }
    for table, keys in tables.items():
        settings[table] = settings.get(table, {}) | keys
    config, clock = Config.model_validate(settings), Clock()
    async with open_control(config, passwords, clock) as control, on_duty(engine, config, control) as resident:  # type: ignore[arg-type]
        client: TestClient[Request, Application] = TestClient(TestServer(create_app(engine, config, resident=resident)))
        await client.start_server()
        try:
            yield Panel(client, control, resident, config, clock)
        finally:
            await client.close()
