"""The cache's metrics, with their labels resolved ahead of the calls. No label holds a key or a user."""

from __future__ import annotations

from typing import Literal, get_args

from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.vertex.scope import QueryClass

Tier = Literal["memory", "shared"]
Eviction = Literal["entries", "bytes", "expired"]
Refusal = Literal[
    "class_off", "no_rule", "red_flag", "fallback", "unfinished", "tool_call", "media", "empty", "grounded", "sampled",
    "torn", "too_large", "erased", "unchecked",
]  # fmt: skip


class CacheMeasures:
    """One method for each thing that can happen to an answer."""

    def __init__(self, metrics: Metrics) -> None:
        classes, tiers = get_args(QueryClass), get_args(Tier)
        hits = metrics.counter("ngx_answer_cache_hits_total", "Fresh answers found.", "class", "tier")
        stale = metrics.counter(
            "ngx_answer_cache_stale_total", "Expired answers found that may serve.", "class", "tier"
        )
        misses = metrics.counter("ngx_answer_cache_misses_total", "Questions not found in any tier.", "class")
        stored = metrics.counter("ngx_answer_cache_stored_total", "Answers stored.", "class")
        refused = metrics.counter("ngx_answer_cache_refused_total", "Answers not stored, by reason.", "reason")
        evicted = metrics.counter("ngx_answer_cache_evictions_total", "Entries gone from memory, by bound.", "bound")
        erased = metrics.counter("ngx_answer_cache_erased_total", "Copies erased with their user.")
        foreign = metrics.counter("ngx_answer_cache_foreign_total", "Shared values that are no entry of ours.")
        self._hits = {(name, tier): hits.labels(name, tier) for name in classes for tier in tiers}
        self._stale = {(name, tier): stale.labels(name, tier) for name in classes for tier in tiers}
        self._misses = {name: misses.labels(name) for name in classes}
        self._stored = {name: stored.labels(name) for name in classes}
        self._refused = {reason: refused.labels(reason) for reason in get_args(Refusal)}
        self._evicted = {bound: evicted.labels(bound) for bound in get_args(Eviction)}
        self._erased = erased.labels()
        self._foreign = foreign.labels()
        self._entries = metrics.gauge("ngx_answer_cache_entries", "Entries in memory.").labels()
        self._bytes = metrics.gauge("ngx_answer_cache_bytes", "Bytes of entries in memory.").labels()

    def found(self, query_class: QueryClass, tier: Tier, *, is_fresh: bool) -> None:
        (self._hits if is_fresh else self._stale)[query_class, tier].inc()

    def missed(self, query_class: QueryClass) -> None:
        self._misses[query_class].inc()

    def stored(self, query_class: QueryClass) -> None:
        self._stored[query_class].inc()

    def refused(self, reason: Refusal) -> None:
        self._refused[reason].inc()

    def evicted(self, bound: Eviction) -> None:
        self._evicted[bound].inc()

    def erased(self, count: int) -> None:
        self._erased.inc(count)

    def foreign(self) -> None:
        self._foreign.inc()

    def holds(self, entries: int, size_bytes: int) -> None:
        self._entries.set(entries)
        self._bytes.set(size_bytes)
