"""``/api/events``: who sees what, what is remembered, and what becomes of those who do not keep up."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientResponse

from control import duty
from control.auth import models
from control.db import DatabaseUnavailable
from control.live import routes, service
from control.live.pulse import Pulse
from control.permissions import Role
from mediaserver.events import (
    PublishEnded,
    PublisherLeft,
    PublishStarted,
    RecordingFinished,
    RelayChanged,
    TranscodeChanged,
)
from mediaserver.ports import Wire
from mediaserver.snapshot import RelayState
from tests.control.conftest import OpenPanel
from tests.control.engine import FakeEngine, stream
from tests.control.panel import PASSWORD, Panel, Person

AT = 1_735_725_600.0
PATIENCE = 30.0

one_database = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
shared_database = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


class Reader:
    """A client as the specification has it: fields of a line each, an event at an empty line, comments beside."""

    def __init__(self, response: ClientResponse) -> None:
        self.response = response
        self.comments = 0
        self.retry = ""

    async def next(self) -> tuple[str, str, dict[str, Any]]:
        """Id, kind and data of the next event. Raises EOFError at the end."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(PATIENCE):
            while True:
                line = (await self.response.content.readline()).decode()
                if not line:
                    raise EOFError
                line = line.rstrip("\n")
                name, _, value = line.partition(": ")
                if not line and "data" in fields:
                    return fields.get("id", ""), fields["event"], json.loads(fields["data"])
                if line.startswith(":"):
                    self.comments += 1
                elif name == "retry":
                    self.retry = value
                elif line:
                    fields[name] = value

    async def take(self, count: int) -> list[str]:
        """The kinds of the next events."""
        return [(await self.next())[1] for _ in range(count)]


@contextlib.asynccontextmanager
async def reading(person: Person, path: str = "/api/events", **headers: str) -> AsyncIterator[Reader]:
    given = {"Authorization": f"Bearer {person.token}"} if person.token else {}
    async with person.panel.client.get(path, headers=given | headers) as response:
        assert response.status == 200, await response.text()
        assert response.content_type == "text/event-stream"
        yield Reader(response)


async def make_stream(person: Person, key: str = "canary_key") -> int:
    body = {"name": "Show", "input_url": f"rtmp://localhost:1935/live/a_long_one_{key}"}
    return int((await person.post("/api/streams", json=body)).json["id"])


def started(stream_id: int, *, resumed: bool = False) -> PublishStarted:
    return PublishStarted(f"stream_{stream_id}", "s-1", AT, Wire.RTMP, "192.0.2.1", "encoder", resumed)


def ended(stream_id: int) -> PublishEnded:
    return PublishEnded(f"stream_{stream_id}", "s-1", AT + 60, "the encoder hung up", 1000, 60.4)


def updates(panel: Panel) -> service.LiveUpdates:
    return panel.resident.live


async def test_a_stream_s_life_as_its_owner_sees_it(
    panel: OpenPanel, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pulse, "beat", lambda _: None)  # how many watch is told in between, whenever that is
    opened = await panel()
    admin = await opened.log_in()
    number = await make_stream(admin)
    name = f"stream_{number}"
    async with reading(admin) as reader:
        engine.show(stream(name, publishing=False))
        for event in (
            started(number),
            PublisherLeft(name, "s-1", AT + 1, "gone"),
            started(number, resumed=True),
            RelayChanged(name, "", AT + 2, "destination_7", RelayState.LIVE, "CONFIRMED"),
            TranscodeChanged(name, "", AT + 3, ("720p",), "begun"),
            RecordingFinished(name, "", AT + 4, "r", "/srv/secret/place/show.mp4", 1000, 12.5, False, "the stream ended"),
        ):
            opened.control.feed.emit(event)
        told = [await reader.next() for _ in range(7)]
        # Who leaves a stream that ends with that has not left it waiting, and its end is told once.
        engine.show()
        for event in (PublisherLeft(name, "s-1", AT + 60, "the encoder hung up"), ended(number), ended(number)):
            opened.control.feed.emit(event)
        told += [await reader.next() for _ in range(3)]
        assert reader.retry == "2000"
    own = {"stream_id": number, "name": name}
    assert [(kind, data) for _, kind, data in told] == [
        ("stream.started", {**own, "timestamp": "2025-01-01T10:00:00Z"}),
        ("stream.status", {**own, "timestamp": "2025-01-01T10:00:00Z", "status": "running", "reason": "started"}),
        ("stream.status", {**own, "timestamp": "2025-01-01T10:00:01Z", "status": "starting", "reason": "gone"}),
        ("stream.status", {**own, "timestamp": "2025-01-01T10:00:00Z", "status": "running", "reason": "resumed"}),
        (
            "relay.changed",
            {**own, "timestamp": "2025-01-01T10:00:02Z", "destination_id": 7, "status": "active", "reason": "CONFIRMED"},
        ),
        ("transcode.changed", {**own, "timestamp": "2025-01-01T10:00:03Z", "qualities": ["720p"], "reason": "begun"}),
        ("recording.finished", {**own, "timestamp": "2025-01-01T10:00:04Z", "file": "show.mp4", "bytes": 1000, "duration": 12.5}),
        ("stream.status", {**own, "timestamp": "2025-01-01T10:01:00Z", "status": "stopped", "reason": "the encoder hung up"}),
        *2 * [("stream.stopped", {**own, "timestamp": "2025-01-01T10:01:00Z", "duration": 60, "reason": "the encoder hung up"})],
    ]
    assert len({update_id for update_id, _, _ in told}) == 10


async def test_viewers_are_told_when_their_number_changes(
    panel: OpenPanel, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duty, "Pulse", lambda on_air: Pulse(on_air, 0.02))
    opened = await panel()
    admin = await opened.log_in()
    number = await make_stream(admin)
    async with reading(admin) as reader:
        for viewers, peak in ((5, 5), (3, 5)):
            engine.show(stream(f"stream_{number}", players={Wire.HLS: viewers}))
            _, kind, data = await reader.next()
            assert (kind, data["current_viewers"], data["peak_viewers"]) == ("viewers", viewers, peak)


async def test_users_see_their_own_and_moderators_all(panel: OpenPanel) -> None:
    opened = await panel()
    _, ann = await opened.person("ann")
    _, bea = await opened.person("bea")
    _, mod = await opened.person("mod", Role.MODERATOR)
    first, second = await make_stream(ann, "key_of_ann"), await make_stream(bea, "key_of_bea")
    async with reading(ann) as hers, reading(mod) as all_of_them:
        opened.control.feed.emit(started(second))
        opened.control.feed.emit(PublishStarted("demo", "s-2", AT, Wire.RTMP, "", "", resumed=False))
        opened.control.feed.emit(started(first))
        assert (await hers.next())[2]["stream_id"] == first
        seen = [(await all_of_them.next())[2]["stream_id"] for _ in range(6)]
        assert seen == [second, second, None, None, first, first]


async def test_last_event_id_brings_what_was_missed(panel: OpenPanel) -> None:
    opened = await panel()
    admin = await opened.log_in()
    number = await make_stream(admin)
    async with reading(admin) as reader:
        opened.control.feed.emit(started(number))
        last, kind, _ = await reader.next()
        assert kind == "stream.started"
    opened.control.feed.emit(ended(number))
    async with reading(admin, **{"Last-Event-ID": last}) as reader:
        assert await reader.take(3) == ["stream.status", "stream.stopped", "stream.status"]
    async with reading(admin, f"/api/events?last_event_id={last}") as reader:
        assert await reader.take(1) == ["stream.status"]
    async with reading(admin) as reader:
        opened.control.feed.emit(started(number))
        assert await reader.take(1) == ["stream.started"]


@pytest.mark.parametrize("last", ["deadbeef-1", "nonsense", "-", "9" * 60, "{life}-999999", "{life}--1"])
async def test_an_id_that_is_not_remembered_is_told_so(panel: OpenPanel, last: str) -> None:
    opened = await panel()
    admin = await opened.log_in()
    given = last.format(life=updates(opened).id_of(service.Update(1, None, "", "")).partition("-")[0])
    async with reading(admin, **{"Last-Event-ID": given}) as reader:
        assert (await reader.next())[1] == "missed"


async def test_event_source_gives_its_token_in_the_address(panel: OpenPanel) -> None:
    """An access token, for this route alone; never an API key, which is good for long."""
    opened = await panel()
    admin = await opened.log_in()
    number = await make_stream(admin)
    nobody = Person(opened)
    async with reading(nobody, f"/api/events?token={admin.token}") as reader:
        opened.control.feed.emit(started(number))
        assert await reader.take(1) == ["stream.started"]
    assert (await nobody.get(f"/api/streams?token={admin.token}")).status == 401
    key = (await admin.post("/api/auth/api-keys", json={"name": "k", "scopes": ["destinations"]})).json["key"]
    for path, headers, status in (
        ("/api/events", {}, 401),
        ("/api/events?token=nonsense", {}, 401),
        (f"/api/events?token={key}", {}, 403),
        ("/api/events", {"X-API-Key": key}, 403),
    ):
        answer = await nobody.get(path, headers=headers)
        assert answer.status == status, path
        assert answer.error["code"] == ("UNAUTHORIZED" if status == 401 else "FORBIDDEN")


async def test_the_token_is_in_no_log(panel: OpenPanel, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    opened = await panel()
    admin = await opened.log_in()
    async with reading(Person(opened), f"/api/events?token={admin.token}") as reader:
        opened.control.feed.emit(started(await make_stream(admin)))
        await reader.take(1)
    assert admin.token not in caplog.text


async def test_a_heartbeat_shows_that_it_lives_and_ends_for_who_may_no_longer(
    panel: OpenPanel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "HEARTBEAT", 0.05)
    monkeypatch.setattr(routes, "LOOK", 0.05)
    opened = await panel()
    number, ann = await opened.person("ann")
    admin = await opened.log_in()
    async with reading(ann) as reader:
        line = b""
        while line != b": alive\n":
            line = await asyncio.wait_for(reader.response.content.readline(), PATIENCE)
            assert line
        assert (await admin.put(f"/api/users/{number}", json={"enabled": False})).status == 200
        with pytest.raises(EOFError):
            await reader.next()


async def test_the_token_of_a_header_comes_before_the_others_and_in_one_order_everywhere(panel: OpenPanel) -> None:
    opened = await panel()
    _, ann = await opened.person("ann")
    admin = await opened.log_in()
    key = (await ann.post("/api/auth/api-keys", json={"name": "k"})).json["key"]
    nobody = Person(opened)
    assert (await nobody.get("/api/events", headers={"Authorization": f"Basic {admin.token}"})).status == 401
    number = await make_stream(admin)
    async with reading(admin, f"/api/events?token={ann.token}", **{"X-API-Key": key}) as reader:
        opened.control.feed.emit(started(number))
        assert await reader.take(1) == ["stream.started"]


@one_database
async def test_a_token_in_the_address_is_counted_as_its_user_s(panel: OpenPanel) -> None:
    opened = await panel(limits={"api_without_token": 3})
    admin = await opened.log_in()
    for _ in range(5):
        assert (await opened.nobody.ask("HEAD", f"/api/events?token={admin.token}")).status == 200


@one_database
@pytest.mark.parametrize("end", ["logout", "password", "role", "disabled", "deleted", "key"])
async def test_who_may_no_longer_hears_nothing_more_at_all(panel: OpenPanel, monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    """Not one update that comes behind the answer to whatever ended it."""
    monkeypatch.setattr(routes, "LOOK", 1000.0)  # what comes by itself is too late
    opened = await panel()
    number, ann = await opened.person("ann")
    made = (await ann.post("/api/auth/api-keys", json={"name": "k"})).json
    admin = await opened.log_in()
    own = await make_stream(ann)
    key = {"X-API-Key": made["key"]} if end == "key" else {}
    async with reading(Person(opened) if key else ann, **key) as reader:
        opened.control.feed.emit(started(own))
        assert await reader.take(2) == ["stream.started", "stream.status"]
        change = {
            "logout": lambda: ann.post("/api/auth/logout"),
            "password": lambda: ann.post(
                "/api/auth/password", json={"current_password": PASSWORD, "new_password": "another one"}
            ),
            "role": lambda: admin.put(f"/api/users/{number}", json={"role": "moderator"}),
            "disabled": lambda: admin.put(f"/api/users/{number}", json={"enabled": False}),
            "deleted": lambda: admin.delete(f"/api/users/{number}"),
            "key": lambda: ann.delete(f"/api/auth/api-keys/{made['id']}"),
        }[end]
        assert (await change()).status == 200
        opened.control.feed.emit(TranscodeChanged(f"stream_{own}", "", AT, (), "secret"))
        async with asyncio.timeout(PATIENCE):
            assert b"secret" not in await reader.response.content.read()


@one_database
async def test_who_may_no_longer_is_sent_away_though_nothing_happens(panel: OpenPanel) -> None:
    opened = await panel()
    admin = await opened.log_in()
    async with reading(admin) as reader:
        assert (await admin.post("/api/auth/logout")).status == 200
        with pytest.raises(EOFError):
            await reader.next()


@shared_database
async def test_what_another_node_changed_is_seen_by_whom_it_concerns(panel: OpenPanel, monkeypatch: pytest.MonkeyPatch) -> None:
    """What this node knows of a token is believed for five seconds of its clock, which stands still here."""
    monkeypatch.setattr(routes, "ASK", 0.1)
    monkeypatch.setattr(routes, "LOOK", 0.05)
    opened = await panel()
    number, ann = await opened.person("ann")
    async with reading(ann) as reader:
        async with opened.control.db.write() as tx:
            await models.end_generation(tx, number, AT)
        with pytest.raises(EOFError):
            await reader.next()


@shared_database
async def test_what_another_node_changed_for_one_leaves_what_is_known_of_others(
    panel: OpenPanel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "ASK", 0.1)
    monkeypatch.setattr(routes, "LOOK", 0.05)
    opened = await panel()
    number, ann = await opened.person("ann")
    admin = await opened.log_in()
    accounts = (await opened.services()).accounts
    async with reading(ann) as reader:
        await accounts.authenticate(admin.token)
        async with opened.control.db.write() as tx:
            await models.end_generation(tx, number, AT)
        with pytest.raises(EOFError):
            await reader.next()

    def away() -> None:
        raise DatabaseUnavailable("of another, nobody has to ask again")

    monkeypatch.setattr(opened.control.db, "read", away)
    assert (await accounts.authenticate(admin.token)).role is Role.ADMINISTRATOR


@one_database
async def test_nobody_is_asked_who_may_read_where_no_other_node_writes(panel: OpenPanel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "ASK", 0.0)
    opened = await panel()
    admin = await opened.log_in()
    number = await make_stream(admin)
    asked: list[object] = []

    async def confirm(*question: object) -> None:
        asked.append(question)

    async with reading(admin) as reader:
        with monkeypatch.context() as patched:
            patched.setattr((await opened.services()).accounts, "confirm", confirm)
            for _ in range(5):
                opened.control.feed.emit(TranscodeChanged(f"stream_{number}", "", AT, (), "begun"))
                assert await reader.take(1) == ["transcode.changed"]
    assert not asked


@one_database
async def test_a_role_that_changed_counts_from_the_next_look_on(panel: OpenPanel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "LOOK", 0.05)
    opened = await panel()
    number, ann = await opened.person("ann", Role.MODERATOR)
    key = (await ann.post("/api/auth/api-keys", json={"name": "k"})).json["key"]
    admin = await opened.log_in()
    theirs, own = await make_stream(admin), await make_stream(ann, "another_key")
    async with reading(Person(opened), **{"X-API-Key": key}) as reader:
        opened.control.feed.emit(started(theirs))
        assert (await reader.next())[2]["stream_id"] == theirs
        assert await reader.take(1) == ["stream.status"]
        assert (await admin.put(f"/api/users/{number}", json={"role": "user"})).status == 200
        async with asyncio.timeout(PATIENCE):
            while any(r.actor.role is not Role.USER for r in updates(opened)._readers):  # noqa: ASYNC110 - nothing announces it
                await asyncio.sleep(0.01)
        for stream_id in (theirs, own):
            opened.control.feed.emit(started(stream_id))
        assert (await reader.next())[2]["stream_id"] == own


@one_database
async def test_a_database_that_does_not_answer_ends_no_updates(panel: OpenPanel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "LOOK", 0.05)
    opened = await panel()
    admin = await opened.log_in()
    number = await make_stream(admin)
    asked = asyncio.Event()

    async def away(_: str) -> None:
        asked.set()
        raise DatabaseUnavailable("locked")

    async with reading(admin) as reader:
        with monkeypatch.context() as patched:
            patched.setattr((await opened.services()).accounts, "authenticate", away)
            await asyncio.wait_for(asked.wait(), PATIENCE)
        opened.control.feed.emit(started(number))
        assert await reader.take(1) == ["stream.started"]


@one_database
async def test_a_database_that_is_away_is_left_alone_for_a_while_unless_rights_change(
    panel: OpenPanel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "LOOK", 1000.0)
    monkeypatch.setattr(routes, "AWAY", 1000.0)
    opened = await panel()
    admin = await opened.log_in()
    number = await make_stream(admin)
    accounts = (await opened.services()).accounts
    asked: list[str] = []

    async def away(token: str) -> None:
        asked.append(token)
        raise DatabaseUnavailable("locked")

    async with reading(admin) as reader:
        with monkeypatch.context() as patched:
            patched.setattr(accounts, "authenticate", away)
            for rounds in (1, 2):
                for _ in range(5):
                    opened.control.feed.emit(TranscodeChanged(f"stream_{number}", "", AT, (), "begun"))
                    assert await reader.take(1) == ["transcode.changed"]
                assert len(asked) == rounds
                accounts.forget()
        assert (await admin.post("/api/auth/logout")).status == 200
        opened.control.feed.emit(started(number))
        with pytest.raises(EOFError):
            await reader.next()


@one_database
async def test_a_mistake_of_ours_puts_no_second_answer_among_the_updates(
    panel: OpenPanel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(routes, "LOOK", 0.05)
    opened = await panel()
    admin = await opened.log_in()

    async def broken(_: str) -> None:
        raise ZeroDivisionError

    reader, writer = await asyncio.open_connection("127.0.0.1", opened.client.port)
    writer.write(f"GET /api/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {admin.token}\r\n\r\n".encode())
    async with asyncio.timeout(PATIENCE):
        answer = await reader.readuntil(b"retry: ")
        monkeypatch.setattr((await opened.services()).accounts, "authenticate", broken)
        with contextlib.suppress(ConnectionError):
            answer += await reader.read()
    writer.close()
    assert answer.count(b"HTTP/1.1") == 1
    assert "ZeroDivisionError" in caplog.text


@one_database
async def test_who_has_left_makes_room_at_once(panel: OpenPanel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "EACH", 2)
    opened = await panel()
    admin = await opened.log_in()
    for _ in range(4):
        async with reading(admin):
            pass
        # How long a closed connection takes to be seen as such is the kernel's business; no update comes that would show it.
        async with asyncio.timeout(PATIENCE):
            while (await admin.ask("HEAD", "/api/events")).status == 429:
                pass


async def test_a_reader_that_does_not_keep_up_is_cut_off_and_the_others_go_on(
    panel: OpenPanel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "SLOW", 0.2)
    opened = await panel()
    admin = await opened.log_in()
    number = await make_stream(admin)
    async with reading(admin), reading(admin) as quick:
        # How much the kernel takes for a reader is its own business. What is below a buffer's size at a time nobody waits for
        # who takes each before the next: however slow the machine is, it is not that one who is cut off.
        async with asyncio.timeout(60):
            while len(updates(opened)._readers) > 1:
                opened.control.feed.emit(TranscodeChanged(f"stream_{number}", "", AT, (), "x" * 60_000))
                assert await quick.take(1) == ["transcode.changed"]
        opened.control.feed.emit(started(number))
        assert await quick.take(1) == ["stream.started"]


async def test_nobody_holds_too_many(panel: OpenPanel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "EACH", 2)
    opened = await panel()
    _, ann = await opened.person("ann")
    admin = await opened.log_in()
    number = await make_stream(ann)
    async with reading(ann), reading(admin):
        async with reading(ann):
            answer = await ann.get("/api/events")
            assert (answer.status, answer.error["code"]) == (429, "RATE_LIMITED")
        async with asyncio.timeout(PATIENCE):
            # That one is gone shows when there is something to tell.
            while (await ann.ask("HEAD", "/api/events")).status == 429:
                opened.control.feed.emit(started(number))


async def test_start_and_stop_are_told_as_they_are_ordered(panel: OpenPanel) -> None:
    opened = await panel()
    admin = await opened.log_in()
    number = await make_stream(admin)
    async with reading(admin) as reader:
        for order, status in (("start", "starting"), ("stop", "stopped")):
            assert (await admin.post(f"/api/streams/{number}/{order}")).status == 200
            _, kind, data = await reader.next()
            assert (kind, data["stream_id"], data["status"]) == ("stream.status", number, status)


async def test_a_head_is_answered_without_a_stream(panel: OpenPanel) -> None:
    opened = await panel()
    admin = await opened.log_in()
    assert (await admin.ask("HEAD", "/api/events")).status == 200
    assert not updates(opened)._readers
