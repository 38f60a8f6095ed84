"""Embeddings asked for and read, at Vertex and at OpenAI-compatible servers.

Gemini's embedding models take contents, and make one vector of a content however many texts it holds: so every text
is a content of its own. Older models take instances. A hosted open model takes one content a call.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, TypeVar

import msgspec

from ngx_agents.errors import ModelProtocolError, ModelRequestError
from ngx_agents.vertex.dialects import embedding_wire as wire
from ngx_agents.vertex.dialects.dialect import UNREADABLE
from ngx_agents.vertex.dialects.vertex_wire import Content, Part
from ngx_agents.vertex.embedding import EmbedCall, Embeddings, EmbedLimits, EmbedRequest, TaskType

Reply = TypeVar("Reply")
TASKS: dict[TaskType, str] = {
    "query": "RETRIEVAL_QUERY",
    "document": "RETRIEVAL_DOCUMENT",
    "similarity": "SEMANTIC_SIMILARITY",
    "classification": "CLASSIFICATION",
    "clustering": "CLUSTERING",
    "question": "QUESTION_ANSWERING",
    "fact": "FACT_VERIFICATION",
    "code_query": "CODE_RETRIEVAL_QUERY",
}
_encode = msgspec.json.Encoder().encode
_decode_content = msgspec.json.Decoder(wire.EmbedContentReply).decode
_decode_predict = msgspec.json.Decoder(wire.PredictReply).decode
_decode_openai = msgspec.json.Decoder(wire.OpenAIReply).decode


class EmbeddedPart(msgspec.Struct, frozen=True):
    """The answer to one call."""

    vectors: tuple[wire.Vector, ...]
    input_tokens: int
    is_truncated: bool


def calls_for(
    request: EmbedRequest, *, provider: Literal["vertex", "openai"], limits: EmbedLimits | None = None
) -> tuple[EmbedCall, ...]:
    """The calls that together embed all texts, in their order. Raises ModelRequestError for nothing or a blank text."""
    if not request.texts or not all(text.strip() for text in request.texts):
        raise ModelRequestError("there is nothing to embed: no text, or a blank one")
    if request.dimensions is not None and request.dimensions < 1:
        raise ModelRequestError("an embedding has at least one dimension")
    limits = limits or EmbedLimits()
    if provider == "openai":
        return tuple(_openai_call(request, texts) for texts in _batches(request.texts, limits.openai_texts))
    name = request.model.rpartition("/")[2]
    if "maas" in name:
        return tuple(_content_call(request, (text,)) for text in request.texts)
    if "gemini" in name:
        return tuple(_content_call(request, texts) for texts in _batches(request.texts, limits.batch_texts))
    batches = _batches(request.texts, limits.predict_texts, max_characters=limits.predict_characters)
    return tuple(_predict_call(request, texts) for texts in batches)


def decode(call: EmbedCall, body: bytes) -> EmbeddedPart:
    """One vector for each of the call's texts. Raises ModelProtocolError."""
    part = _READERS[call.operation](body)
    vectors = part.vectors
    if len(vectors) != call.count:
        raise ModelProtocolError("the model gave another number of embeddings than there are texts")
    size = call.dimensions or len(vectors[0])
    if any(len(vector) != size for vector in vectors):
        raise ModelProtocolError("the model gave embeddings of another length than asked for")
    if not all(any(vector) and math.isfinite(sum(vector)) for vector in vectors):
        raise ModelProtocolError("the model gave an embedding that is not a direction")
    return part


def joined(request: EmbedRequest, parts: Sequence[EmbeddedPart]) -> Embeddings:
    """The whole, of the answers in the order of their calls. Raises ModelProtocolError when their lengths differ."""
    vectors = tuple(vector for part in parts for vector in part.vectors)
    if len(vectors) != len(request.texts) or len({len(vector) for vector in vectors}) != 1:
        raise ModelProtocolError("the model gave embeddings that do not belong together")
    return Embeddings(
        vectors=vectors,
        model=request.model,
        input_tokens=sum(part.input_tokens for part in parts),
        is_truncated=any(part.is_truncated for part in parts),
    )


def _batches(texts: tuple[str, ...], max_texts: int, *, max_characters: int | None = None) -> Iterator[tuple[str, ...]]:
    start, characters = 0, 0
    for place, text in enumerate(texts):
        is_full = place - start >= max_texts
        if max_characters is not None and place > start and characters + len(text) > max_characters:
            is_full = True
        if is_full:
            yield texts[start:place]
            start, characters = place, 0
        characters += len(text)
    yield texts[start:]


def _content_call(request: EmbedRequest, texts: tuple[str, ...]) -> EmbedCall:
    config = None
    if request.task_type is not None or request.dimensions is not None:
        config = wire.EmbedConfig(_task(request), request.dimensions)
    requests = [
        wire.EmbedContentRequest(Content(role="user", parts=[Part(text=text)]), embed_content_config=config)
        for text in texts
    ]
    if len(requests) == 1:
        return EmbedCall(operation="embedContent", body=_encode(requests[0]), count=1, dimensions=request.dimensions)
    body = _encode(wire.BatchRequest(requests))
    return EmbedCall(operation="batchEmbedContents", body=body, count=len(texts), dimensions=request.dimensions)


def _predict_call(request: EmbedRequest, texts: tuple[str, ...]) -> EmbedCall:
    parameters = wire.Parameters(request.dimensions) if request.dimensions is not None else None
    task = _task(request)
    body = _encode(wire.PredictRequest([wire.Instance(text, task) for text in texts], parameters))
    return EmbedCall(operation="predict", body=body, count=len(texts), dimensions=request.dimensions)


def _openai_call(request: EmbedRequest, texts: tuple[str, ...]) -> EmbedCall:
    """The format has no word for the task."""
    body = _encode(wire.OpenAIRequest(request.model, texts, request.dimensions))
    return EmbedCall(operation="embeddings", body=body, count=len(texts), dimensions=request.dimensions)


def _task(request: EmbedRequest) -> str | None:
    return None if request.task_type is None else TASKS[request.task_type]


def _read_content(body: bytes) -> EmbeddedPart:
    reply = _read(_decode_content, body)
    embeddings = reply.embeddings if reply.embedding is None else [reply.embedding]
    tokens = reply.usage_metadata.prompt_token_count if reply.usage_metadata else 0
    return EmbeddedPart(tuple(each.values for each in embeddings or ()), tokens, reply.truncated)


def _read_predict(body: bytes) -> EmbeddedPart:
    found = [prediction.embeddings for prediction in _read(_decode_predict, body).predictions]
    statistics = [each.statistics for each in found if each.statistics is not None]
    tokens = sum(each.token_count for each in statistics)
    return EmbeddedPart(
        tuple(each.values for each in found),
        int(tokens) if math.isfinite(tokens) else 0,
        any(each.truncated for each in statistics),
    )


def _read_openai(body: bytes) -> EmbeddedPart:
    reply = _read(_decode_openai, body)
    places = [place if each.index is None else each.index for place, each in enumerate(reply.data)]
    if sorted(places) != list(range(len(places))):
        raise ModelProtocolError("the model gave embeddings whose order cannot be told")
    vectors = [vector for _, vector in sorted(zip(places, (each.embedding for each in reply.data), strict=True))]
    return EmbeddedPart(tuple(vectors), reply.usage.prompt_tokens if reply.usage else 0, is_truncated=False)


_READERS: dict[str, Callable[[bytes], EmbeddedPart]] = {
    "embedContent": _read_content,
    "batchEmbedContents": _read_content,
    "predict": _read_predict,
    "embeddings": _read_openai,
}


def _read(decoder: Callable[[bytes], Reply], body: bytes) -> Reply:
    try:
        return decoder(body)
    except UNREADABLE as exc:
        raise ModelProtocolError("the model's embeddings cannot be understood") from exc
