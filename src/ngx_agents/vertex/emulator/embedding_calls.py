"""embedContent, batchEmbedContents, predict, and the OpenAI-compatible embeddings: bodies in, vectors out."""

from __future__ import annotations

from typing import Any

import msgspec

from ngx_agents.vertex.emulator import fields
from ngx_agents.vertex.emulator.catalog import Model
from ngx_agents.vertex.emulator.embeddings import embed
from ngx_agents.vertex.emulator.parts import Weight, read_content
from ngx_agents.vertex.emulator.prompt import tokens_of
from ngx_agents.vertex.emulator.refusal import Refusal

_encode = msgspec.json.encode
_EMBED = fields.names("content embedContentConfig model taskType title outputDimensionality autoTruncate")
_CONFIG = fields.names("taskType title autoTruncate outputDimensionality documentOcr audioTrackExtraction mimeType")
_INSTANCE = frozenset(("content", "taskType", "title", "mimeType"))
_TASKS = fields.names(
    "RETRIEVAL_QUERY RETRIEVAL_DOCUMENT SEMANTIC_SIMILARITY CLASSIFICATION CLUSTERING QUESTION_ANSWERING"
    " FACT_VERIFICATION CODE_RETRIEVAL_QUERY TASK_TYPE_UNSPECIFIED UNSPECIFIED DEFAULT"
)
MAX_INSTANCES = 250
OPENAI_DIMENSIONS = 1536


class Embedded(msgspec.Struct, frozen=True):
    """One text embedded. `tokens` are those read, at most the model's limit."""

    values: tuple[float, ...]
    tokens: int
    truncated: bool
    details: dict[str, int]


def embed_content(doc: dict[str, Any], model: Model) -> tuple[bytes, int]:
    """The answer of embedContent and its tokens. Raises Refusal."""
    made = _embedded(doc, model, "")
    answer = {"embedding": {"values": made.values}, "usageMetadata": _usage([made]), "truncated": made.truncated}
    return _encode(answer), made.tokens


def batch_embed(doc: dict[str, Any], model: Model) -> tuple[bytes, int]:
    """The answer of batchEmbedContents and its tokens. Raises Refusal."""
    requests = fields.listed(fields.known(doc, frozenset(("requests", "model"))), "requests")
    _check_count(requests, "requests")
    made = [_embedded(request, model, f"requests[{at}]") for at, request in enumerate(requests)]
    answer = {"embeddings": [{"values": each.values} for each in made], "usageMetadata": _usage(made)}
    return _encode(answer), sum(each.tokens for each in made)


def predict(doc: dict[str, Any], model: Model) -> tuple[bytes, int]:
    """The answer of predict for a text embedding model and its tokens. Raises Refusal."""
    doc = fields.known(doc, frozenset(("instances", "parameters", "labels")))
    instances = fields.listed(doc, "instances")
    _check_count(instances, "instances")
    settings = fields.known(
        doc.get("parameters") or {}, frozenset(("outputDimensionality", "autoTruncate")), "parameters"
    )
    predictions, tokens, characters = [], 0, 0
    for at, instance in enumerate(instances):
        instance = fields.known(instance, _INSTANCE, f"instances[{at}]")
        content = fields.text(instance, "content", f"instances[{at}].")
        if not content:
            raise Refusal(400, "The text content is empty.")
        made = _of_text(content, {**settings, "taskType": instance.get("taskType")}, model)
        statistics = {"truncated": made.truncated, "token_count": made.tokens}
        predictions.append({"embeddings": {"values": made.values, "statistics": statistics}})
        tokens += made.tokens
        characters += len("".join(content.split()))
    return _encode({"predictions": predictions, "metadata": {"billableCharacterCount": characters}}), tokens


def openai_embeddings(doc: dict[str, Any]) -> tuple[bytes, int]:
    """The answer of `/v1/embeddings` and its tokens. Raises Refusal."""
    given = doc.get("input")
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts or not all(isinstance(each, str) and each for each in texts):
        raise Refusal(400, "'input' must be a non-empty string or a list of them")
    _check_count(texts, "input")
    model = Model(dimensions=OPENAI_DIMENSIONS, input_limit=8192)
    made = [_of_text(each, {"outputDimensionality": doc.get("dimensions")}, model) for each in texts]
    data = [{"object": "embedding", "index": at, "embedding": each.values} for at, each in enumerate(made)]
    tokens = sum(each.tokens for each in made)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return _encode({"object": "list", "data": data, "model": doc.get("model") or "emulated", "usage": usage}), tokens


def _embedded(request: Any, model: Model, where: str) -> Embedded:
    request = fields.known(request, _EMBED, where)
    settings = {name: request[name] for name in request if name not in ("content", "model", "embedContentConfig")}
    settings.update(fields.known(request.get("embedContentConfig") or {}, _CONFIG, "embed_content_config"))
    if request.get("content") is None:
        raise Refusal(400, "The content of the embedding request is empty.")
    weight = Weight()
    content = read_content(request["content"], weight, "HIGH", "content")
    said = [str(part.get("text") or _encode(part).decode()) for part in content["parts"]]
    return _of_text("\n".join(said), settings, model, weight.media)


def _of_text(text: str, settings: dict[str, Any], model: Model, media: dict[str, int] | None = None) -> Embedded:
    if settings.get("taskType") is not None:
        fields.chosen(settings["taskType"], _TASKS, "task_type")
    tokens = tokens_of(len(text))
    is_long = tokens > model.input_limit
    if is_long and settings.get("autoTruncate") is False:
        raise Refusal(
            400,
            f"The input token count is {tokens} but the model supports up to {model.input_limit}. Set autoTruncate to"
            " true, or shorten the text.",
        )
    kept = text[: 4 * model.input_limit] if is_long else text
    details = {"TEXT": min(tokens, model.input_limit), **(media or {})}
    vector = embed(kept, _dimensions(settings.get("outputDimensionality"), model))
    return Embedded(vector, sum(details.values()), is_long, details)


def _dimensions(wanted: Any, model: Model) -> int:
    if wanted is None:
        return model.dimensions
    if isinstance(wanted, bool) or not isinstance(wanted, int):
        raise fields.wrong("output_dimensionality", wanted)
    if not 1 <= wanted <= model.dimensions:
        raise Refusal(
            400,
            f"The output dimensionality {wanted} is not supported: it must be from 1 to {model.dimensions}.",
        )
    return wanted


def _usage(made: list[Embedded]) -> dict[str, Any]:
    totals: dict[str, int] = {}
    for each in made:
        for modality, count in each.details.items():
            totals[modality] = totals.get(modality, 0) + count
    tokens = sum(totals.values())
    details = [{"modality": modality, "tokenCount": count} for modality, count in totals.items()]
    return {"promptTokenCount": tokens, "totalTokenCount": tokens, "promptTokensDetails": details}


def _check_count(given: list[Any], name: str) -> None:
    if not 1 <= len(given) <= MAX_INSTANCES:
        raise Refusal(400, f"{len(given)} {name} given, but from 1 to {MAX_INSTANCES} are supported.")
