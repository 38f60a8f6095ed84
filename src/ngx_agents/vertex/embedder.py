"""Texts into vectors, each asked for once: kept vectors first, then one call for the rest, in batches.

A vector is kept as an answer whose text is its JSON: the same scopes, lifetimes and erasure hold for both.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from ngx_agents.vertex.cache.answers import AnswerCache
from ngx_agents.vertex.cache.key import CacheKey
from ngx_agents.vertex.content import Content, ModelReply, ModelRequest, Text, Usage
from ngx_agents.vertex.dialects.embedding import EmbeddedPart, calls_for, joined
from ngx_agents.vertex.embedding import EmbedCall, Embeddings, EmbedRequest
from ngx_agents.vertex.ladder.ladder import Ladder
from ngx_agents.vertex.ladder.way import Way
from ngx_agents.vertex.scope import CacheRule

MAX_CALLS_AT_ONCE = 4
Vector = tuple[float, ...]
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Vector).decode


class Embedder:
    """`keeps` False: nothing is looked up or stored."""

    def __init__(self, ladder: Ladder, *, cache: AnswerCache, keeps: bool) -> None:
        self._ladder = ladder
        self._cache = cache
        self._keeps = keeps

    async def embed(self, request: EmbedRequest, ways: Sequence[Way]) -> Embeddings:
        """One vector for each text, in their order. `input_tokens` are of what was asked now. Raises ModelError."""
        keys = self._keys(request, ways)
        known: dict[str, Vector] = {}
        for text, (key, _) in keys.items():
            if (vector := await self._kept(key)) is not None:
                known[text] = vector
        missing = tuple(text for text in dict.fromkeys(request.texts) if text not in known)
        if not missing and request.texts:
            vectors = tuple(known[text] for text in request.texts)
            return Embeddings(vectors=vectors, model=request.model)
        made = await self._made(replace(request, texts=missing), ways)
        for text, vector in zip(missing, made.vectors, strict=True):
            known[text] = vector
            if text in keys and not made.is_truncated:
                await self._keep(*keys[text], vector, ways[0])
        return replace(made, vectors=tuple(known[text] for text in request.texts))

    async def _made(self, request: EmbedRequest, ways: Sequence[Way]) -> Embeddings:
        provider = ways[0].rung.target.settings.provider
        calls = calls_for(request, provider=provider)
        places = asyncio.Semaphore(MAX_CALLS_AT_ONCE)

        async def part(call: EmbedCall) -> EmbeddedPart:
            async with places:
                return await self._ladder.embedded(call, ways, urgency=request.urgency, deadline_s=request.deadline_s)

        try:
            async with asyncio.TaskGroup() as tasks:
                running = [tasks.create_task(part(call)) for call in calls]
        except ExceptionGroup as group:
            raise group.exceptions[0] from group
        return joined(request, [task.result() for task in running])

    def _keys(self, request: EmbedRequest, ways: Sequence[Way]) -> dict[str, tuple[CacheKey, CacheRule]]:
        rule = request.cache
        if rule is None or not self._keeps:
            return {}
        if rule.query_class == "general":
            rule = replace(rule, query_class="embedding" if len(request.texts) == 1 else "batch_embedding")
        rule = replace(rule, is_repeatable=True)  # a model gives one vector for a text
        if not self._cache.rules.may_keep(rule):
            return {}
        place = ways[0].rung.target.location
        keys: dict[str, tuple[CacheKey, CacheRule]] = {}
        for text in dict.fromkeys(request.texts):
            body = _encode(["embed", request.task_type, request.dimensions, text])
            keys[text] = (self._cache.key(body, model=request.model, location_class=place, rule=rule), rule)
        return keys

    async def _kept(self, key: CacheKey) -> Vector | None:
        kept = self._cache.in_memory(key) or await self._cache.find(key)
        return _decode(kept.reply().text) if kept is not None and kept.is_fresh else None

    async def _keep(self, key: CacheKey, rule: CacheRule, vector: Vector, way: Way) -> None:
        content = Content(role="model", parts=(Text(text=_encode(vector).decode()),), model=way.model)
        target = way.rung.target
        reply = ModelReply(
            content=content,
            finish_reason="stop",
            usage=Usage(),
            model=way.model,
            location=target.location,
            provider=target.settings.provider,
        )
        asked = ModelRequest(system="", contents=(), deadline_s=0.0, cache=rule, model=way.model)
        await self._cache.keep(key, rule, asked, reply, ())
