"""The calls that most traffic is made of, over JSON-RPC without the SDK's dispatcher: it decodes twice, encodes slowly
and wraps every step in a span. Between JSON and messages `quick_json` converts. Same handler, same answers.

What is not a plain 1.0 call of one of these methods is the dispatcher's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from a2a.server.context import ServerCallContext
from a2a.server.request_handlers.response_helpers import build_error_response
from a2a.types import CancelTaskRequest, GetTaskRequest, SendMessageRequest, Task
from a2a.utils.errors import A2AError, InvalidParamsError
from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import Message

from ngx_agents.gateway.a2a.call import Call
from ngx_agents.gateway.a2a.handler import TaskHandler
from ngx_agents.gateway.a2a.quick_json import sent_of, shown

Answer: TypeAlias = dict[str, Any]


class QuickCalls:
    def __init__(self, handler: TaskHandler) -> None:
        self._handler = handler
        self._methods: dict[str, tuple[type[Message], Callable[[Any, ServerCallContext], Awaitable[Answer]]]] = {
            "SendMessage": (SendMessageRequest, self._send),
            "GetTask": (GetTaskRequest, self._get),
            "CancelTask": (CancelTaskRequest, self._cancel),
        }

    def takes(self, told: object, call: Call) -> bool:
        return (
            call.version == "1.0"
            and isinstance(told, dict)
            and told.get("jsonrpc") == "2.0"
            and told.get("method") in self._methods
            and isinstance(told.get("params"), dict)
            and isinstance(told.get("id"), str | int)
            and not isinstance(told["id"], bool)
        )

    async def answer(self, told: dict[str, Any], call: Call) -> Answer:
        """The whole envelope, of a result or of an error."""
        kind, act = self._methods[told["method"]]
        context = call.context()
        try:
            params = _parsed(told["params"], kind)
            context.tenant = params.tenant
            return {"jsonrpc": "2.0", "id": told["id"], "result": await act(params, context)}
        except A2AError as error:
            refused: Answer = build_error_response(told["id"], error)
            return refused

    async def _send(self, params: SendMessageRequest, context: ServerCallContext) -> Answer:
        made = await self._handler.on_message_send(params, context)
        return {"task" if isinstance(made, Task) else "message": shown(made)}

    async def _get(self, params: GetTaskRequest, context: ServerCallContext) -> Answer:
        return shown(await self._handler.on_get_task(params, context))

    async def _cancel(self, params: CancelTaskRequest, context: ServerCallContext) -> Answer:
        return shown(await self._handler.on_cancel_task(params, context))


def _parsed(params: dict[str, Any], kind: type[Message]) -> Any:
    if kind is SendMessageRequest and (plain := sent_of(params)) is not None:
        return plain
    try:
        return ParseDict(params, kind(), ignore_unknown_fields=True)
    except (ParseError, TypeError, ValueError) as error:
        raise InvalidParamsError(data={"parseError": str(error)}) from error
