"""Who changed what, for administrators to read."""

from tests.control.conftest import OpenPanel
from tests.control.panel import ADMIN, Panel

STREAM = {"name": "Show", "input_url": "rtmp://localhost/live/a_key_that_is_secret"}


async def read(panel: Panel, query: str = "") -> list[dict[str, object]]:
    admin = await panel.log_in()
    answer = await admin.get(f"/api/audit{query}")
    assert answer.status == 200, answer
    return list(answer.json["entries"])


async def test_an_administrator_reads_who_did_what_the_newest_first(panel: OpenPanel) -> None:
    here = await panel()
    number, owner = await here.person("owner")
    stream = await owner.post("/api/streams", json=STREAM)
    deleted = await owner.delete(f"/api/streams/{stream.json['id']}")
    entries = await read(here)
    done = [(each["actor"], each["actor_id"], each["action"], each["object_type"], each["object_id"]) for each in entries[1:3]]
    named = "stream", str(stream.json["id"])
    assert done == [("owner", number, "stream.deleted", *named), ("owner", number, "stream.created", *named)]
    assert entries[1]["request_id"] == deleted.headers["X-Request-ID"]
    assert entries[1]["address"] == "127.0.0.1"
    assert entries[1]["timestamp"] == entries[0]["timestamp"], "the panel's clock stands still"
    assert (entries[0]["actor"], entries[0]["action"]) == (ADMIN, "login")
    assert "a_key_that_is_secret" not in str(entries)


async def test_it_is_read_by_pages_and_outlives_who_did_it(panel: OpenPanel) -> None:
    here = await panel()
    number, owner = await here.person("owner")
    await owner.post("/api/streams", json=STREAM)
    admin = await here.log_in()
    assert (await admin.delete(f"/api/users/{number}")).status == 200
    whole = (await admin.get("/api/audit?per_page=100")).json
    assert whole["total"] == len(whole["entries"])
    pages = [(await admin.get(f"/api/audit?per_page=1&page={page}")).json for page in range(1, whole["total"] + 2)]
    assert [entry for page in pages for entry in page["entries"]] == whole["entries"]
    assert {(page["total"], page["per_page"]) for page in pages} == {(whole["total"], 1)}
    (made,) = [each for each in whole["entries"] if each["action"] == "stream.created"]
    assert (made["actor"], made["actor_id"]) == ("", number)
    assert (await admin.get("/api/audit?per_page=101")).fields == {"per_page"}
