"""The OpenAPI 3.1 document, made from the table of operations and the types of their bodies."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from ngx_agents import __version__
from ngx_agents.gateway.openai_errors import OpenAIError
from ngx_agents.gateway.operation import EVENT_STREAM, Operation, Parameter
from ngx_agents.gateway.problems import Problem

JSON = "application/json"
PROBLEM = "application/problem+json"
ABOUT = (
    "A server for teams of LLM agents. A conversation holds turns; a turn is one user message and all that answers "
    "it. Errors are problem details (RFC 9457) with a stable `code`. Event streams carry `turn.accepted`, "
    "`turn.started`, `agent.started`, `text.delta`, `text.reset`, `artifact`, `agent.completed` and end with exactly "
    "one of `turn.completed`, `turn.failed`, `turn.cancelled`."
)
SERVER_SENT_EVENT = {
    "type": "object",
    "description": "One event. `data` is JSON; a turn's events have a name and most have an id.",
    "properties": {"id": {"type": "string"}, "event": {"type": "string"}, "data": {"type": "string"}},
    "required": ["data"],
}
BYTES = {"schema": {"type": "string", "format": "binary"}}
_CAPTURED = re.compile(r"\{(\w+)\}")
_ID_KINDS = {
    "conversation_id": "c",
    "turn_id": "t",
    "artifact_id": "a",
    "attachment_id": "b",
    "batch_id": "j",
    "schedule_id": "s",
    "webhook_id": "w",
}


def document_of(operations: Sequence[Operation]) -> dict[str, Any]:
    """The whole document as JSON-ready values."""
    types = _types(operations)
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    schema_of = dict(zip(types, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _entry(operation, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {"title": "NGX Agents", "version": __version__, "description": ABOUT},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "A JWT or an API key."},
                "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    }


def _types(operations: Sequence[Operation]) -> list[Any]:
    bodies = [operation.body for operation in operations if operation.body is not None]
    answers = [answer for operation in operations for kinds in operation.answers.values() for answer in kinds]
    types = [*bodies, *(answer for answer in answers if not isinstance(answer, str)), Problem, OpenAIError]
    return list(dict.fromkeys(types))


def _entry(operation: Operation, schema_of: dict[Any, Any]) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "summary": operation.summary,
        "tags": [operation.tag],
        "operationId": f"{operation.tag}.{getattr(operation.handler, '__name__', operation.method.lower())}",
        "parameters": [*_captured(operation.path), *(_parameter(each) for each in operation.parameters)],
        "responses": {
            **{str(status): _response(kinds, schema_of) for status, kinds in operation.answers.items()},
            "default": _problem(operation, schema_of),
        },
    }
    if not operation.is_open:
        entry["security"] = [{"bearer": []}, {"apiKey": []}, {}]
    if operation.body is not None:
        entry["requestBody"] = {"required": True, "content": {JSON: {"schema": schema_of[operation.body]}}}
    elif operation.body_types:
        entry["requestBody"] = {"required": True, "content": dict.fromkeys(operation.body_types, BYTES)}
    return entry


def _captured(path: str) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": _captured_schema(name)}
        for name in _CAPTURED.findall(path)
    ]


def _captured_schema(name: str) -> dict[str, Any]:
    kind = _ID_KINDS.get(name)
    if kind is None:
        return {"type": "string", "minLength": 1}
    return {"type": "string", "pattern": f"^{kind}_[0-9a-f]{{2}}[0-9A-HJKMNP-TV-Z]{{26}}$"}


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "required": False,
        "schema": dict(parameter.schema),
        "description": parameter.description,
    }


def _response(kinds: Sequence[Any], schema_of: dict[Any, Any]) -> dict[str, Any]:
    content = {}
    for kind in kinds:
        if kind == EVENT_STREAM:
            content[kind] = {"schema": SERVER_SENT_EVENT}
        elif isinstance(kind, str):
            content[kind] = {"schema": {"type": "string"}}
        else:
            content[JSON] = {"schema": schema_of[kind]}
    return {"description": "Done.", "content": content} if content else {"description": "Done."}


def _problem(operation: Operation, schema_of: dict[Any, Any]) -> dict[str, Any]:
    if operation.tag == "openai":
        content = {JSON: {"schema": schema_of[OpenAIError]}}
    else:
        content = {PROBLEM: {"schema": schema_of[Problem]}}
    return {"description": "An error.", "content": content}
