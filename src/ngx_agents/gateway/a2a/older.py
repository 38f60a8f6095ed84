"""What 0.3 has over HTTP+JSON and gRPC and the SDK's layer for it leaves out or breaks.

- A stream that cannot begin is an error with its status, not a stream that breaks off.
- Webhooks are deleted.
- Files: the SDK's own clients put base64 text into the field for bytes, all others the bytes. The SDK's server reads
  the first alone; here the second are made the first before it reads.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncGenerator, AsyncIterator
from http import HTTPStatus
from typing import Any

import msgspec
from a2a.compat.v0_3.context_builders import V03ServerCallContextBuilder
from a2a.compat.v0_3.rest_handler import REST03Handler
from a2a.server.routes.common import create_event_source_response
from a2a.types import DeleteTaskPushNotificationConfigRequest
from a2a.utils import json_utils
from a2a.utils.error_handlers import rest_error_handler
from a2a.utils.errors import A2AError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ngx_agents.gateway.a2a.call import CallContexts
from ngx_agents.gateway.a2a.handler import TaskHandler

TASK = "/v1/tasks/{id}"


class OlderRoutes:
    """Stand before the SDK's."""

    def __init__(self, handler: TaskHandler, contexts: CallContexts) -> None:
        self._handler = handler
        self._older = REST03Handler(handler)
        self._contexts = V03ServerCallContextBuilder(contexts)

    def routes(self) -> list[Route]:
        return [
            Route("/v1/message:stream", self._send, methods=["POST"]),
            Route(f"{TASK}:subscribe", self._subscribe, methods=["GET", "POST"]),
            Route(f"{TASK}/pushNotificationConfigs/{{push_id}}", self._delete, methods=["DELETE"]),
        ]

    @rest_error_handler
    async def _send(self, request: Request) -> Response:
        return await _begun(self._older.on_message_send_stream(request, self._contexts.build(request)))

    @rest_error_handler
    async def _subscribe(self, request: Request) -> Response:
        return await _begun(self._older.on_subscribe_to_task(request, self._contexts.build(request)))

    @rest_error_handler
    async def _delete(self, request: Request) -> Response:
        asked = DeleteTaskPushNotificationConfigRequest(
            task_id=request.path_params["id"], id=request.path_params["push_id"]
        )
        await self._handler.on_delete_task_push_notification_config(asked, self._contexts.build(request))
        return Response(status_code=HTTPStatus.NO_CONTENT)


async def _begun(events: AsyncIterator[Any]) -> Response:
    """The stream, once it has its first event. Raises what keeps it from beginning."""
    first = await anext(events)

    async def told() -> AsyncGenerator[str]:
        yield json_utils.dumps(first)
        try:
            async for event in events:
                yield json_utils.dumps(event)
        except A2AError:  # told to nobody: a stream that ends before its end is subscribed to again
            return

    response: Response = create_event_source_response(told())
    return response


def with_text_files(body: bytes) -> bytes:
    """A message over HTTP+JSON whose files are base64 text, in base64 as all bytes are."""
    told = _decoded(body)
    message = told.get("request") if isinstance(told, dict) else None
    parts = message.get("content") if isinstance(message, dict) else None
    files = [part["file"] for part in parts or () if isinstance(part, dict) and isinstance(part.get("file"), dict)]
    for file in files:
        for name in ("fileWithBytes", "file_with_bytes"):
            if isinstance(file.get(name), str):
                file[name] = _text_again(file[name])
    return msgspec.json.encode(told) if files else body


def _decoded(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError:
        return None


def _text_again(encoded: str) -> str:
    try:
        data = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return encoded  # refused where it is read
    return base64.b64encode(as_text(data)).decode()


def as_text(data: bytes) -> bytes:
    """The bytes of a file as base64 text, if they are not that already."""
    try:
        base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return base64.b64encode(data)
    return data
