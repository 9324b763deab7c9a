"""The OpenAPI 3.1 document, made of what the operations declare."""

import re
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from control.errors import ErrorCode
from control.ratelimit import Limit
from control.rest import Operation

_PARAMETER = re.compile(r"\{(\w+)\}")
_REF = "#/components/schemas/{model}"


def document(operations: Iterable[Operation], version: str) -> dict[str, Any]:
    """All of ``operations`` as a JSON object."""
    operations = list(operations)
    taken = {model for operation in operations for model in (operation.body, operation.query) if model is not None}
    given = {operation.answer for operation in operations if isinstance(operation.answer, type)}
    _, definitions = models_json_schema(
        [
            *((model, "validation") for model in sorted(taken, key=_name)),
            *((model, "serialization") for model in sorted(given, key=_name)),
        ],
        ref_template=_REF,
    )
    schemas = _as_written(definitions.get("$defs", {}))
    schemas["Error"] = _ERROR
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(f"/api{operation.path}", {})[operation.method.lower()] = _operation(operation, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Live media server", "version": version},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "An access token, or an API key"},
                "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "An API key"},
                "token": {"type": "apiKey", "in": "query", "name": "token", "description": "An access token, no API key"},
            },
        },
    }


def _as_written(part: Any) -> Any:
    """A part of the document, whose descriptions are docstrings, as CommonMark."""
    match part:
        case {"description": str(text), **rest}:
            return {**_as_written(rest), "description": _marked(text)}
        case dict():
            return {name: _as_written(value) for name, value in part.items()}
        case list():
            return [_as_written(value) for value in part]
        case _:
            return part


def _marked(text: str) -> str:
    return text.replace("``", "`")


def _name(model: type[BaseModel]) -> str:
    return model.__name__


def _operation(operation: Operation, schemas: dict[str, Any]) -> dict[str, Any]:
    # Of a query that it does not take every operation says so.
    codes = {*operation.errors, ErrorCode.TIMEOUT, ErrorCode.TOO_LARGE, ErrorCode.UNAVAILABLE, ErrorCode.VALIDATION}
    if operation.limit is not Limit.NONE:
        codes.add(ErrorCode.RATE_LIMITED)
    if operation.permission is not None:
        codes |= {ErrorCode.UNAUTHORIZED, ErrorCode.FORBIDDEN}
    if operation.body is not None:
        codes.add(ErrorCode.UNSUPPORTED_MEDIA_TYPE)
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PARAMETER.findall(operation.path)
    ]
    if parameters:
        codes.add(ErrorCode.NOT_FOUND)
    summary, _, description = operation.summary.partition("\n")
    told = {
        # Two domains may use the same word: a list is a list.
        "operationId": f"{operation.handler.__module__.split('.')[1]}_{operation.handler.__name__}",
        "tags": [operation.tag],
        "summary": _marked(summary),
        "description": _marked(description.strip()),
        "parameters": parameters + _query(operation, schemas),
        "responses": {
            **_errors(operation, codes),
            **{str(status): _answer(operation) for status in (operation.status, *operation.also)},
        },
        "security": _security(operation),
    }
    if operation.body is not None:
        kind = "application/x-www-form-urlencoded" if operation.form else "application/json"
        # Where nothing must be in it, nothing is as good as an empty one.
        required = any(field.is_required() for field in operation.body.model_fields.values())
        told["requestBody"] = {"required": required, "content": {kind: {"schema": _ref(operation.body)}}}
    return told


def _security(operation: Operation) -> list[dict[str, list[str]]]:
    """By what the asker may be known: any one of these, or nothing."""
    if operation.token_in_query:
        return [{"bearer": []}, {"apiKey": []}, {"token": []}]
    return [{"bearer": []}, {"apiKey": []}] if operation.permission is not None else []


def _query(operation: Operation, schemas: dict[str, Any]) -> list[dict[str, Any]]:
    if operation.query is None:
        return []
    schema = schemas[operation.query.__name__]
    required = schema.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in required, "schema": kind}
        for name, kind in schema.get("properties", {}).items()
    ]


def _answer(operation: Operation) -> dict[str, Any]:
    if operation.answer is None:
        return {"description": "Done"}
    if isinstance(operation.answer, str):
        return {"description": "Done", "content": {operation.answer: {"schema": {"type": "string"}}}}
    return {"description": "Done", "content": {"application/json": {"schema": _ref(operation.answer)}}}


def _errors(operation: Operation, codes: Iterable[ErrorCode]) -> dict[str, Any]:
    words: dict[int, list[str]] = {}
    for code in codes:
        word, status = code.spoken(operation.family)
        words.setdefault(status, []).append(word)
    return {
        str(status): {
            "description": ", ".join(sorted(those)),
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
        }
        for status, those in sorted(words.items())
    }


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": _REF.format(model=model.__name__)}


_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "details", "timestamp", "requestId"],
            "properties": {
                "code": {"type": "string"},
                "message": {"type": "string"},
                "details": {"type": ["object", "string"]},
                "timestamp": {"type": "string", "format": "date-time"},
                "requestId": {"type": "string"},
            },
        }
    },
}
