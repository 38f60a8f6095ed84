"""Questions, answers and caches for the room's tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ngx_agents.clock import Clock
from ngx_agents.coordination.shared import Shared
from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.vertex.cache.answers import AnswerCache, CacheLimits
from ngx_agents.vertex.cache.key import CacheKey
from ngx_agents.vertex.cache.rules import CacheRules
from ngx_agents.vertex.content import Content, ModelReply, ModelRequest, Part, Text, Usage
from ngx_agents.vertex.scope import CacheRule, Public

SECRET = b"0123456789abcdef-first"
MODEL = "gemini-3.8-flash"
PUBLIC = CacheRule(scope=Public())


class HandClock:
    """A clock that the test moves; `jump_s` moves the wall clock alone."""

    def __init__(self) -> None:
        self.passed_s = 1000.0
        self.jump_s = 0.0

    def monotonic_s(self) -> float:
        return self.passed_s

    def now_s(self) -> float:
        return 1_800_000_000.0 + self.passed_s + self.jump_s

    async def sleep(self, delay_s: float) -> None:
        self.passed_s += delay_s


def answer(*parts: Part | str, **fields: Any) -> ModelReply:
    """A whole answer of the model that was asked, made of these parts."""
    made = tuple(Text(text=part) if isinstance(part, str) else part for part in parts)
    return ModelReply(
        **{
            "content": Content(role="model", parts=made, model=MODEL),
            "finish_reason": "stop",
            "usage": Usage(input_tokens=7, output_tokens=9, thought_tokens=2, cached_tokens=1),
            "model": MODEL,
            "location": "global",
            "provider": "vertex",
            "traffic_type": "ON_DEMAND",
            **fields,
        }
    )


def question(rule: CacheRule | None = PUBLIC, **fields: Any) -> ModelRequest:
    contents = (Content(role="user", parts=(Text(text="What is a superset?"),)),)
    made = {"system": "", "contents": contents, "deadline_s": 1e9, "temperature": 0.0, "cache": rule, **fields}
    return ModelRequest(**made)


def cache_of(
    clock: Clock,
    *,
    metrics: Metrics | None = None,
    shared: Shared | None = None,
    secrets: Sequence[bytes] = (SECRET,),
    rules: CacheRules | None = None,
    limits: CacheLimits | None = None,
) -> AnswerCache:
    return AnswerCache(secrets, clock=clock, metrics=metrics or Metrics(), shared=shared, rules=rules, limits=limits)


def key_for(cache: AnswerCache, body: bytes = b'{"contents":[]}', rule: CacheRule = PUBLIC) -> CacheKey:
    return cache.key(body, model=MODEL, location_class="global", rule=rule)


async def keep(
    cache: AnswerCache,
    key: CacheKey,
    reply: ModelReply,
    *,
    rule: CacheRule = PUBLIC,
    chunks: Sequence[str] = (),
) -> bool:
    """Finds nothing, as a call does before it asks the model, then keeps the reply."""
    await cache.find(key)
    return await cache.keep(key, rule, question(rule), reply, chunks)
