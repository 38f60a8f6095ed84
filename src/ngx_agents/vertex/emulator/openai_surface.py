"""The OpenAI-compatible surface: reads chat completions into a `Prompt`, writes answers and errors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from ngx_agents.vertex.emulator.generation import Config
from ngx_agents.vertex.emulator.prompt import (
    Answer,
    Prompt,
    Result,
    Tool,
    ToolMode,
    tokens_of,
)
from ngx_agents.vertex.emulator.refusal import Refusal

_encode = msgspec.json.encode
_FINISH = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "content_filter",
    "MALFORMED_FUNCTION_CALL": "error",
    "": None,
}
_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


def read(doc: Any) -> Prompt:
    """The prompt of a chat completion body. Raises BadRequestError."""
    if not isinstance(doc, dict) or not isinstance(doc.get("messages"), list) or not doc["messages"]:
        raise Refusal(400, "'messages' must be a non-empty list")
    messages: list[dict[str, Any]] = doc["messages"]
    tools = tuple(_tools(doc.get("tools") or ()))
    mode, allowed = _mode(doc.get("tool_choice"))
    user_text, results = _last_said(messages)
    config = _config(doc)
    tokens = tokens_of(sum(len(_text(message)) for message in messages) + len(_encode(doc.get("tools") or ())))
    return Prompt(
        model=str(doc.get("model") or "emulated"),
        user_text=user_text,
        results=results,
        tools=tools,
        mode=mode,
        allowed=allowed,
        max_output_tokens=config.max_output_tokens,
        tokens=tokens,
        details={"TEXT": tokens},
        config=config,
        tier=str(doc.get("service_tier") or ""),
    )


def error(refusal: Refusal) -> bytes:
    """The error body of a refusal."""
    kind = _ERROR_TYPES.get(refusal.status, "server_error")
    return _encode({"error": {"message": str(refusal), "type": kind, "param": None, "code": None}})


def error_in_stream(refusal: Refusal) -> bytes:
    """The error as it appears inside a stream: as data."""
    return b"data: " + error(refusal) + b"\n\n"


def reply(answer: Answer) -> bytes:
    """The whole answer as one document."""
    message: dict[str, Any] = {"role": "assistant", "content": "".join(answer.pieces) or None}
    if answer.calls:
        message["tool_calls"] = _calls(answer)
    choice = {"index": 0, "message": message, "finish_reason": _finish(answer)}
    return _encode({**_head(answer, "chat.completion"), "choices": [choice], "usage": _usage(answer)})


def frames(answer: Answer, *, with_usage: bool) -> list[bytes]:
    """The answer as the JSON documents of a stream, in order, without the closing `[DONE]`."""
    head = _encode(_head(answer, "chat.completion.chunk"))[:-1]
    before, after = head + b',"choices":[{"index":0,"delta":{"content":', b'},"finish_reason":null}]}'
    documents = [_chunk(head, {"role": "assistant", "content": ""}, None)]
    documents.extend(before + _encode(piece) + after for piece in answer.pieces)
    for call in _calls(answer):
        arguments = call["function"].pop("arguments")
        call["function"]["arguments"] = ""
        documents.append(_chunk(head, {"tool_calls": [call]}, None))
        half = len(arguments) // 2
        for piece in (arguments[:half], arguments[half:]):
            delta = {"tool_calls": [{"index": call["index"], "function": {"arguments": piece}}]}
            documents.append(_chunk(head, delta, None))
    if _finish(answer) is not None:
        documents.append(_chunk(head, {}, _finish(answer)))
    if with_usage:
        documents.append(head + b',"choices":[],"usage":' + _encode(_usage(answer)) + b"}")
    return documents


def models(names: Iterable[str]) -> bytes:
    """The answer of GET /v1/models."""
    data = [{"id": name, "object": "model", "created": 0, "owned_by": "emulator"} for name in names]
    return _encode({"object": "list", "data": data})


def _config(doc: dict[str, Any]) -> Config:
    form = doc.get("response_format") or {}
    bound = doc.get("max_completion_tokens") or doc.get("max_tokens")
    if bound is not None and (not isinstance(bound, int) or bound < 1):
        raise Refusal(400, "'max_completion_tokens' must be a positive number")
    stop = doc.get("stop") or ()
    return Config(
        max_output_tokens=bound,
        stops=(stop,) if isinstance(stop, str) else tuple(map(str, stop)),
        mime="text/plain" if form.get("type", "text") == "text" else "application/json",
        schema=(form.get("json_schema") or {}).get("schema"),
    )


def _tools(declared: Iterable[dict[str, Any]]) -> Iterable[Tool]:
    for each in declared:
        function = each.get("function") or {}
        if not function.get("name"):
            raise Refusal(400, "'tools[].function.name' is missing")
        yield Tool(function["name"], function.get("description") or "", function.get("parameters") or {})


def _mode(choice: Any) -> tuple[ToolMode, frozenset[str]]:
    if isinstance(choice, dict):
        return "any", frozenset({str((choice.get("function") or {}).get("name"))})
    modes: dict[Any, ToolMode] = {"required": "any", "none": "none"}
    return modes.get(choice, "auto"), frozenset()


def _last_said(messages: list[dict[str, Any]]) -> tuple[str, tuple[Result, ...]]:
    names = {
        call.get("id"): str((call.get("function") or {}).get("name"))
        for message in messages
        for call in message.get("tool_calls") or ()
    }
    results: list[Result] = []
    for message in reversed(messages):
        if message.get("role") == "tool":
            name = names.get(message.get("tool_call_id"), "tool")
            results.insert(0, Result(name, _value(_text(message))))
        elif message.get("role") == "user":
            return _text(message), tuple(results)
    return "", tuple(results)


def _value(text: str) -> Any:
    """What a tool said, as JSON when it is JSON."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def _text(message: dict[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, list):
        return " ".join(part.get("text") or "" for part in content)
    return content or ""


def _finish(answer: Answer) -> str | None:
    if answer.blocked:
        return "content_filter"
    if answer.calls:
        return "tool_calls"
    return _FINISH.get(answer.finish, answer.finish.lower())


def _calls(answer: Answer) -> list[dict[str, Any]]:
    return [
        {
            "index": index,
            "id": f"call_{answer.id}_{index}",
            "type": "function",
            "function": {"name": call.name, "arguments": _encode(call.arguments).decode()},
        }
        for index, call in enumerate(answer.calls)
    ]


def _chunk(head: bytes, delta: dict[str, Any], finish: str | None) -> bytes:
    return head + b',"choices":' + _encode([{"index": 0, "delta": delta, "finish_reason": finish}]) + b"}"


def _head(answer: Answer, kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{answer.id}", "object": kind, "created": 0, "model": answer.model}


def _usage(answer: Answer) -> dict[str, Any]:
    written = answer.output_tokens + answer.thought_tokens
    return {
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": written,
        "total_tokens": answer.prompt_tokens + written,
        "completion_tokens_details": {"reasoning_tokens": answer.thought_tokens},
    }
