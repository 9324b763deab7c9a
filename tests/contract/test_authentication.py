"""Base URL and authentication."""

import base64
import json

from tests.contract.asking import PASSWORD, Caller
from tests.contract.document import LOGIN, USER, error

PREFIXES = ("/api", "/api/v1", "/v1/api", "/api/v1/api")


def test_base_url(quiet: Caller) -> None:
    """What the document prints is below /api; a client that was given the base URL puts that before it."""
    for prefix in PREFIXES:
        assert quiet.get(f"{prefix}/streams").status == 200
        assert quiet.get(f"{prefix}/nothing").fits(error("NOT_FOUND"), 404)
    assert quiet.get("/streams").status == 404


def test_get_authentication_token(quiet: Caller) -> None:
    nobody = Caller(quiet.server)
    for fields in ({"username": "admin"}, {"email": "admin@localhost"}, {"username": "ADMIN@localhost"}):
        login = nobody.post("/api/auth/login", {**fields, "password": PASSWORD}).fits(LOGIN)
    assert (login["token_type"], login["expires_in"], login["token"]) == ("Bearer", 3600, login["access_token"])
    header, claims, _ = (base64.urlsafe_b64decode(part + "==") for part in login["access_token"].split("."))
    assert json.loads(header)["alg"] == "HS256"
    assert json.loads(claims)["exp"] - json.loads(claims)["iat"] == 3600
    for wrong in ({"username": "admin", "password": "x"}, {"username": "nobody", "password": PASSWORD}):
        nobody.post("/api/auth/login", wrong).fits(error("UNAUTHORIZED"), 401)


def test_using_token(quiet: Caller) -> None:
    key = quiet.made("/api/auth/api-keys", {"name": "a program"})["key"]
    nobody = Caller(quiet.server)
    ways = (
        {"Authorization": f"Bearer {quiet.token}"},
        {"Authorization": f"bearer {quiet.token}"},
        {"Authorization": f"Bearer {key}"},
        {"X-API-Key": key},
    )
    for headers in ways:
        assert nobody.get("/api/users/me", headers=headers).fits(USER)["username"] == "admin"
    for headers in ({}, {"Authorization": quiet.token}, {"Authorization": "Bearer x"}, {"X-API-Key": "x"}):
        answer = nobody.get("/api/users/me", headers=headers)
        answer.fits(error("UNAUTHORIZED"), 401)
        assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_a_token_that_has_had_its_day_does_not_keep_anybody_from_logging_in(quiet: Caller) -> None:
    """A client sends it with everything: what asks for no token does not look at it."""
    old = {"Authorization": "Bearer of.an.old"}
    nobody = Caller(quiet.server)
    login = nobody.post("/api/auth/login", {"username": "admin", "password": PASSWORD}, headers=old).fits(LOGIN)
    nobody.post("/api/auth/refresh", {"refresh_token": login["refresh_token"]}, headers=old).fits(LOGIN)
