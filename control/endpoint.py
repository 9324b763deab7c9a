"""From an Operation to what aiohttp calls: checks on the way in, one transaction, the declared shape on the way out."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from aiohttp import HttpVersion11, web
from pydantic import BaseModel

from control.asked import ACTOR, ADDRESS, REQUEST_ID, SERVICES
from control.db import Conflict
from control.errors import ControlError, ErrorCode
from control.intake import read_body, read_query
from control.rest import PREFIXES, Call, Operation
from control.schema import Taken
from control.vault import Unreadable

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def route(router: web.UrlDispatcher, operations: Sequence[Operation]) -> Mapping[Handler, Operation]:
    """Put every one of ``operations`` under all prefixes. What each handler does."""
    known: dict[Handler, Operation] = {}
    for operation in operations:
        handler = _handler(operation)
        known[handler] = operation
        for prefix in PREFIXES:
            router.add_route(operation.method, prefix + operation.path, handler, expect_handler=_encourage)
            if operation.method == "GET":
                router.add_route("HEAD", prefix + operation.path, handler, expect_handler=_encourage)
    return known


async def _encourage(request: web.Request) -> None:
    """Who waits to be asked for the body is asked for it; whatever else is expected may be passed over (RFC 9110, 10.1.1), and
    aiohttp's own refusal would be none in our shape."""
    if request.version >= HttpVersion11 and request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer has not begun


def _handler(operation: Operation) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        call = _call(request)
        if operation.permission is not None:
            call.actor.require(operation.permission, *operation.instead)
        values = {}
        if operation.query is not None:
            values["query"] = read_query(operation.query, request)
        elif not operation.form:  # another server asks where it was told to, with whatever stands in that address
            read_query(Taken, request)
        if operation.body is not None:
            values["body"] = await read_body(operation, operation.body, request)
        try:
            answer = await _answer(operation, call, values)
        except Conflict:
            raise ControlError(ErrorCode.CONFLICT, "Something like it exists already") from None
        except Unreadable as unreadable:
            raise ControlError(
                ErrorCode.CONFLICT, "A secret that this stands on cannot be read", {"reason": unreadable.reason}
            ) from None
        await call.committed()
        return _response(operation, call, answer)

    return handle


def _call(request: web.Request) -> Call:
    services = request[SERVICES]
    now = services.accounts.clock()
    return Call(services, request, request[REQUEST_ID], request[ADDRESS], request.get(ACTOR), now)


async def _answer(operation: Operation, call: Call, values: Mapping[str, Any]) -> object:
    """What the handler gives, once its transaction is committed."""
    if not operation.transaction:
        return await operation.handler(call, **values)
    if operation.method == "GET":
        return await call.read(lambda: operation.handler(call, **values))
    return await call.write(lambda: operation.handler(call, **values))


def _response(operation: Operation, call: Call, answer: object) -> web.StreamResponse:
    if isinstance(answer, web.StreamResponse):
        return answer
    headers = {"Cache-Control": "no-store", **call.headers}
    if not isinstance(answer, BaseModel):
        return web.Response(status=operation.status, headers=headers)
    body = answer.model_dump_json().encode()
    return web.Response(body=body, status=operation.status, headers=headers, content_type="application/json")
