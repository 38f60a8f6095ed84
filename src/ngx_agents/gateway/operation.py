"""One call of the HTTP surface: what the router dispatches and the OpenAPI document describes, from one record."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ngx_agents.gateway.exchange import Exchange

SCOPED = (
    "/v1/conversations",
    "/v1/conversations/{conversation_id}",
    "/v1/conversations/{conversation_id}/turns",
    "/v1/turns/{turn_id}/cancel",
    "/v1/chat/completions",
    "/mcp",
)
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

    `body` is a type, sent as JSON; or the body is bytes of one of `body_types`.
    Besides these every operation may answer with a problem. `is_open` needs no credentials; `role` is the role that the
    caller must have.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    tag: str
    answers: Mapping[int, tuple[Any, ...]]
    body: Any = None
    body_types: tuple[str, ...] = ()
    parameters: tuple[Parameter, ...] = field(default=())
    is_open: bool = False
    role: str | None = None

    @property
    def is_for_scoped(self) -> bool:
        """Whether a key that is for some agents alone may call it: what reads, and what minds the scope."""
        return self.method == "GET" or self.path in SCOPED

    @property
    def is_for_suspended(self) -> bool:
        """Whether a suspended account may call it: what reads, exports or erases what is the caller's own."""
        return self.method in ("GET", "DELETE") and self.role is None


LIMIT = Parameter(
    name="limit",
    place="query",
    schema={"type": "integer", "minimum": 1, "maximum": 200},
    description="How many items a page holds.",
)
CURSOR = Parameter(
    name="cursor", place="query", schema={"type": "string"}, description="`next` of the page before this one."
)

IDEMPOTENCY_KEY = Parameter(
    name="Idempotency-Key",
    place="header",
    schema={"type": "string", "pattern": "^[!-~]{1,255}$"},
    description="The same key with the same body gives the same result, and does nothing twice.",
)


def operation_of(
    call: str,
    handler: Any,
    *,
    summary: str,
    answers: Mapping[int, tuple[Any, ...]],
    **more: Any,
) -> Operation:
    """`call` is method and path, as one reads it; `more` are further fields of Operation."""
    method, path = call.split(" ", 1)
    return Operation(
        method=method, path=path, handler=handler, summary=summary, tag=_tag(path), answers=answers, **more
    )


def _tag(path: str) -> str:
    """The section of the document."""
    parts = path.split("/")
    if parts[1] != "v1":
        return "server"
    return "openai" if parts[2] in ("chat", "models") else parts[2]
