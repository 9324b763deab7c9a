"""``/api/webhooks``, from the engine's event to the receiver, on each kind of database."""

import json
import time
from types import SimpleNamespace
from typing import Any

import pytest

from control import duty
from control.db import Database
from control.live.pulse import Pulse, Watched
from control.permissions import Role
from control.webhooks import models, signature
from control.webhooks.service import Webhooks
from control.webhooks.thresholds import HOLD
from mediaserver.events import PublishEnded, PublisherLeft, PublishStarted
from mediaserver.ports import Wire
from tests.control.analytics.material import a_user, rows
from tests.control.conftest import OpenPanel
from tests.control.engine import FakeEngine, stream
from tests.control.panel import Panel, Person
from tests.control.webhooks.receiver import Receiver, eventually

KEY = "canary_stream_key"
AT = 1_735_725_600.0  # 2025-01-01T10:00:00Z


async def make_stream(person: Person, key: str = KEY, name: str = "Tutorial Stream") -> int:
    body = {"name": name, "input_url": f"rtmp://localhost:1935/live/{key}"}
    answer = await person.post("/api/streams", json=body)
    assert answer.status == 201, answer
    return int(answer.json["id"])


async def make_webhook(person: Person, **body: Any) -> dict[str, Any]:
    answer = await person.post("/api/webhooks", json=body)
    assert answer.status == 201, answer
    return dict(answer.json)


def started(stream_id: int, at: float = AT, *, resumed: bool = False) -> PublishStarted:
    return PublishStarted(f"stream_{stream_id}", "s-1", at, Wire.RTMP, "192.0.2.1", "encoder", resumed)


def ended(stream_id: int, at: float = AT + 3600, seconds: float = 3600.2) -> PublishEnded:
    return PublishEnded(f"stream_{stream_id}", "s-1", at, "gone", 1000, seconds)


def running(panel: Panel) -> Webhooks:
    return panel.resident.webhooks


async def wait_for_log(person: Person, webhook_id: int, state: str, count: int = 1) -> list[dict[str, Any]]:
    """The log, once so many deliveries are in that state."""

    async def question() -> list[dict[str, Any]] | None:
        answer = await person.get(f"/api/webhooks/{webhook_id}/deliveries", params={"state": state})
        return answer.json["deliveries"] if answer.json["total"] >= count else None

    return list(await eventually(question))


async def wait_for_tries(person: Person, webhook_id: int, delivery_id: int, count: int) -> None:
    """Until so many tries of it are written down."""

    async def question() -> bool:
        answer = await person.get(f"/api/webhooks/{webhook_id}/deliveries/{delivery_id}")
        return len(answer.json["tries"]) >= count

    await eventually(question)


# -- what is told -----------------------------------------------------------------------------------------------------


async def test_stream_started_and_stopped_as_the_document_prints_them(panel: OpenPanel, receiver: Receiver) -> None:
    opened = await panel()
    admin = await opened.log_in()
    number = await make_stream(admin)
    webhook = await make_webhook(admin, url=receiver.url("/hook"))
    opened.control.feed.emit(started(number))
    opened.control.feed.emit(started(number, AT + 60, resumed=True))
    opened.control.feed.emit(PublisherLeft(f"stream_{number}", "s-1", AT + 70, "gone"))
    await receiver.wait_for(1)
    opened.control.feed.emit(ended(number))
    first, second = await receiver.wait_for(2)
    assert json.loads(first.body) == {
        "event": "stream.started",
        "timestamp": "2025-01-01T10:00:00Z",
        "stream_id": number,
        "stream_name": "Tutorial Stream",
        "input_url": "rtmp://localhost:1935/live/…",
    }
    assert json.loads(second.body) == {
        "event": "stream.stopped",
        "timestamp": "2025-01-01T11:00:00Z",
        "stream_id": number,
        "stream_name": "Tutorial Stream",
        "duration": 3600,
        "peak_viewers": 0,
    }
    assert [type(value) for value in json.loads(second.body).values()] == [str, str, int, str, int, int]
    assert KEY not in str(receiver.posts)
    for came in (first, second):
        seconds = float(came.headers["webhook-timestamp"])
        expected = signature.headers(came.id, seconds, came.body, [webhook["secret"]])
        assert {name: came.headers[name] for name in expected} == expected
        assert came.headers["X-Webhook-Event"] == json.loads(came.body)["event"]
    assert first.id != second.id
    log = await wait_for_log(admin, webhook["id"], "delivered", 2)
    assert [delivery["message_id"] for delivery in log] == [second.id, first.id]
    assert len(receiver.posts) == 2


async def test_viewers_threshold_as_the_document_prints_it(panel: OpenPanel, receiver: Receiver, engine: FakeEngine) -> None:
    opened = await panel()
    admin = await opened.log_in()
    number = await make_stream(admin)
    await make_webhook(admin, url=receiver.url(), events=["viewers.threshold"], thresholds=[100, 1000])
    opened.control.feed.emit(started(number))
    assert await running(opened).announcer.settled(30)  # whose it is, and who wants to know, is known
    for viewers, kind in ((100, "exceeded"), (95, ""), (100, ""), (90, "dropped")):
        engine.show(stream(f"stream_{number}", since=AT, players={Wire.HLS: viewers - 10, Wire.RTMP: 10}))
        before = len(receiver.posts)
        for _ in range(2):
            running(opened).announcer.on_watched({number: Watched(viewers, viewers, AT)})
            opened.clock.now += HOLD
        if kind:
            came = (await receiver.wait_for(before + 1))[-1]
            told = json.loads(came.body)
            assert told.pop("timestamp").endswith("Z")
            assert told == {
                "event": "viewers.threshold",
                "stream_id": number,
                "current_viewers": viewers,
                "threshold": 100,
                "type": kind,
            }
    assert len(receiver.posts) == 2


async def test_the_peak_is_the_highest_that_was_seen(
    panel: OpenPanel, receiver: Receiver, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duty, "Pulse", lambda on_air: Pulse(on_air, 0.02))
    opened = await panel()
    admin = await opened.log_in()
    number = await make_stream(admin)
    await make_webhook(admin, url=receiver.url(), events=["viewers.threshold", "stream.stopped"], thresholds=[45])
    opened.control.feed.emit(started(number))
    engine.show(stream(f"stream_{number}", since=AT, players={Wire.RTMP: 45}))
    await receiver.wait_for(1)
    engine.show()
    opened.control.feed.emit(ended(number))
    assert json.loads((await receiver.wait_for(2))[1].body)["peak_viewers"] == 45


async def test_a_stream_that_follows_at_once_does_not_inherit_the_peak(panel: OpenPanel, receiver: Receiver) -> None:
    opened = await panel()
    admin = await opened.log_in()
    number = await make_stream(admin)
    await make_webhook(admin, url=receiver.url(), events=["stream.stopped"])
    for at, viewers in ((AT, 50), (AT + 10, 3)):
        opened.control.feed.emit(started(number, at))
        # The first of these looks is older than the second stream.
        for seen in (Watched(50, 50, AT), Watched(viewers, viewers, at)):
            running(opened).announcer.on_watched({number: seen})
        opened.control.feed.emit(ended(number, at + 9.99))
    assert [json.loads(came.body)["peak_viewers"] for came in await receiver.wait_for(2)] == [50, 3]


async def test_what_is_on_air_is_noted_in_one_statement_however_much_it_is(database: Database) -> None:
    user = await a_user(database, "ada")
    statements = list[str]()
    async with database.write() as tx:
        for number in range(1, 301):
            await models.begin_broadcast(tx, number, user, "Show", AT)
        execute = tx.execute

        async def counted(sql: str, *values: object) -> int:
            statements.append(sql)
            return await execute(sql, *values)

        counting = SimpleNamespace(execute=counted)
        await models.see_broadcasts(counting, {number: 2 * number for number in range(1, 300)}, AT + 30)  # type: ignore[arg-type]
        await models.see_broadcasts(tx, {}, AT + 40)
    assert len(statements) == 1
    seen = {row["stream_id"]: (row["seen_at"], row["peak_viewers"]) for row in await rows(database, "webhook_broadcasts")}
    assert seen == {**{number: (AT + 30, 2 * number) for number in range(1, 300)}, 300: (AT, 0)}


async def test_a_url_for_each_event(panel: OpenPanel, receiver: Receiver) -> None:
    opened = await panel()
    admin = await opened.log_in()
    number = await make_stream(admin)
    paths = {"stream.started": "/stream-started", "stream.stopped": "/stream-stopped"}
    urls = {event: receiver.url(path) for event, path in paths.items()}
    webhook = await make_webhook(admin, urls=urls)
    assert webhook["events"] == list(paths)
    opened.control.feed.emit(started(number))
    await receiver.wait_for(1)
    opened.control.feed.emit(ended(number))
    await receiver.wait_for(2)
    assert [came.path for came in receiver.posts] == ["/stream-started", "/stream-stopped"]


async def test_only_the_owner_is_told_and_only_of_what_was_asked_for(panel: OpenPanel, receiver: Receiver) -> None:
    opened = await panel()
    admin = await opened.log_in()
    _, bea = await opened.person("bea")
    number = await make_stream(bea)
    await make_webhook(admin, url=receiver.url("/admin"))
    await make_webhook(bea, url=receiver.url("/stopped"), events=["stream.stopped"])
    await make_webhook(bea, url=receiver.url("/off"), enabled=False)
    for event in (started(number), ended(number), started(99999), PublishStarted("demo", "s", AT, Wire.RTMP, "", "", False)):
        opened.control.feed.emit(event)
    await receiver.wait_for(1)
    assert await running(opened).courier.quiet(30)
    assert [came.path for came in receiver.posts] == ["/stopped"]


async def test_a_stream_that_was_deleted_on_air_is_told_to_have_stopped(panel: OpenPanel, receiver: Receiver) -> None:
    opened = await panel()
    admin = await opened.log_in()
    number = await make_stream(admin)
    await make_webhook(admin, url=receiver.url(), events=["stream.stopped"])
    opened.control.feed.emit(started(number))
    assert await running(opened).announcer.settled(30)
    async with opened.control.db.write() as tx:
        await tx.execute("DELETE FROM streams WHERE id = ?", number)
    opened.control.feed.emit(ended(number))
    (came,) = await receiver.wait_for(1)
    assert json.loads(came.body)["stream_name"] == "Tutorial Stream"


async def test_after_a_crash_somebody_says_that_it_is_over(panel: OpenPanel, receiver: Receiver) -> None:
    """It begins anew before anybody noticed: both ends are told, in order."""
    opened = await panel()
    admin = await opened.log_in()
    number = await make_stream(admin)
    await make_webhook(admin, url=receiver.url())
    opened.control.feed.emit(started(number))
    await receiver.wait_for(1)
    opened.control.feed.emit(started(number, AT + 500))
    await receiver.wait_for(3)
    told = {(body["event"], body["timestamp"]) for body in (json.loads(came.body) for came in receiver.posts)}
    assert told == {
        ("stream.started", "2025-01-01T10:00:00Z"),
        ("stream.stopped", "2025-01-01T10:00:00Z"),
        ("stream.started", "2025-01-01T10:08:20Z"),
    }


# -- what becomes of it -----------------------------------------------------------------------------------------------


async def test_it_is_sent_again_under_the_same_id_until_it_arrives(panel: OpenPanel, receiver: Receiver) -> None:
    receiver.says = lambda number: 503 if number < 3 else 200
    opened = await panel(webhooks={"retry_first": 10.0})
    admin = await opened.log_in()
    number = await make_stream(admin)
    webhook = await make_webhook(admin, url=receiver.url())
    opened.control.feed.emit(started(number))
    for tries in range(1, 4):
        await receiver.wait_for(tries)
        (pending,) = await wait_for_log(admin, webhook["id"], "pending")
        await wait_for_tries(admin, webhook["id"], pending["id"], tries)
        opened.clock.now += 10.0 * 3**tries
        running(opened).courier.wake()
    await receiver.wait_for(4)
    assert len({came.id for came in receiver.posts}) == 1
    assert len({came.body for came in receiver.posts}) == 1
    assert len({came.headers["webhook-timestamp"] for came in receiver.posts}) == 4
    (log,) = await wait_for_log(admin, webhook["id"], "delivered")
    assert (log["attempts"], log["status"], log["error"]) == (4, 200, "")
    full = (await admin.get(f"/api/webhooks/{webhook['id']}/deliveries/{log['id']}")).json
    assert [(attempt["number"], attempt["status"]) for attempt in full["tries"]] == [(1, 503), (2, 503), (3, 503), (4, 200)]
    assert full["body"].encode() == receiver.posts[0].body
    assert full["tries"][3]["response"] == "noted"
    assert (await admin.get(f"/api/webhooks/{webhook['id']}")).json["failing_since"] is None


async def test_after_a_day_it_is_given_up_and_can_be_replayed(panel: OpenPanel, receiver: Receiver) -> None:
    receiver.says = lambda _: 500
    opened = await panel()
    admin = await opened.log_in()
    number = await make_stream(admin)
    webhook = await make_webhook(admin, url=receiver.url())
    opened.control.feed.emit(started(number))
    (pending,) = await wait_for_log(admin, webhook["id"], "pending")
    await wait_for_tries(admin, webhook["id"], pending["id"], 1)
    assert (await admin.post(f"/api/webhooks/{webhook['id']}/deliveries/{pending['id']}/replay")).status == 409
    opened.clock.now += 86400.0
    admin = await opened.log_in()
    running(opened).courier.wake()
    (failed,) = await wait_for_log(admin, webhook["id"], "failed")
    assert (failed["attempts"], failed["status"], failed["error"]) == (2, 500, "the receiver answered 500")
    assert failed["next_attempt_at"] is None
    receiver.says = lambda _: 200
    answer = await admin.post(f"/api/webhooks/{webhook['id']}/deliveries/{failed['id']}/replay")
    assert (answer.status, answer.json["replay_of"], answer.json["message_id"]) == (201, failed["id"], failed["message_id"])
    (arrived,) = await wait_for_log(admin, webhook["id"], "delivered")
    assert arrived["id"] == answer.json["id"]
    assert {came.id for came in receiver.posts} == {failed["message_id"]}


async def test_410_disables_it_at_once(panel: OpenPanel, receiver: Receiver) -> None:
    receiver.says = lambda _: 410
    opened = await panel()
    admin = await opened.log_in()
    number = await make_stream(admin)
    webhook = await make_webhook(admin, url=receiver.url())
    opened.control.feed.emit(started(number))
    (failed,) = await wait_for_log(admin, webhook["id"], "failed")
    shown = (await admin.get(f"/api/webhooks/{webhook['id']}")).json
    assert (shown["enabled"], shown["disabled_reason"]) == (False, "the receiver answered 410: it is gone")
    assert (await admin.post(f"/api/webhooks/{webhook['id']}/deliveries/{failed['id']}/replay")).status == 409
    opened.control.feed.emit(ended(number))
    assert await running(opened).announcer.settled(30)
    receiver.says = lambda _: 200
    again = (await admin.put(f"/api/webhooks/{webhook['id']}", json={"enabled": True})).json
    assert (again["enabled"], again["disabled_reason"], again["failing_since"]) == (True, "", None)
    assert await running(opened).courier.quiet(30)
    assert len(receiver.posts) == 1


async def test_days_of_failure_disable_it(panel: OpenPanel, receiver: Receiver) -> None:
    receiver.says = lambda _: 500
    opened = await panel(webhooks={"disable_after": 5 * 86400.0})
    admin = await opened.log_in()
    number = await make_stream(admin)
    webhook = await make_webhook(admin, url=receiver.url(), events=["stream.started"])
    for day in range(1, 6):
        opened.control.feed.emit(started(number, AT + day))
        (pending, *_) = await wait_for_log(admin, webhook["id"], "pending")
        await wait_for_tries(admin, webhook["id"], pending["id"], 1)
        assert (await admin.get(f"/api/webhooks/{webhook['id']}")).json["enabled"]
        opened.clock.now += 86400.0
        admin = await opened.log_in()
        running(opened).courier.wake()
        await wait_for_log(admin, webhook["id"], "failed", day)
    shown = (await admin.get(f"/api/webhooks/{webhook['id']}")).json
    assert (shown["enabled"], shown["disabled_reason"]) == (False, "the receiver has failed for too long")


async def test_what_waits_while_it_is_disabled_by_its_owner_goes_out_afterwards_to_its_new_url(
    panel: OpenPanel, receiver: Receiver
) -> None:
    receiver.says = lambda number: 500 if number == 0 else 200
    opened = await panel()
    admin = await opened.log_in()
    number = await make_stream(admin)
    webhook = await make_webhook(admin, url=receiver.url("/old"))
    opened.control.feed.emit(started(number))
    (pending,) = await wait_for_log(admin, webhook["id"], "pending")
    await wait_for_tries(admin, webhook["id"], pending["id"], 1)
    assert (await admin.put(f"/api/webhooks/{webhook['id']}", json={"enabled": False})).status == 200
    opened.clock.now += 3600.0
    admin = await opened.log_in()
    running(opened).courier.wake()
    assert await running(opened).courier.quiet(30)
    assert len(receiver.posts) == 1
    body = {"enabled": True, "url": receiver.url("/new")}
    assert (await admin.put(f"/api/webhooks/{webhook['id']}", json=body)).json["url"] == receiver.url("/new")
    await receiver.wait_for(2)
    assert [came.path for came in receiver.posts] == ["/old", "/new"]


async def test_private_addresses_are_refused_when_made_and_when_sent(
    panel: OpenPanel, receiver: Receiver, engine: FakeEngine
) -> None:
    opened = await panel()
    admin = await opened.log_in()
    number = await make_stream(admin)
    webhook = await make_webhook(admin, url=receiver.url())
    engine.allow_private = False
    urls = {"stream.started": "http://169.254.169.254/"}
    answer = await admin.post("/api/webhooks", json={"url": "http://localhost:8080/", "urls": urls})
    assert (answer.status, answer.fields) == (422, {"url", "urls.stream.started"})
    opened.control.feed.emit(started(number))
    (pending,) = await wait_for_log(admin, webhook["id"], "pending")
    await wait_for_tries(admin, webhook["id"], pending["id"], 1)
    log = (await admin.get(f"/api/webhooks/{webhook['id']}/deliveries")).json["deliveries"]
    assert "is not a public address" in log[0]["error"]
    assert receiver.posts == []


# -- REST -------------------------------------------------------------------------------------------------------------


async def test_the_secret_is_shown_once_and_kept_encrypted(panel: OpenPanel) -> None:
    opened = await panel()
    admin = await opened.log_in()
    webhook = await make_webhook(admin, url="https://hooks.example/canary-in-the-url")
    secret = webhook.pop("secret")
    assert webhook.pop("message") == "Webhook created successfully"
    assert (await admin.get(f"/api/webhooks/{webhook['id']}")).json == webhook
    listed = (await admin.get("/api/webhooks")).json
    assert listed == {"webhooks": [webhook], "total": 1, "page": 1, "per_page": 10}
    async with opened.control.db.read() as tx:
        rows = str(await tx.rows("SELECT * FROM webhooks")) + str(await tx.rows("SELECT * FROM audit_log"))
    assert secret not in rows
    assert "canary-in-the-url" not in rows
    renewed = (await admin.post(f"/api/webhooks/{webhook['id']}/secret")).json
    assert renewed["secret"] != secret


async def test_a_renewed_secret_signs_beside_the_old_one_for_a_day(panel: OpenPanel, receiver: Receiver) -> None:
    opened = await panel()
    admin = await opened.log_in()
    number = await make_stream(admin)
    webhook = await make_webhook(admin, url=receiver.url(), secret="webhook_secret_key")
    assert webhook["secret"] == "webhook_secret_key"
    new = (await admin.post(f"/api/webhooks/{webhook['id']}/secret")).json["secret"]
    opened.control.feed.emit(started(number))
    (came,) = await receiver.wait_for(1)
    at = float(came.headers["webhook-timestamp"])
    assert (
        came.headers["webhook-signature"]
        == signature.headers(came.id, at, came.body, [new, webhook["secret"]])["webhook-signature"]
    )
    opened.clock.now += 86400.0
    opened.control.feed.emit(ended(number))
    (_, came) = await receiver.wait_for(2)
    assert len(came.headers["webhook-signature"].split()) == 1


BAD: list[tuple[dict[str, Any], set[str]]] = [
    ({}, {"url"}),
    ({"url": "ftp://a.example/"}, {"url"}),
    ({"url": "https://"}, {"url"}),
    ({"url": "https://user:word@a.example/"}, {"url"}),
    ({"url": "https://a.example/#part"}, {"url"}),
    ({"url": "https://a.example:99999/"}, {"url"}),
    ({"url": "https://a.example/\u0000"}, {"url"}),
    ({"url": "https://a.example/ b"}, {"url"}),
    ({"url": "https://" + "a" * 3000}, {"url"}),
    ({"url": 5}, {"url"}),
    ({"url": "https://a.example/", "events": []}, {"events"}),
    ({"url": "https://a.example/", "events": ["stream.started", "stream.started"]}, {"events"}),
    ({"url": "https://a.example/", "events": ["payment.completed"]}, {"events.0"}),
    ({"urls": {"stream.started": "https://a.example/"}, "events": ["stream.started", "stream.stopped"]}, {"url"}),
    ({"url": "https://a.example/", "thresholds": [0]}, {"thresholds.0"}),
    ({"url": "https://a.example/", "thresholds": list(range(1, 30))}, {"thresholds"}),
    ({"url": "https://a.example/", "secret": "short"}, {"secret"}),
    ({"url": "https://a.example/", "user_id": 2}, {"user_id"}),
]


async def test_bad_webhooks_are_refused_field_by_field(panel: OpenPanel) -> None:
    opened = await panel()
    admin = await opened.log_in()
    for body, fields in BAD:
        answer = await admin.post("/api/webhooks", json=body)
        assert (answer.status, answer.fields) == (422, fields), body


async def test_another_s_webhook_is_not_there(panel: OpenPanel) -> None:
    opened = await panel()
    _, bea = await opened.person("bea")
    _, mod = await opened.person("mod", Role.MODERATOR)
    number = (await make_webhook(bea, url="https://hooks.example/"))["id"]
    for other in (await opened.log_in(), mod):
        assert (await other.get("/api/webhooks")).json["total"] == 0
        for method, path in (
            ("GET", ""),
            ("PUT", ""),
            ("DELETE", ""),
            ("POST", "/secret"),
            ("GET", "/deliveries"),
            ("GET", "/deliveries/1"),
            ("POST", "/deliveries/1/replay"),
        ):
            body = {"json": {"enabled": False}} if method == "PUT" else {}
            answer = await other.ask(method, f"/api/webhooks/{number}{path}", **body)
            assert (answer.status, answer.error["code"]) == (404, "NOT_FOUND"), (method, path)
    assert (await opened.nobody.get("/api/webhooks")).status == 401
    assert (await bea.get(f"/api/webhooks/{number}/deliveries/7")).status == 404
    assert (await bea.get("/api/webhooks/999999999999999999999")).status == 404
    assert (await bea.delete(f"/api/webhooks/{number}")).json == {"message": "Webhook deleted successfully"}
    assert (await bea.get(f"/api/webhooks/{number}")).status == 404


async def test_nobody_has_too_many(panel: OpenPanel) -> None:
    opened = await panel(webhooks={"max_per_user": 2})
    admin = await opened.log_in()
    for _ in range(2):
        await make_webhook(admin, url="https://hooks.example/")
    answer = await admin.post("/api/webhooks", json={"url": "https://hooks.example/"})
    assert (answer.status, answer.error["code"]) == (409, "CONFLICT")


async def test_a_put_merges(panel: OpenPanel) -> None:
    opened = await panel()
    admin = await opened.log_in()
    webhook = await make_webhook(admin, url="https://hooks.example/", thresholds=[5, 10, 5])
    assert webhook["thresholds"] == [5, 10]
    body = {"urls": {"stream.started": "https://hooks.example/started"}, "thresholds": [7]}
    changed = (await admin.put(f"/api/webhooks/{webhook['id']}", json=body)).json
    assert (changed["url"], changed["urls"], changed["thresholds"]) == ("https://hooks.example/", body["urls"], [7])
    assert changed["events"] == webhook["events"]
    assert time.strptime(changed["updated_at"], "%Y-%m-%dT%H:%M:%SZ")
