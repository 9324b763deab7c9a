"""From an Operation to what aiohttp calls: checks on the way in, one transaction, the declared shape on the way out."""

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from pydantic import BaseModel

from control import docs
from control.db import Conflict
from control.errors import ControlError, ErrorCode, Family
from control.intake import read_body, read_query
from control.permissions import Actor
from control.rest import PREFIXES, Call, Domain, Operation
from control.services import SERVICES

#: What the middleware has found out about a request.
REQUEST_ID: web.RequestKey[str] = web.RequestKey("request_id", str)
ADDRESS: web.RequestKey[str] = web.RequestKey("address", str)
ACTOR: web.RequestKey[Actor] = web.RequestKey("actor", Actor)

_OPERATIONS: web.AppKey[dict[object, Operation]] = web.AppKey("operations", dict)


def setup(app: web.Application, domains: list[Domain]) -> None:
    """Route every Operation of ``domains`` under all prefixes."""
    known = app[_OPERATIONS] = {}
    operations = [operation for domain in domains for operation in domain.operations]
    if operations:
        docs.setup(app, operations)
    for operation in operations:
        handler = _handler(operation)
        known[handler] = operation
        for prefix in PREFIXES:
            app.router.add_route(operation.method, prefix + operation.path, handler)
            if operation.method == "GET":
                app.router.add_route("HEAD", prefix + operation.path, handler)


def operation_of(request: web.Request) -> Operation | None:
    """What ``request`` was routed to, if that was declared."""
    return request.app[_OPERATIONS].get(request.match_info.handler)


def family_of(request: web.Request) -> Family:
    """In whose words errors are told."""
    operation = operation_of(request)
    return Family.PANEL if operation is None else operation.family


def _handler(operation: Operation) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        services = request.app[SERVICES]
        now = services.accounts.clock()
        call = Call(services, request, request[REQUEST_ID], request[ADDRESS], request.get(ACTOR), now)
        if operation.permission is not None:
            call.actor.require(operation.permission)
        values = {}
        if operation.query is not None:
            values["query"] = read_query(operation.query, request)
        if operation.body is not None:
            values["body"] = await read_body(operation, operation.body, request)
        try:
            async with _transaction(operation, call):
                answer = await operation.handler(call, **values)
        except Conflict:
            raise ControlError(ErrorCode.CONFLICT, "Something like it exists already") from None
        await call.committed()
        return _response(operation, call, answer)

    return handle


@contextlib.asynccontextmanager
async def _transaction(operation: Operation, call: Call) -> Any:
    if not operation.transaction:
        yield
        return
    db = call.services.db
    async with db.read() if operation.method == "GET" else db.write() as transaction:
        call.tx = transaction
        yield


def _response(operation: Operation, call: Call, answer: object) -> web.StreamResponse:
    if isinstance(answer, web.StreamResponse):
        return answer
    headers = {"Cache-Control": "no-store", **call.headers}
    if not isinstance(answer, BaseModel):
        return web.Response(status=operation.status, headers=headers)
    body = answer.model_dump_json().encode()
    return web.Response(body=body, status=operation.status, headers=headers, content_type="application/json")
