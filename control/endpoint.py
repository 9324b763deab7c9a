"""From an Operation to what aiohttp calls: checks on the way in, one transaction, the declared shape on the way out."""

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web
from pydantic import BaseModel, ValidationError

from control.db import Conflict, DatabaseUnavailable
from control.errors import ControlError, ErrorCode, Family
from control.permissions import Actor
from control.rest import PREFIXES, Call, Domain, Operation, faults
from control.services import SERVICES

#: What the middleware has found out about a request.
REQUEST_ID: web.RequestKey[str] = web.RequestKey("request_id", str)
ADDRESS: web.RequestKey[str] = web.RequestKey("address", str)
ACTOR: web.RequestKey[Actor] = web.RequestKey("actor", Actor)

_OPERATIONS: web.AppKey[dict[object, Operation]] = web.AppKey("operations", dict)


def setup(app: web.Application, domains: list[Domain]) -> None:
    """Route every Operation of ``domains`` under all prefixes."""
    known = app[_OPERATIONS] = {}
    for operation in (operation for domain in domains for operation in domain.operations):
        handler = _handler(operation)
        known[handler] = operation
        for prefix in PREFIXES:
            app.router.add_route(operation.method, prefix + operation.path, handler)


def operation_of(request: web.Request) -> Operation | None:
    """What ``request`` was routed to, if that was declared."""
    return request.app[_OPERATIONS].get(request.match_info.handler)


def family_of(request: web.Request) -> Family:
    """In whose words errors are told."""
    operation = operation_of(request)
    return Family.PANEL if operation is None else operation.family


def _handler(operation: Operation) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        call = Call(request.app[SERVICES], request, request[REQUEST_ID], request[ADDRESS], request.get(ACTOR))
        if operation.permission is not None:
            call.actor.require(operation.permission)
        values = {}
        if operation.query is not None:
            values["query"] = _query(operation.query, request)
        if operation.body is not None:
            values["body"] = await _body(operation, operation.body, request)
        try:
            async with _transaction(operation, call):
                answer = await operation.handler(call, **values)
        except DatabaseUnavailable:
            raise ControlError(ErrorCode.UNAVAILABLE, "The database does not answer", headers={"Retry-After": "5"}) from None
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


def _query(model: type[BaseModel], request: web.Request) -> BaseModel:
    given: dict[str, str] = {}
    twice: dict[str, str] = {}
    for name, value in parse_qsl(request.query_string, keep_blank_values=True):
        if name in given:
            twice[name] = "is given twice"
        given[name] = value
    if twice:
        raise ControlError(ErrorCode.VALIDATION, "The request is invalid", {"fields": twice})
    try:
        return model.model_validate_strings(given)
    except ValidationError as error:
        raise ControlError(ErrorCode.VALIDATION, "The request is invalid", {"fields": faults(error)}) from None


async def _body(operation: Operation, model: type[BaseModel], request: web.Request) -> BaseModel:
    wanted = "application/x-www-form-urlencoded" if operation.form else "application/json"
    if request.content_type != wanted and not (request.content_type == "application/octet-stream" and not operation.form):
        raise ControlError(ErrorCode.UNSUPPORTED_MEDIA_TYPE, f"Content-Type must be {wanted}")
    data = await request.read()
    try:
        if operation.form:
            return model.model_validate_strings(dict(parse_qsl(data.decode(), keep_blank_values=True)))
        return model.model_validate_json(data or b"{}", strict=True)
    except UnicodeDecodeError:
        raise ControlError(ErrorCode.VALIDATION, "The request is invalid", {"fields": {"body": "is not UTF-8"}}) from None
    except ValidationError as error:
        raise ControlError(ErrorCode.VALIDATION, "The request is invalid", {"fields": faults(error)}) from None


def _response(operation: Operation, call: Call, answer: object) -> web.StreamResponse:
    if isinstance(answer, web.StreamResponse):
        return answer
    if not isinstance(answer, BaseModel):
        return web.Response(status=operation.status, headers=call.headers)
    headers = {"Cache-Control": "no-store", **call.headers}
    body = answer.model_dump_json().encode()
    return web.Response(body=body, status=operation.status, headers=headers, content_type="application/json")
