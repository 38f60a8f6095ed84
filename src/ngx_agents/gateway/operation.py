"""One call of the HTTP surface: what the router dispatches and the OpenAPI document describes, from one record."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ngx_agents.gateway.exchange import Exchange

Handler = Callable[[Exchange], Awaitable[None]]
EVENT_STREAM = "text/event-stream"
HTML = "text/html"
PLAIN = "text/plain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A query parameter or header. `schema` is JSON Schema."""

    name: str
    place: str
    schema: Mapping[str, Any]
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """`answers` maps a status to what its body is: a type (JSON), a media type, or None for no body.

    Besides these every operation may answer with a problem. `is_open` needs no credentials.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    tag: str
    answers: Mapping[int, tuple[Any, ...]]
    body: Any = None
    parameters: tuple[Parameter, ...] = field(default=())
    is_open: bool = False
