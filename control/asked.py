"""What is found out about a request on its way to its handler."""

from typing import TYPE_CHECKING

from aiohttp import web

from control.errors import Family

if TYPE_CHECKING:
    from control.permissions import Actor
    from control.rest import Operation
    from control.services import Services

#: What every API key begins with, so that scanners of source code find one that slipped.
KEY_MARK = "msk"

#: A name for it, in logs and in its answer.
REQUEST_ID: web.RequestKey[str] = web.RequestKey("request_id", str)
#: Where it comes from.
ADDRESS: web.RequestKey[str] = web.RequestKey("address", str)
#: What it asks of the API, and what that stands on.
OPERATION: web.RequestKey["Operation"] = web.RequestKey("operation")
SERVICES: web.RequestKey["Services"] = web.RequestKey("services")
#: Who asks.
ACTOR: web.RequestKey["Actor"] = web.RequestKey("actor")
#: By what that is known.
TOKEN: web.RequestKey[str] = web.RequestKey("token", str)


def family_of(request: web.Request) -> Family:
    """In whose words errors are told."""
    operation = request.get(OPERATION)
    return Family.PANEL if operation is None else operation.family
