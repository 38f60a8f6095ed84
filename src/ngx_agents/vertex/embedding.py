"""Texts made into vectors: what is asked, and what comes back whole or not at all.

`dialects.embedding` says it in a provider's words: `calls_for(request, provider=…)` gives the calls to be made, in
any order or at once, `decode(call, body)` reads one answer, `joined(request, parts)` puts them together in the order
of the texts. There is one vector for every text, each finite and of one length; anything else is an error.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from ngx_agents.vertex.scope import CacheRule

TaskType = Literal["query", "document", "similarity", "classification", "clustering", "question", "fact", "code_query"]


class EmbedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`deadline_s` is absolute, monotonic; `dimensions` None means the model's own; `urgency` is as in ModelRequest."""

    texts: tuple[str, ...]
    model: str
    deadline_s: float
    task_type: TaskType | None = None
    dimensions: int | None = None
    cache: CacheRule | None = None
    urgency: int = 1


class EmbedLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How much one call may carry. Characters stand for the provider's bound in tokens, at three to a token."""

    predict_texts: int = 250
    predict_characters: int = 60_000
    batch_texts: int = 100
    openai_texts: int = 256


class EmbedCall(msgspec.Struct, frozen=True, kw_only=True):
    """One call: `operation` of the model at Vertex, or `embeddings`, the path at an OpenAI-compatible server.

    It is for `count` texts and wants `dimensions` numbers for each, None for any.
    """

    operation: Literal["embedContent", "batchEmbedContents", "predict", "embeddings"]
    body: bytes
    count: int
    dimensions: int | None = None


class Embeddings(msgspec.Struct, frozen=True, kw_only=True):
    """`vectors` stand in the order of the texts. `is_truncated` when the model read only the beginning of one."""

    vectors: tuple[tuple[float, ...], ...]
    model: str
    input_tokens: int = 0
    is_truncated: bool = False
