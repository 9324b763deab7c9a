"""Somebody who asks a started server over HTTP, and looks at what comes back."""

import http.client
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.contract.shapes import Shape, differences
from tests.peers import Server, wait_until

PASSWORD = "correct horse battery"
#: Tables of a server on which the limits are out of the way.
ROOMY: dict[str, dict[str, Any]] = {
    "auth": {"admin_password": PASSWORD},
    "limits": {
        "api_with_token": 1_000_000,
        "api_without_token": 1_000_000,
        "streaming": 1_000_000,
        "login": 1_000_000,
        "destinations_per_user": 1_000_000,
    },
    "server": {"allow_private_targets": True},
}


@dataclass(frozen=True)
class Answer:
    """What came back, whole. ``json`` is None where it is no JSON."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    json: Any

    def fits(self, shape: Shape, status: int = 200, *, empty: Collection[str] = ()) -> Any:
        """The JSON, which is as ``shape`` says; there is something in every list but those that are named as ``empty``."""
        assert self.status == status, f"{self.status}: {self.body[:2000]!r}"
        wrong = list(differences(shape, self.json, empty=empty))
        assert not wrong, "\n".join(wrong)
        return self.json

    @property
    def code(self) -> str:
        """The word of an error."""
        return str(self.json["error"]["code"])


@dataclass
class Caller:
    """Somebody with a token, or nobody; each request has a connection of its own unless ``keep`` is on."""

    server: Server
    token: str = ""
    keep: bool = False
    _connection: http.client.HTTPConnection | None = field(default=None, repr=False)

    def ask(
        self, method: str, path: str, body: Any = None, *, data: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        sent = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        if body is not None:
            data, sent["Content-Type"] = json.dumps(body).encode(), "application/json"
        connection = self._connection or http.client.HTTPConnection("127.0.0.1", self.server.http_port, timeout=30)
        self._connection = connection if self.keep else None
        try:
            connection.request(method, path, data, {**sent, **(headers or {})})
            response = connection.getresponse()
            content = response.read()
        except BaseException:
            self.close()
            raise
        finally:
            if not self.keep:
                connection.close()
        is_json = response.headers.get_content_type() == "application/json" and bool(content)
        return Answer(response.status, dict(response.headers), content, json.loads(content) if is_json else None)

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def get(self, path: str, **options: Any) -> Answer:
        return self.ask("GET", path, **options)

    def post(self, path: str, body: Any = None, **options: Any) -> Answer:
        return self.ask("POST", path, body, **options)

    def put(self, path: str, body: Any = None, **options: Any) -> Answer:
        return self.ask("PUT", path, body, **options)

    def delete(self, path: str, **options: Any) -> Answer:
        return self.ask("DELETE", path, **options)

    def made(self, path: str, body: Any) -> Any:
        """What a POST that makes something gave."""
        answer = self.post(path, body)
        assert answer.status in (200, 201), answer
        return answer.json

    def wait_for(self, path: str, timeout: float = 30.0, **wanted: Any) -> Any:
        """Ask until the answer has these values; the answer."""

        def there() -> Any:
            seen = self.get(path).json
            return seen if all(seen.get(name) == value for name, value in wanted.items()) else None

        return wait_until(there, f"{wanted} at {path}; the server's log:\n{self.server.log()[-4000:]}", timeout)


def log_in(server: Server, name: str = "admin", password: str = PASSWORD) -> Caller:
    """Somebody who is logged in."""
    answer = Caller(server).post("/api/auth/login", {"username": name, "password": password})
    assert answer.status == 200, answer
    return Caller(server, answer.json["access_token"])


def make_user(admin: Caller, name: str, role: str = "user") -> tuple[int, Caller]:
    """A new user's id, and the user, logged in."""
    body = {"username": name, "email": f"{name}@example.com", "password": PASSWORD, "role": role}
    return admin.made("/api/users", body)["id"], log_in(admin.server, name)
