"""Destinations, and what really arrives there."""

from tests.conftest import Serve
from tests.contract.asking import ROOMY, Caller, log_in
from tests.contract.conftest import Town
from tests.contract.document import DESTINATION, DESTINATIONS, MESSAGE, STREAM, error, new_stream
from tests.e2e.players import LivePlayer
from tests.media import Clips
from tests.peers import Peers, ffprobe, wait_until

DONE = DESTINATION | {"message": str}


def test_list_destinations(town: Town) -> None:
    town.admin.wait_for(f"/api/destinations/{town.destination_id}", status="active")
    listed = town.admin.get("/api/destinations").fits(DESTINATIONS)
    (destination,) = [each for each in listed["destinations"] if each["id"] == town.destination_id]
    assert (destination["platform"], destination["enabled"], destination["status"]) == ("tutorial", True, "active")
    assert (destination["stream_id"], destination["name"]) == (town.stream_id, "Tutorial Platform")
    assert {s["codec_type"] for s in ffprobe(f"rtmp://127.0.0.1:{town.nginx_port}/live/out")["streams"]} == {"video", "audio"}


def test_create_destination(quiet: Caller) -> None:
    body = {
        "name": "My YouTube Channel",
        "platform": "youtube",
        "rtmp_url": "rtmp://a.rtmp.youtube.com/live2/",
        "stream_key": "your-youtube-stream-key",
        "enabled": True,
    }
    made = quiet.post("/api/destinations", body).fits(DONE, 201)
    kept = {name: value for name, value in body.items() if name != "stream_key"}
    assert made | kept == made
    assert "your-youtube-stream-key" not in str(made)
    path = f"/api/destinations/{made['id']}"
    assert quiet.get(path).fits(DESTINATION) == {name: value for name, value in made.items() if name != "message"}
    # It is for all of the user's streams, and other tests look at theirs.
    quiet.delete(path)
    usual = quiet.post("/api/destinations", {"name": "Usual", "platform": "twitch", "stream_key": "x"}).fits(DONE, 201)
    assert (usual["rtmp_url"], usual["enabled"]) == ("rtmp://live.twitch.tv/app/", True)
    quiet.delete(f"/api/destinations/{usual['id']}")


def test_update_destination(quiet: Caller) -> None:
    made = quiet.made("/api/destinations", {"name": "Before", "platform": "youtube", "stream_key": "x"})
    path = f"/api/destinations/{made['id']}"
    changed = quiet.put(path, {"name": "Updated Channel Name", "enabled": False}).fits(DONE)
    assert (changed["name"], changed["enabled"], changed["rtmp_url"]) == ("Updated Channel Name", False, made["rtmp_url"])
    told = quiet.get(path).fits(DESTINATION)
    assert told == {name: value for name, value in changed.items() if name != "message"}
    quiet.put("/api/destinations/999999", {"name": "x"}).fits(error("NOT_FOUND"), 404)
    quiet.delete(path)


def test_delete_destination(quiet: Caller) -> None:
    number = quiet.made("/api/destinations", {"name": "Short-lived", "platform": "twitch"})["id"]
    quiet.delete(f"/api/destinations/{number}").fits(MESSAGE)
    for answer in (quiet.get(f"/api/destinations/{number}"), quiet.delete(f"/api/destinations/{number}")):
        answer.fits(error("NOT_FOUND"), 404)


def test_destinations_come_and_go_in_mid_stream(serve: Serve, clips: Clips, peers: Peers) -> None:
    """To this server's own kind: switched on, off, elsewhere and away, the other end sees it."""
    admin, there = log_in(serve(**ROOMY, rtmp={"reconnect_grace": 0.0})), serve(rtmp={"reconnect_grace": 0.0})
    number = admin.made("/api/streams", new_stream(admin.server.rtmp_port, "source"))["id"]
    peers.ffmpeg_push(clips.get(), admin.server.rtmp("source"))
    admin.wait_for(f"/api/streams/{number}/status", status="running")
    target = {"name": "There", "platform": "custom", "rtmp_url": f"rtmp://127.0.0.1:{there.rtmp_port}/live/", "stream_key": "one"}
    everywhere = admin.made("/api/destinations", target)["id"]
    path = f"/api/destinations/{everywhere}"
    admin.wait_for(path, status="active")
    with LivePlayer(there.rtmp("one")) as player:
        player.wait_for(10)
        admin.put(path, {"enabled": False})
        player.wait_end()
    assert admin.get(path).json["status"] == "inactive"
    admin.put(path, {"enabled": True, "stream_key": "two"})
    there.wait_live("two", 30)
    with LivePlayer(there.rtmp("two")) as player:
        player.wait_for(10)
        admin.delete(path)
        player.wait_end()
    nowhere = admin.made("/api/destinations", target | {"rtmp_url": "rtmp://127.0.0.1:9/live/", "stream_id": number})["id"]
    seen = admin.wait_for(f"/api/destinations/{nowhere}", status="backing_off")
    assert seen["reason"]


def test_a_stream_that_is_fetched_comes_back_to_the_destinations_that_it_has_then(
    serve: Serve, clips: Clips, peers: Peers
) -> None:
    """What was changed while it was on air, or away, holds when its source returns: recording too."""
    there, clip = serve(rtmp={"reconnect_grace": 0.0}), clips.get()
    admin = log_in(serve(**ROOMY, rtmp={"reconnect_grace": 0.0}, recording={"min_free_bytes": 0}))
    stream = {"name": "Fetched", "input_url": there.url("/live/source.flv"), "input_type": "http", "record_enabled": True}
    number = admin.made("/api/streams", stream)["id"]
    path = f"/api/streams/{number}"

    def aim(key: str) -> int:
        target = {"name": key, "rtmp_url": f"rtmp://127.0.0.1:{there.rtmp_port}/live/", "stream_key": key, "stream_id": number}
        return int(admin.made("/api/destinations", target)["id"])

    one, other = aim("one"), aim("other")
    encoder = peers.ffmpeg_push(clip, there.rtmp("source"))
    there.wait_live("source")
    admin.post(f"{path}/start")
    there.wait_live("one")
    there.wait_live("other")
    admin.delete(f"/api/destinations/{one}")
    admin.put(path, {"record_enabled": False}).fits(STREAM, empty=("qualities",))
    wait_until(lambda: "one" not in there.live(), "the relay's end")
    encoder.stop()
    admin.wait_for(f"{path}/status", status="starting")
    admin.put(f"/api/destinations/{other}", {"enabled": False})
    third = aim("third")
    peers.ffmpeg_push(clip, there.rtmp("source"))
    admin.wait_for(f"/api/destinations/{third}", status="active")
    there.wait_live("third")
    assert admin.get(f"{path}/status").json["status"] == "running"
    # Its relays begin in one go: with the third all of them would be there.
    assert {"source", "third"} == set(there.live())
    assert [each["name"] for each in admin.get(path).json["destinations"] if each["status"] == "active"] == ["third"]
    recordings = list((admin.server.folder / "data" / "recordings").rglob("*.mp4"))
    assert len(recordings) == 1, recordings
