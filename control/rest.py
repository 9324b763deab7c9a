"""Operations: a route with what it takes, what it gives and who may, declared once. Routing, checks and OpenAPI follow from it.

A handler takes a Call (and what it declared as ``body`` or ``query``) and returns what it declared as ``answer``; it raises
ControlError for anything else. It has one transaction, ``call.tx``: returning commits, raising rolls back; what must happen
outside the database once that is safe goes through ``call.after``. If that transaction is given up in favour of another, the
handler is run anew. One that is declared without a transaction has as many as it opens, and is itself run once.
"""

import inspect
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from aiohttp import web
from pydantic import BaseModel

from control.asked import TOKEN
from control.db import Transaction, is_id
from control.errors import ControlError, ErrorCode, Family, not_found
from control.permissions import Actor, Permission
from control.ratelimit import Limit
from control.transactions import Begin, transact

if TYPE_CHECKING:
    from control.services import Services

#: Every route stands below each of these: both documents print some.
PREFIXES = ("/api", "/api/v1", "/v1/api", "/api/v1/api")

Handler = Callable[..., Awaitable[Any]]
T = TypeVar("T")


@dataclass(slots=True)
class Call:
    """One request to an Operation, as its handler sees it."""

    services: "Services"
    request: web.Request
    request_id: str
    address: str
    actor_or_none: Actor | None
    now: float = field(default_factory=time.time)
    #: Headers of the answer beyond the usual ones.
    headers: dict[str, str] = field(default_factory=dict)
    _tx: Transaction | None = None
    _after: list[Callable[[], object]] = field(default_factory=list)

    @property
    def known(self) -> bool:
        """Whether somebody is logged in."""
        return self.actor_or_none is not None

    @property
    def actor(self) -> Actor:
        """Who asks. Raises ControlError (401) for nobody."""
        if self.actor_or_none is None:
            raise ControlError(ErrorCode.UNAUTHORIZED, "Authentication required", headers={"WWW-Authenticate": "Bearer"})
        return self.actor_or_none

    @property
    def tx(self) -> Transaction:
        """The call's transaction."""
        if self._tx is None:
            raise RuntimeError("this operation was declared without a transaction")
        return self._tx

    @tx.setter
    def tx(self, transaction: Transaction) -> None:
        self._tx = transaction

    def require_login(self) -> None:
        """A key that leaked must not outlive its own revocation, nor lock its owner out. Raises ControlError (403)."""
        if not self.actor.login_id:
            raise ControlError(ErrorCode.FORBIDDEN, "This takes a login: an API key cannot do it")

    async def confirm(self, tx: Transaction) -> None:
        """Who asks still may, as ``tx`` sees it: that may have ended while the body came, or while the database was busy.

        Raises ControlError (401, 403).
        """
        if self.actor_or_none is not None:
            await self.services.accounts.confirm(tx, self.request[TOKEN], self.actor_or_none)

    async def read(self, work: Callable[[], Awaitable[T]]) -> T:
        """What ``work`` gives with a look at the database as the call's transaction."""
        return await self._transact(self.services.db.read, work, confirms=self.request.body_exists)

    async def write(self, work: Callable[[], Awaitable[T]]) -> T:
        """What ``work`` gives in the call's transaction, once that is committed; run anew where the database gives that up.

        Raises ControlError where the asker may no more.
        """
        return await self._transact(self.services.db.write, work, confirms=True)

    async def _transact(self, begin: Begin, work: Callable[[], Awaitable[T]], *, confirms: bool) -> T:
        before = len(self._after)

        async def confirmed(tx: Transaction) -> T:
            # What a try that came to nothing has put off is not done.
            del self._after[before:]
            if confirms:
                await self.confirm(tx)
            self._tx = tx
            return await work()

        return await transact(begin, confirmed)

    def after(self, work: Callable[[], object]) -> None:
        """Do ``work`` when what the handler has written is safe; not at all if it fails."""
        self._after.append(work)

    async def committed(self) -> None:
        """The transaction is committed: do what was put off."""
        for work in self._after:
            outcome = work()
            if inspect.isawaitable(outcome):
                await outcome

    def id(self, name: str, what: str, prefix: str = "") -> int:
        """The id in the path under ``name``: ``7``, and ``stream_7`` with a prefix. Raises ControlError (404)."""
        text = self.request.match_info[name].removeprefix(f"{prefix}_" if prefix else "")
        if not (text.isascii() and text.isdecimal() and len(text) < 20 and is_id(int(text))):
            raise not_found(what)
        return int(text)


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path."""

    method: str
    path: str
    handler: Handler
    family: Family
    tag: str
    summary: str
    permission: Permission | None
    instead: tuple[Permission, ...]
    body: type[BaseModel] | None
    query: type[BaseModel] | None
    answer: type[BaseModel] | str | None
    status: int
    limit: Limit
    transaction: bool
    form: bool
    errors: tuple[ErrorCode, ...]
    also: tuple[int, ...]
    token_in_query: bool
    without_database: bool


class Domain:
    """The operations of one folder: ``@domain.get("/streams", answer=Streams)``."""

    def __init__(self, tag: str, family: Family = Family.PANEL) -> None:
        self.tag = tag
        self.family = family
        self.operations: list[Operation] = []

    def operation(
        self,
        method: str,
        path: str,
        *,
        permission: Permission | None,
        instead: tuple[Permission, ...] = (),
        body: type[BaseModel] | None = None,
        query: type[BaseModel] | None = None,
        answer: type[BaseModel] | str | None = None,
        status: int = 200,
        limit: Limit = Limit.API,
        transaction: bool = True,
        form: bool = False,
        errors: tuple[ErrorCode, ...] = (),
        also: tuple[int, ...] = (),
        token_in_query: bool = False,
        without_database: bool = False,
    ) -> Callable[[Handler], Handler]:
        """Declare the function below as the handler. ``permission`` None: anybody may ask. ``also``: its other statuses.

        ``instead``: each of these is as good as ``permission``; for what, the handler knows.

        ``answer`` is a shape, or the media type of text that has none of ours.

        ``token_in_query``: an access token may stand in the address, for a browser that sends no headers of ours.
        ``without_database``: while that does not answer it is enough that a token seems good (``Accounts.vouch``).
        """

        def declare(handler: Handler) -> Handler:
            summary = inspect.getdoc(handler) or ""
            self.operations.append(
                Operation(
                    method, path, handler, self.family, self.tag, summary, permission, instead, body, query, answer, status,
                    limit, transaction, form, errors, also, token_in_query, without_database,
                )
            )  # fmt: skip
            return handler

        return declare

    def get(self, path: str, **declared: Any) -> Callable[[Handler], Handler]:
        """Declare a GET."""
        return self.operation("GET", path, **declared)

    def post(self, path: str, **declared: Any) -> Callable[[Handler], Handler]:
        """Declare a POST."""
        return self.operation("POST", path, **declared)

    def put(self, path: str, **declared: Any) -> Callable[[Handler], Handler]:
        """Declare a PUT."""
        return self.operation("PUT", path, **declared)

    def delete(self, path: str, **declared: Any) -> Callable[[Handler], Handler]:
        """Declare a DELETE."""
        return self.operation("DELETE", path, **declared)


def faults(error: Any) -> Mapping[str, str]:
    """A pydantic ValidationError as field → what is wrong with it, all of them."""
    found: dict[str, str] = {}
    for detail in error.errors(include_url=False, include_context=False, include_input=False):
        # What our own checks say begins with pydantic's word for a ValueError.
        what = detail["msg"].removeprefix("Value error, ")
        found.setdefault(".".join(str(step) for step in detail["loc"]) or "body", what)
    return found
