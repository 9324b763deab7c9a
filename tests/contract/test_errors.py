"""Error handling: the documented frame, and every code of the documented list provoked."""

import socket
import time

from tests.conftest import Serve
from tests.contract.asking import ROOMY, Answer, Caller, log_in, make_user
from tests.contract.document import ERROR_CODES, error, new_stream
from tests.contract.shapes import TIME
from tests.peers import answers


def test_error_response_format(quiet: Caller) -> None:
    began = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    answer = quiet.get("/api/streams/999")
    told = answer.fits(error("STREAM_NOT_FOUND", {"stream_id": int, "requested_at": TIME}), 404)["error"]
    assert told["message"] == "Stream with ID 999 not found"
    assert told["details"]["stream_id"] == 999
    # Of one moment each, the second perhaps behind the turn of a second.
    assert began <= told["details"]["requested_at"] <= told["timestamp"] <= time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    assert answer.headers["X-Request-ID"] == told["requestId"]
    # Whatever stands where the number should be.
    for text in ("99999999999999999999", "0", "-1", "x", "%00", "1.0", "stream_", "%F0%9F%98%80", "9" * 4000):
        for method, tail in (("GET", ""), ("DELETE", ""), ("GET", "/status"), ("POST", "/start"), ("POST", "/stop")):
            quiet.ask(method, f"/api/streams/{text}{tail}").fits(error("STREAM_NOT_FOUND"), 404)


def test_common_error_codes(serve: Serve) -> None:
    """Each of them, on one server with little room."""
    limits = ROOMY["limits"] | {"streaming": 4}
    # An encoder that this machine does not have, and nobody who takes over.
    server = serve(**ROOMY | {"limits": limits, "transcode": {"encoder": "h264_none", "policy": "fail"}})
    admin = log_in(server)
    _, person = make_user(admin, "somebody")
    number = admin.made("/api/streams", new_stream(server.rtmp_port, "key"))["id"]
    theirs = person.made("/api/streams", new_stream(server.rtmp_port, "a_key_to_be_encoded", qualities=["720p"]))["id"]
    provoked = {
        "UNAUTHORIZED": Caller(server).get("/api/streams"),
        "FORBIDDEN": person.get("/api/users"),
        "NOT_FOUND": admin.get("/api/destinations/1"),
        "VALIDATION_ERROR": admin.post("/api/streams", {}),
        "STREAM_NOT_FOUND": person.get(f"/api/streams/{number}"),
        "ENCODING_ERROR": person.post(f"/api/streams/{theirs}/start"),
    }
    admin.post(f"/api/streams/{number}/start")
    provoked["STREAM_ALREADY_RUNNING"] = admin.post(f"/api/streams/{number}/start")
    admin.post("/api/rtmp/stop")
    provoked["RTMP_SERVER_ERROR"] = _start_on_a_taken_port(admin)
    provoked["RATE_LIMITED"] = admin.post("/api/rtmp/start")
    assert set(provoked) == set(ERROR_CODES)
    for code, answer in provoked.items():
        answer.fits(error(code), ERROR_CODES[code])
    # What could not be started was not.
    assert person.get(f"/api/streams/{theirs}/status").json["status"] == "stopped"


def _start_on_a_taken_port(admin: Caller) -> Answer:
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind(("127.0.0.1", admin.server.rtmp_port))
        squatter.listen()
        assert answers(admin.server.rtmp_port)
        return admin.post("/api/rtmp/start")
