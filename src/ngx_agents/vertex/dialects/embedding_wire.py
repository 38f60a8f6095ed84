"""Embeddings in the words of Vertex's three operations and of OpenAI, as typed records."""

from __future__ import annotations

import msgspec

from ngx_agents.vertex.dialects.vertex_wire import Content

Vector = tuple[float, ...]


class EmbedConfig(msgspec.Struct, rename="camel", omit_defaults=True):
    task_type: str | None = None
    output_dimensionality: int | None = None


class EmbedContentRequest(msgspec.Struct, rename="camel", omit_defaults=True):
    content: Content
    embed_content_config: EmbedConfig | None = None


class BatchRequest(msgspec.Struct):
    requests: list[EmbedContentRequest]


class Instance(msgspec.Struct, omit_defaults=True):
    content: str
    task_type: str | None = None


class Parameters(msgspec.Struct, rename="camel", omit_defaults=True):
    output_dimensionality: int | None = None


class PredictRequest(msgspec.Struct, omit_defaults=True):
    instances: list[Instance]
    parameters: Parameters | None = None


class OpenAIRequest(msgspec.Struct, omit_defaults=True):
    model: str
    input: tuple[str, ...]
    dimensions: int | None = None


class Usage(msgspec.Struct, rename="camel"):
    prompt_token_count: int = 0


class Embedding(msgspec.Struct):
    values: Vector = ()


class EmbedContentReply(msgspec.Struct, rename="camel"):
    """Of embedContent, with `embedding`, and of batchEmbedContents, with `embeddings`."""

    embedding: Embedding | None = None
    embeddings: list[Embedding] | None = None
    usage_metadata: Usage | None = None
    truncated: bool = False


class Statistics(msgspec.Struct):
    token_count: float = 0
    truncated: bool = False


class PredictedEmbedding(msgspec.Struct):
    values: Vector = ()
    statistics: Statistics | None = None


class Prediction(msgspec.Struct):
    embeddings: PredictedEmbedding


class PredictReply(msgspec.Struct):
    predictions: list[Prediction] = []


class OpenAIUsage(msgspec.Struct):
    prompt_tokens: int = 0


class OpenAIEmbedding(msgspec.Struct):
    embedding: Vector
    index: int | None = None


class OpenAIReply(msgspec.Struct):
    data: list[OpenAIEmbedding] = []
    usage: OpenAIUsage | None = None
