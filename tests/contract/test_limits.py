"""Rate limiting, at the documented rates."""

import time

import pytest

from tests.conftest import Serve
from tests.contract.asking import PASSWORD, Answer, Caller, log_in
from tests.contract.document import Limits, error, new_stream
from tests.peers import Server

LIMITS = Limits()


@pytest.fixture
def server(serve: Serve) -> Server:
    """With the rates that the server has by itself."""
    return serve(auth={"admin_password": PASSWORD})


def left(answer: Answer, limit: tuple[int, int]) -> int:
    """How many requests are left, from headers that are right."""
    amount, seconds = limit
    assert answer.headers["X-RateLimit-Limit"] == str(amount), answer.headers
    assert 0 < int(answer.headers["X-RateLimit-Reset"]) - time.time() <= seconds + 2
    return int(answer.headers["X-RateLimit-Remaining"])


def check_refused(answer: Answer, limit: tuple[int, int]) -> None:
    answer.fits(error("RATE_LIMITED"), 429)
    assert left(answer, limit) == 0
    assert 1 <= int(answer.headers["Retry-After"]) <= limit[1]


def test_rate_limiting(server: Server) -> None:
    admin = log_in(server)
    admin.keep = True
    amount = LIMITS.authenticated[0]
    seen = [left(admin.get("/api/users/me"), LIMITS.authenticated) for _ in range(amount)]
    assert seen == list(range(amount - 1, -1, -1))
    check_refused(admin.get("/api/users/me"), LIMITS.authenticated)
    # One user's rate is not another one's, nor an address's.
    assert Caller(server).get("/api/users/me").status == 401
    # Media, pages and what orchestrators ask are no requests to the API.
    for path in ("/", "/api/live", "/readyz", "/live/nothing/index.m3u8"):
        answer = admin.get(path)
        assert answer.status in (200, 404)
        assert "X-RateLimit-Limit" not in answer.headers
    admin.close()


def test_requests_without_a_token_are_limited_by_address(server: Server) -> None:
    nobody = Caller(server, keep=True)
    amount = LIMITS.unauthenticated[0]
    seen = [left(nobody.get("/api/streams"), LIMITS.unauthenticated) for _ in range(amount - 1)]
    assert seen == list(range(amount - 1, 0, -1))
    # A token that is none, and an address that is none, count too.
    assert left(nobody.get("/api/nothing"), LIMITS.unauthenticated) == 0
    check_refused(nobody.get("/api/streams"), LIMITS.unauthenticated)
    check_refused(nobody.get("/api/streams", headers={"Authorization": "Bearer x"}), LIMITS.unauthenticated)
    check_refused(nobody.get("/api/streams", headers={"X-Forwarded-For": "203.0.113.7"}), LIMITS.unauthenticated)
    nobody.close()


def test_streaming_operations_have_a_rate_of_their_own(server: Server) -> None:
    admin = log_in(server)
    admin.keep = True
    number = admin.made("/api/streams", new_stream(server.rtmp_port, "key"))["id"]
    amount = LIMITS.streaming[0]
    seen = [left(admin.post(f"/api/streams/{number}/stop"), LIMITS.streaming) for _ in range(amount)]
    assert seen == list(range(amount - 1, -1, -1))
    for path in (f"/api/streams/{number}/start", f"/api/streams/{number}/stop", "/api/rtmp/start", "/api/rtmp/stop"):
        check_refused(admin.post(path), LIMITS.streaming)
    assert admin.get(f"/api/streams/{number}/status").json["status"] == "stopped"
    admin.close()


def test_every_answer_of_the_api_tells_the_rate(server: Server) -> None:
    admin = log_in(server)
    asked = [
        admin.get("/api/streams"),
        admin.get("/api/streams/999"),
        admin.get("/api/streams?per_page=0"),
        admin.post("/api/streams", {}),
        admin.post("/api/streams", data=b"x", headers={"Content-Type": "text/plain"}),
        admin.get("/api/nothing"),
        admin.ask("PATCH", "/api/streams"),
        Caller(server).get("/api/streams"),
        Caller(server).post("/api/auth/login", {"username": "admin", "password": "wrong"}),
    ]
    for answer in asked:
        assert {"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"} <= answer.headers.keys(), answer
    assert [answer.status for answer in asked] == [200, 404, 422, 422, 415, 404, 405, 401, 401]
