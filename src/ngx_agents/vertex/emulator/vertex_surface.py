"""Writes answers and errors as Vertex does: one JSON document, or frames of a stream."""

from __future__ import annotations

from typing import Any

import msgspec

from ngx_agents.vertex.emulator.prompt import Answer
from ngx_agents.vertex.emulator.vertex_reader import signature_for

_encode = msgspec.json.encode
_STATUS: dict[int, tuple[str, str]] = {
    400: ("INVALID_ARGUMENT", "Request contains an invalid argument."),
    401: (
        "UNAUTHENTICATED",
        "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other"
        " valid authentication credential.",
    ),
    403: (
        "PERMISSION_DENIED",
        "Permission 'aiplatform.endpoints.predict' denied on resource (or it may not exist).",
    ),
    404: ("NOT_FOUND", "Publisher model was not found or your project does not have access to it."),
    429: (
        "RESOURCE_EXHAUSTED",
        "Resource exhausted. Please try again later. Please refer to"
        " https://cloud.google.com/vertex-ai/generative-ai/docs/error-code-429 for more details.",
    ),
    499: ("CANCELLED", "The operation was cancelled."),
    500: ("INTERNAL", "Internal error encountered."),
    503: ("UNAVAILABLE", "The model is overloaded. Please try again later."),
    504: ("DEADLINE_EXCEEDED", "Deadline expired before operation could complete."),
}


def error(status: int, message: str | None = None) -> bytes:
    """The error body of `status`."""
    return _encode(_error(status, message))


def error_in_stream(status: int, message: str | None = None) -> bytes:
    """The same, pretty-printed over several lines, as it appears inside a stream."""
    return msgspec.json.format(error(status, message), indent=2) + b"\n"


def reply(answer: Answer) -> bytes:
    """The whole answer as one document."""
    if answer.blocked:
        return _encode(_blocked(answer))
    parts: list[dict[str, Any]] = []
    if answer.thought is not None:
        parts.append({"text": answer.thought, "thought": True})
    if answer.pieces:
        parts.append({"text": "".join(answer.pieces)})
    parts.extend(_call_parts(answer))
    candidate = {"content": _content(answer, parts), "finishReason": answer.finish, "index": 0}
    return _encode({"candidates": [candidate], "usageMetadata": _usage(answer), **_tail(answer)})


def frames(answer: Answer) -> list[bytes]:
    """The answer as the JSON documents of a stream, in order; the last one carries finishReason and usage."""
    if answer.blocked:
        return [_encode(_blocked(answer))]
    tail = _encode(_tail(answer))[1:]
    before = b'{"candidates":[{"content":{"role":"model","parts":[{"text":'
    after = b'}]},"index":0}],' + tail
    documents = [before + _encode(piece) + after for piece in answer.pieces[:-1]]
    if answer.thought is not None:
        documents.insert(0, before + _encode(answer.thought) + b',"thought":true' + after)
    documents.extend(_last_frames(answer))
    return documents


def counted(total: int, characters: int) -> bytes:
    """The answer of countTokens."""
    details = [{"modality": "TEXT", "tokenCount": total}]
    return _encode({"totalTokens": total, "totalBillableCharacters": characters, "promptTokensDetails": details})


def _last_frames(answer: Answer) -> list[bytes]:
    parts: list[dict[str, Any]] = [{"text": answer.pieces[-1]}] if answer.pieces else []
    parts.extend(_call_parts(answer))
    candidate: dict[str, Any] = {"content": _content(answer, parts), "index": 0}
    if answer.finish:
        candidate["finishReason"] = answer.finish
    last: dict[str, Any] = {"candidates": [candidate], **_tail(answer)}
    if not answer.usage_apart:
        return [_encode({**last, "usageMetadata": _usage(answer)})]
    return [_encode(last), _encode({"usageMetadata": _usage(answer), **_tail(answer)})]


def _content(answer: Answer, parts: list[dict[str, Any]]) -> dict[str, Any]:
    if answer.finish == "MALFORMED_FUNCTION_CALL":
        return {}
    return {"role": "model", "parts": parts} if parts else {"role": "model"}


def _call_parts(answer: Answer) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = [
        {"functionCall": {"name": call.name, "args": call.arguments}} for call in answer.calls
    ]
    if parts:
        parts[0]["thoughtSignature"] = signature_for(answer.model, answer.calls[0].name)
    return parts


def _usage(answer: Answer) -> dict[str, Any]:
    total = answer.prompt_tokens + answer.output_tokens + answer.thought_tokens
    return {
        "promptTokenCount": answer.prompt_tokens,
        "candidatesTokenCount": answer.output_tokens,
        "thoughtsTokenCount": answer.thought_tokens,
        "totalTokenCount": total,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": answer.prompt_tokens}],
        "candidatesTokensDetails": [{"modality": "TEXT", "tokenCount": answer.output_tokens}],
        "trafficType": "ON_DEMAND",
    }


def _tail(answer: Answer) -> dict[str, Any]:
    return {"modelVersion": answer.model, "responseId": answer.id}


def _blocked(answer: Answer) -> dict[str, Any]:
    feedback = {
        "blockReason": "PROHIBITED_CONTENT",
        "blockReasonMessage": "The prompt could not be submitted.",
    }
    usage = {"promptTokenCount": answer.prompt_tokens, "totalTokenCount": answer.prompt_tokens}
    return {"promptFeedback": feedback, "usageMetadata": usage, **_tail(answer)}


def _error(status: int, message: str | None) -> dict[str, Any]:
    name, usual = _STATUS.get(status, ("UNKNOWN", "Unknown error."))
    body: dict[str, Any] = {"code": status, "message": message or usual, "status": name}
    if status == 401:
        body["details"] = [
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "ACCESS_TOKEN_TYPE_UNSUPPORTED",
                "domain": "googleapis.com",
                "metadata": {"service": "aiplatform.googleapis.com"},
            }
        ]
    return {"error": body}
