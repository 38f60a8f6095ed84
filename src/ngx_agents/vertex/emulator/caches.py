"""Cached contents: created, listed, used, prolonged and deleted, and gone when the emulator's clock passes their time.

A cache is bound to its location and model. What is kept of it is its weight and its tools, not its contents. The
store is bounded; caches that expired longer ago than `TOMBSTONE_S` are forgotten and then look deleted.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import msgspec

from ngx_agents.clock import Clock
from ngx_agents.vertex.emulator.prompt import Tool, ToolMode
from ngx_agents.vertex.emulator.refusal import named
from ngx_agents.vertex.emulator.target import EXPRESS_LOCATION, Target

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMIT = 10_000
TOMBSTONE_S = 86_400.0
DEFAULT_TTL_S = 3600.0


class Cache(msgspec.Struct, kw_only=True):
    """Times in seconds since the epoch. `details`: tokens by modality. `counts`: pieces of media by modality."""

    id: str
    project: str
    location: str
    model: str
    model_name: str
    created_s: float
    updated_s: float
    expires_s: float
    details: dict[str, int]
    counts: dict[str, int]
    characters: int
    display_name: str = ""
    kms_key: str = ""
    tools: tuple[Tool, ...] = ()
    mode: ToolMode = "auto"
    allowed: frozenset[str] = frozenset()

    @property
    def tokens(self) -> int:
        return sum(self.details.values())

    def is_in(self, target: Target) -> bool:
        """Whether the call is for the cache's location and its project, by name or by number."""
        return self.location == target.location and target.project in (self.project, project_number(self.project))


def project_number(project: str) -> str:
    """The number that resource names hold in place of a project's name; a number stays."""
    return project if project.isdigit() else str(100_000_000_000 + zlib.crc32(project.encode()))


class CacheOrder(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`expire` and `delete` name caches by id or full name; `*` is all of them."""

    expire: list[str] = []
    delete: list[str] = []
    min_tokens: int | None = None


class Caches:
    """The store. `creates`, `hits` and so on count successes only."""

    def __init__(self, clock: Clock, *, min_tokens: int) -> None:
        self.clock = clock
        self.min_tokens = min_tokens
        self.counts = dict.fromkeys(("creates", "uses", "patches", "deletes"), 0)
        self._caches: dict[str, Cache] = {}
        self._created = 0

    def add(self, cache: Cache) -> Cache:
        """Stores `cache` under a new id. Raises Refusal when there are too many (429) or it is too small (400)."""
        if cache.tokens < self.min_tokens:
            raise named("cache_too_small", tokens=cache.tokens, minimum=self.min_tokens)
        if len(self._caches) >= LIMIT:
            self._forget_old()
            if len(self._caches) >= LIMIT:
                raise named("quota_exceeded", metric="cached_contents_per_project", model=cache.model)
        self._created += 1
        self.counts["creates"] += 1
        cache.id = str(4_611_686_018_427_387_904 + 7_919 * self._created)
        self._caches[cache.id] = cache
        return cache

    def live(self, target: Target) -> Cache:
        """The cache a path names. Raises Refusal (404) when it is deleted or expired."""
        cache = self._find(target.cache, target)
        if cache is None or cache.expires_s <= self.clock.now_s():
            raise named("cache_missing", cache=target.cache)
        return cache

    def use(self, name: str, target: Target) -> Cache:
        """The cache a request uses. Raises Refusal: 404 deleted or elsewhere, 400 expired or of another model."""
        cache_id = name.rpartition("/")[2]
        cache = self._find(cache_id, target)
        if cache is None or not _is_of(name, target):
            raise named("cache_missing", cache=cache_id)
        if cache.expires_s <= self.clock.now_s():
            raise named("cache_expired", cache=cache_id)
        if cache.model != target.model:
            raise named("cache_mismatch", model=target.model, cached_model=cache.model)
        self.counts["uses"] += 1
        return cache

    def delete(self, cache: Cache) -> None:
        self.counts["deletes"] += 1
        self._caches.pop(cache.id, None)

    def of(self, target: Target) -> list[Cache]:
        """The living caches of a project and location, oldest first."""
        now_s = self.clock.now_s()
        return [cache for cache in self._caches.values() if cache.expires_s > now_s and cache.is_in(target)]

    def apply(self, order: CacheOrder) -> None:
        for cache in self._named(order.expire):
            cache.expires_s = min(cache.expires_s, self.clock.now_s())
        for cache in self._named(order.delete):
            self._caches.pop(cache.id, None)
        if order.min_tokens is not None:
            self.min_tokens = order.min_tokens

    def view(self) -> dict[str, Any]:
        now_s = self.clock.now_s()
        live = [cache.id for cache in self._caches.values() if cache.expires_s > now_s]
        return {**self.counts, "live": live, "min_tokens": self.min_tokens}

    def _find(self, cache_id: str, target: Target) -> Cache | None:
        cache = self._caches.get(cache_id)
        return cache if cache is not None and cache.is_in(target) else None

    def _named(self, names: list[str]) -> Iterator[Cache]:
        wanted = {name.rpartition("/")[2] for name in names}
        for cache in list(self._caches.values()):
            if "*" in wanted or cache.id in wanted:
                yield cache

    def _forget_old(self) -> None:
        since_s = self.clock.now_s() - TOMBSTONE_S
        self._caches = {cache.id: cache for cache in self._caches.values() if cache.expires_s > since_s}


def _is_of(name: str, target: Target) -> bool:
    """Whether a full name points to the location of the call; a bare id does."""
    _, _, rest = name.partition("/locations/")
    return not rest or rest.partition("/")[0] == (target.location or EXPRESS_LOCATION)
