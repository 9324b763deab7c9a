"""Things of a user's for operations to be tried on: each is made anew, so that whoever deletes one leaves the others."""

import itertools
from dataclasses import dataclass
from typing import Any

from control.webhooks import models
from tests.control.panel import PASSWORD, Panel, Person

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Owner:
    """Somebody with an account."""

    user_id: int
    person: Person


async def _made(person: Person, path: str, body: dict[str, Any]) -> int:
    answer = await person.post(path, json=body)
    assert answer.status == 201, answer
    return int(answer.json["id"])


async def make(panel: Panel, owner: Owner, parameter: str) -> dict[str, int]:
    """A new thing of ``owner`` for a parameter in a path; more than one where things lie in each other."""
    number, person = next(_numbers), owner.person
    match parameter:
        case "stream_id":
            url = f"rtmp://localhost/live/a_long_key_of_{number}"
            return {parameter: await _made(person, "/api/streams", {"name": "Show", "input_url": url})}
        case "destination_id":
            return {parameter: await _made(person, "/api/destinations", {"name": "There", "platform": "twitch"})}
        case "webhook_id":
            return {parameter: await _made(person, "/api/webhooks", {"url": "http://127.0.0.1:9/hook"})}
        case "delivery_id":
            webhook = await make(panel, owner, "webhook_id")
            return webhook | {parameter: await _delivery(panel, webhook["webhook_id"], f"msg_{number}")}
        case "key_id":
            return {parameter: await _made(person, "/api/auth/api-keys", {"name": "a key"})}
        case "user_id":
            return {parameter: owner.user_id}
    raise AssertionError(f"nothing is known of {parameter}: say how one is made")


async def _delivery(panel: Panel, webhook_id: int, message_id: str) -> int:
    async with panel.control.db.write() as tx:
        number = await models.insert_delivery(tx, webhook_id, (message_id, "stream.started", "{}"), 0.0, 1e12, None)
        assert number is not None
        await models.delivered(tx, number, 200, 1.0)
    return number


async def make_user(panel: Panel, role: str = "user") -> Owner:
    """A new user, logged in."""
    name, admin = f"user{next(_numbers)}", await panel.log_in()
    body = {"username": name, "email": f"{name}@example.com", "password": PASSWORD, "role": role}
    number = await _made(admin, "/api/users", body)
    return Owner(number, await panel.log_in(name))


def good_body(operation: str, owner: Owner) -> dict[str, Any] | None:
    """What ``operation`` takes."""
    number = next(_numbers)
    bodies: dict[str, dict[str, Any]] = {
        "POST /auth/login": {"username": "admin", "password": PASSWORD},
        "POST /auth/refresh": {"refresh_token": owner.person.login.get("refresh_token", "x.y.z")},
        "POST /auth/password": {"current_password": PASSWORD, "new_password": PASSWORD},
        "POST /auth/api-keys": {"name": "mine"},
        "POST /users": {"username": f"new{number}", "email": f"new{number}@example.com", "password": PASSWORD},
        "PUT /users/{user_id}": {"email": f"other{number}@example.com"},
        "POST /streams": {"name": "Show", "input_url": f"rtmp://localhost/live/a_long_new_key_{number}"},
        "PUT /streams/{stream_id}": {"name": "Another"},
        "POST /destinations": {"name": "There", "platform": "twitch"},
        "PUT /destinations/{destination_id}": {"name": "Elsewhere"},
        "POST /webhooks": {"url": "http://127.0.0.1:9/hook"},
        "PUT /webhooks/{webhook_id}": {"enabled": False},
    }
    return bodies.get(operation)
