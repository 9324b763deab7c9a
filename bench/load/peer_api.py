"""The peer: FastAPI on uvicorn, as its documentation has it, that answers ``GET /api/streams`` from this server's own database.

It checks the access token and shows what this server shows; it does not limit rates, and asks no database who the token's user
is. ``FOLDER`` in the environment is the server's data_dir. The import of this module is the application.
"""

import os
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import aiosqlite
from fastapi import Depends, FastAPI, HTTPException, Query, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel

from control.auth.tokens import BadToken, Tokens
from control.cipher import Cipher
from control.secret import server_secret
from control.streams.service import INPUT_URL
from control.vault import Vault

_FOLDER = Path(os.environ["FOLDER"])
_SECRET = server_secret("", _FOLDER)
_TOKENS = Tokens(_SECRET, 3600)


class ListedDestination(BaseModel):
    """A destination of a stream in a list."""

    platform: str
    status: str


class ListedStream(BaseModel):
    """A stream in a list."""

    id: int
    name: str
    status: str
    input_url: str
    latency_mode: str
    created_at: str
    updated_at: str
    destinations: list[ListedDestination]


class Streams(BaseModel):
    """A page of streams."""

    streams: list[ListedStream]
    total: int
    page: int
    per_page: int


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """One connection to the database and the key of its secrets."""
    app.state.cipher = await Vault(_SECRET).cipher()
    async with aiosqlite.connect(_FOLDER / "mediaserver.db", isolation_level=None, cached_statements=512) as database:
        database.row_factory = aiosqlite.Row
        app.state.database = database
        yield


app = FastAPI(lifespan=lifespan)
_bearer = HTTPBearer()


async def user_of(credentials: Annotated[HTTPAuthorizationCredentials, Depends(_bearer)]) -> int:
    """Whose token it is."""
    try:
        return _TOKENS.read(credentials.credentials, time.time()).user_id
    except BadToken:
        raise HTTPException(401) from None


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


@app.get("/api/streams")
async def list_streams(
    request: Request,
    _user: Annotated[int, Depends(user_of)],
    page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
    per_page: Annotated[int, Query(ge=1, le=100)] = 10,
) -> Streams:
    """List streams"""
    database: aiosqlite.Connection = request.app.state.database
    cipher: Cipher = request.app.state.cipher
    rows = list(
        await database.execute_fetchall(
            "SELECT id, user_id, name, input_url, latency_mode, created_at, updated_at FROM streams ORDER BY id LIMIT ? OFFSET ?",
            (per_page, (page - 1) * per_page),
        )
    )
    ((total,),) = await database.execute_fetchall("SELECT count(*) FROM streams")
    marks = ", ".join("?" for _ in rows)
    destinations = defaultdict(list)
    for row in await database.execute_fetchall(
        f"SELECT stream_id, platform FROM destinations WHERE stream_id IN ({marks}) ORDER BY id",  # noqa: S608 - marks
        [row["id"] for row in rows],
    ):
        destinations[row["stream_id"]].append(ListedDestination(platform=row["platform"], status="inactive"))
    streams = [
        ListedStream(
            id=row["id"],
            name=row["name"],
            status="stopped",
            input_url=cipher.open(INPUT_URL, row["input_url"]),
            latency_mode=row["latency_mode"],
            created_at=_time(row["created_at"]),
            updated_at=_time(row["updated_at"]),
            destinations=destinations[row["id"]],
        )
        for row in rows
    ]
    return Streams(streams=streams, total=total, page=page, per_page=per_page)
