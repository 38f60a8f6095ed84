"""Writes answers and errors as Vertex does: one JSON document, or frames of a stream."""

from __future__ import annotations

from typing import Any

import msgspec

from ngx_agents.vertex.emulator.prompt import Answer
from ngx_agents.vertex.emulator.refusal import Refusal
from ngx_agents.vertex.emulator.vertex_reader import signature_for

_encode = msgspec.json.encode
_PLAIN = (
    b'{"candidates":[{"content":{"role":"model","parts":[{"text":%b}]},"finishReason":"%b","index":0}],'
    b'"usageMetadata":%b,%b'
)
_USAGE = (
    b'{"promptTokenCount":%d,"candidatesTokenCount":%d,"totalTokenCount":%d,"promptTokensDetails":%b,'
    b'"candidatesTokensDetails":[{"modality":"TEXT","tokenCount":%d}],"trafficType":"%b"%b}'
)


def error(refusal: Refusal, method: str = "") -> bytes:
    """The error body of a refusal, pretty-printed over several lines as the service writes it."""
    body: dict[str, Any] = {"code": refusal.status, "message": str(refusal), "status": refusal.word}
    details: list[dict[str, Any]] = []
    if refusal.reason is not None:
        metadata = {"service": "aiplatform.googleapis.com", **({"method": method} if method else {})}
        details.append(
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": refusal.reason,
                "domain": "googleapis.com",
                "metadata": metadata,
            }
        )
    if refusal.fields:
        violations = [{"field": field, "description": why} for field, why in refusal.fields]
        details.append({"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": violations})
    if details:
        body["details"] = details
    return msgspec.json.format(_encode({"error": body}), indent=2) + b"\n"


def reply(answer: Answer) -> bytes:
    """The whole answer as one document."""
    if len(answer.pieces) == 1 and answer.thought is None and not (answer.calls or answer.others or answer.queries):
        finish = answer.finish.encode()
        return _PLAIN % (_encode(answer.pieces[0]), finish, bytes(usage(answer)), _encode(_tail(answer))[1:])
    if answer.blocked:
        return _encode(_blocked(answer))
    parts: list[dict[str, Any]] = []
    if answer.thought is not None:
        parts.append({"text": answer.thought, "thought": True})
    if answer.pieces:
        parts.append({"text": "".join(answer.pieces)})
    parts.extend(_call_parts(answer))
    candidate = {"content": _content(answer, parts), "finishReason": answer.finish, "index": 0, **_extras(answer)}
    return _encode({"candidates": [candidate, *_others(answer)], "usageMetadata": usage(answer), **_tail(answer)})


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


def counted(details: dict[str, int], characters: int) -> bytes:
    """The answer of countTokens."""
    return _encode(
        {
            "totalTokens": sum(details.values()),
            "totalBillableCharacters": characters,
            "promptTokensDetails": _by_modality(details),
        }
    )


def usage(answer: Answer) -> msgspec.Raw:
    """The usageMetadata; counts of zero are left out, as on the wire."""
    prompt, output, thoughts = answer.prompt_tokens, answer.output_tokens, answer.thought_tokens
    more = b""
    if thoughts:
        more = b',"thoughtsTokenCount":%d' % thoughts
    if answer.cached:
        cached = sum(answer.cached.values()), _encode(_by_modality(answer.cached))
        more += b',"cachedContentTokenCount":%d,"cacheTokensDetails":%b' % cached
    details = b"[%b]" % b",".join(
        [b'{"modality":"%b","tokenCount":%d}' % (name.encode(), count) for name, count in answer.details.items()]
    )
    traffic = answer.traffic.encode()
    return msgspec.Raw(_USAGE % (prompt, output, prompt + output + thoughts, details, output, traffic, more))


def _by_modality(details: dict[str, int]) -> list[dict[str, Any]]:
    return [{"modality": modality, "tokenCount": count} for modality, count in details.items()]


def _last_frames(answer: Answer) -> list[bytes]:
    parts: list[dict[str, Any]] = [{"text": answer.pieces[-1]}] if answer.pieces else []
    parts.extend(_call_parts(answer))
    candidate: dict[str, Any] = {"content": _content(answer, parts), "index": 0, **_extras(answer)}
    if answer.finish:
        candidate["finishReason"] = answer.finish
    last: dict[str, Any] = {"candidates": [candidate, *_others(answer)], **_tail(answer)}
    if not answer.usage_apart:
        return [_encode({**last, "usageMetadata": usage(answer)})]
    return [_encode(last), _encode({"usageMetadata": usage(answer), **_tail(answer)})]


def _others(answer: Answer) -> list[dict[str, Any]]:
    return [
        {"content": {"role": "model", "parts": [{"text": text}]}, "finishReason": "STOP", "index": number}
        for number, text in enumerate(answer.others, start=1)
    ]


def _extras(answer: Answer) -> dict[str, Any]:
    """Where the answer was searched for, when it was."""
    if not answer.queries:
        return {}
    source = {"web": {"uri": "https://example.com/", "title": "example.com", "domain": "example.com"}}
    return {"groundingMetadata": {"webSearchQueries": list(answer.queries), "groundingChunks": [source]}}


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


def _tail(answer: Answer) -> dict[str, Any]:
    return {"modelVersion": answer.model, "responseId": answer.id}


def _blocked(answer: Answer) -> dict[str, Any]:
    feedback = {
        "blockReason": "PROHIBITED_CONTENT",
        "blockReasonMessage": "The prompt could not be submitted.",
    }
    counts = {"promptTokenCount": answer.prompt_tokens, "totalTokenCount": answer.prompt_tokens}
    return {"promptFeedback": feedback, "usageMetadata": counts, **_tail(answer)}
