"""User management."""

from tests.conftest import Serve
from tests.contract.asking import PASSWORD, ROOMY, Caller, log_in, make_user
from tests.contract.document import USER, USERS, error, new_stream
from tests.media import Clips
from tests.peers import Peers


def test_list_users(quiet: Caller) -> None:
    listed = quiet.get("/api/users").fits(USERS)
    admin = listed["users"][0]
    assert (admin["id"], admin["username"], admin["role"]) == (1, "admin", "administrator")
    assert admin["last_login"] >= admin["created_at"]


def test_create_user(quiet: Caller) -> None:
    body = {"username": "newuser", "email": "user@example.com", "password": "secure_password", "role": "user"}
    made = quiet.post("/api/users", body).fits(USER, 201)
    kept = {name: body[name] for name in ("username", "email", "role")}
    assert made | kept | {"last_login": None} == made
    person = log_in(quiet.server, "newuser", "secure_password")
    person.get("/api/users").fits(error("FORBIDDEN"), 403)
    quiet.post("/api/users", body).fits(error("CONFLICT"), 409)
    assert "secure_password" not in quiet.server.log()


def test_update_user(quiet: Caller) -> None:
    number, person = make_user(quiet, "to_be_changed")
    changed = quiet.put(f"/api/users/{number}", {"email": "newemail@example.com", "role": "moderator"}).fits(USER)
    assert (changed["email"], changed["role"], changed["username"]) == ("newemail@example.com", "moderator", "to_be_changed")
    # Another role is another token.
    person.get("/api/users/me").fits(error("UNAUTHORIZED"), 401)
    log_in(quiet.server, "to_be_changed").get("/api/users").fits(USERS)
    quiet.put("/api/users/999999", {"email": "x@example.com"}).fits(error("NOT_FOUND"), 404)


def test_a_user_who_is_disabled_is_logged_out_and_goes_off_air(serve: Serve, clips: Clips, peers: Peers) -> None:
    admin = log_in(serve(**ROOMY, rtmp={"reconnect_grace": 0.0}))
    server = admin.server
    number, person = make_user(admin, "streamer")
    stream = person.made("/api/streams", new_stream(server.rtmp_port, "a_key_that_is_theirs"))["id"]
    key = person.made("/api/auth/api-keys", {"name": "theirs"})["key"]
    encoder = peers.ffmpeg_push(clips.get(), server.rtmp("a_key_that_is_theirs"))
    person.wait_for(f"/api/streams/{stream}/status", status="running")
    admin.put(f"/api/users/{number}", {"enabled": False}).fits(USER)
    for token in (person.token, key):
        Caller(server, token).get("/api/streams").fits(error("UNAUTHORIZED"), 401)
    Caller(server).post("/api/auth/login", {"username": "streamer", "password": PASSWORD}).fits(error("UNAUTHORIZED"), 401)
    assert encoder.wait() != 0
    assert peers.ffmpeg_push(clips.get(), server.rtmp("a_key_that_is_theirs")).wait() != 0
    admin.put(f"/api/users/{number}", {"enabled": True}).fits(USER)
    peers.ffmpeg_push(clips.get(), server.rtmp("a_key_that_is_theirs"))
    log_in(server, "streamer").wait_for(f"/api/streams/{stream}/status", status="running")
