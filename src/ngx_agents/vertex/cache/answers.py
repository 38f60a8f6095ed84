"""Answers kept and given again: memory in front of the tier that instances share.

The shared tier is never needed: what it cannot say is a miss, what it cannot take is in memory alone. A user's own
entry is given from memory only while it is certain that no instance has erased the user: if the last look at the
user's mark is longer ago than `TRUST_S`, the shared tier is asked again, and without it that entry is a miss.

The caller asks `rule_of` first; `key` is then made of the bytes that will be sent. One key serves one call: `find`
notes on it which erasures were known, so that `keep` stores nothing that an erasure has overtaken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from ngx_agents.clock import Clock
from ngx_agents.coordination.shared import Shared
from ngx_agents.errors import SharedRefused, SharedUnavailable
from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.vertex.cache.entry import MAX_ENTRY_BYTES, Entry, encode, entry_of
from ngx_agents.vertex.cache.erasures import Erasures
from ngx_agents.vertex.cache.kept import Kept
from ngx_agents.vertex.cache.key import CacheKey, KeyMaker
from ngx_agents.vertex.cache.marks import TRUST_S
from ngx_agents.vertex.cache.measures import CacheMeasures, Refusal, Tier
from ngx_agents.vertex.cache.memory import AnswerMemory, Lying
from ngx_agents.vertex.cache.refusals import why_not
from ngx_agents.vertex.cache.rules import CacheRules
from ngx_agents.vertex.cache.sharing import NEVER_ERASED, SharedAnswers
from ngx_agents.vertex.content import ModelReply, ModelRequest
from ngx_agents.vertex.scope import CacheRule


class CacheLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of the memory tier; both hold."""

    max_entries: int = 10_000
    max_bytes: int = 64 * 2**20


class AnswerCache:
    """`secrets` are for user ids and for signing shared entries; the first signs. Raises ConfigError for bad ones."""

    def __init__(
        self,
        secrets: Sequence[bytes],
        *,
        clock: Clock,
        metrics: Metrics,
        rules: CacheRules | None = None,
        limits: CacheLimits | None = None,
        shared: Shared | None = None,
    ) -> None:
        limits = limits or CacheLimits()
        self.rules = rules or CacheRules()
        self._clock = clock
        self._measures = CacheMeasures(metrics)
        self._maker = KeyMaker(secrets)
        self._erasures = Erasures(clock)
        self._memory = AnswerMemory(
            max_entries=limits.max_entries, max_bytes=limits.max_bytes, clock=clock, measures=self._measures
        )
        self._shared: SharedAnswers | None = None
        if shared is not None:
            self._shared = SharedAnswers(shared, self._maker, clock=clock, measures=self._measures)

    def rule_of(self, request: ModelRequest) -> CacheRule | None:
        """The rule under which the request may be looked up, kept and joined; None when it may not be at all."""
        rule = request.cache
        if rule is None or request.is_red_flag or not self.rules.may_keep(rule):
            return None
        return rule

    def key(
        self,
        body: bytes,
        *,
        model: str,
        location_class: str,
        rule: CacheRule,
        labels: Mapping[str, str] | None = None,
    ) -> CacheKey:
        """The key of one call. `body` is what will be sent; `location_class` `global`, `eu`, `us`, `local` or a region.

        `labels` are those of the request: where they stand at the end of the body they are left out of the key.
        Raises ModelRequestError for a rule that is no text.
        """
        digest, group = self._maker.digest(body, model=model, location_class=location_class, rule=rule, labels=labels)
        return CacheKey(
            digest,
            group=group,
            query_class=rule.query_class,
            model=model,
            location_class=location_class,
            epoch=self._erasures.epoch,
        )

    def in_memory(self, key: CacheKey) -> Kept | None:
        """A fresh answer at hand: the fast way, asks nobody. When it is None, ask `find`."""
        lying = self._trusted(key)
        if lying is None or self._clock.monotonic_s() >= lying.born_s + lying.entry.ttl_s:
            return None
        return self._found(key, lying, "memory")

    async def find(self, key: CacheKey) -> Kept | None:
        """The best answer of both tiers, which may be stale. Fills memory from the shared tier."""
        kept = self.in_memory(key)
        if kept is not None:
            return kept
        lying = await self._look_up(key) if self._shared is not None else None
        if lying is not None:
            return self._found(key, lying, "shared")
        lying = self._trusted(key)
        if lying is not None:
            return self._found(key, lying, "memory")
        self._measures.missed(key.query_class)
        return None

    async def keep(
        self, key: CacheKey, rule: CacheRule, request: ModelRequest, reply: ModelReply, chunks: Sequence[str]
    ) -> bool:
        """Stores the reply in both tiers, unless it must not be stored. `chunks` is empty when it came whole."""
        life = self.rules.life(rule)
        reason = self._why_not(key, rule) or why_not(key, rule, request, reply, chunks)
        if reason is not None or life.ttl_s <= 0:
            return self._refuse(reason or "class_off")
        now_s, born_s = self._clock.now_s(), self._clock.monotonic_s()
        entry = entry_of(reply, chunks, life, now_s=now_s, generation=key.generation or NEVER_ERASED)
        value = b"" if self._shared is None else encode(entry, key, self._maker)
        if max(len(value), entry.size_bytes) > MAX_ENTRY_BYTES:
            return self._refuse("too_large")
        # memory first, before anything is awaited: who asks the same in this moment finds it
        lying = Lying(entry, born_s=born_s, group=key.group, checked_s=key.checked_s)
        is_taken = self._memory.put(key.digest, lying)
        if self._shared is not None:
            if not await self._share(self._shared, key, entry, value):
                return self._refuse("erased")
            lying.checked_s = key.checked_s
        elif not is_taken:
            return self._refuse("too_large")
        self._measures.stored(key.query_class)
        return True

    async def erase_user(self, user_id: str) -> int:
        """How many copies were erased, in both tiers; what is being made of the user's now will not be kept.

        For `GRACE_S` after it nothing of the user is kept. Raises SharedUnavailable when the shared tier could not be
        asked: memory is clean, the rest is to be repeated.
        """
        groups = self._maker.groups(user_id)
        self._erasures.note(groups[0])
        count = self._memory.drop_group(groups[0])
        if self._shared is not None:
            for group in groups:
                count += await self._shared.erase(group)
        self._measures.erased(count)
        return count

    def _trusted(self, key: CacheKey) -> Lying | None:
        """What lies in memory, unless its user may have been erased elsewhere."""
        lying = self._memory.get(key.digest)
        if lying is None or lying.group is None or self._shared is None:
            return lying
        if self._clock.monotonic_s() - lying.checked_s > TRUST_S:
            return None
        key.generation, key.checked_s = lying.entry.generation, lying.checked_s
        return lying

    async def _look_up(self, key: CacheKey) -> Lying | None:
        """What the shared tier has, and better than what memory has; memory is put right by what was learnt."""
        assert self._shared is not None
        try:
            found = await self._shared.get(key)
        except (SharedUnavailable, SharedRefused):
            return None
        if self._erasures.is_void(key.group, key.epoch):
            return None
        lying = self._memory.get(key.digest)
        if lying is not None and lying.group is not None:
            if lying.entry.generation != key.generation:
                self._memory.drop_group(lying.group)
                lying = None
            else:
                lying.checked_s = max(lying.checked_s, key.checked_s)
        if found is None or (lying is not None and lying.born_s >= found.born_s):
            return None
        self._memory.put(key.digest, found)
        return found

    def _found(self, key: CacheKey, lying: Lying, tier: Tier) -> Kept:
        kept = Kept(lying.entry, lying.born_s, self._clock)
        self._measures.found(key.query_class, tier, is_fresh=kept.is_fresh)
        return kept

    def _why_not(self, key: CacheKey, rule: CacheRule) -> Refusal | None:
        if not self.rules.may_keep(rule):
            return "class_off"
        if self._erasures.is_void(key.group, key.epoch):
            return "erased"
        if key.group is not None and self._shared is not None and key.generation is None:
            return "unchecked"
        return None

    async def _share(self, shared: SharedAnswers, key: CacheKey, entry: Entry, value: bytes) -> bool:
        """Stores it where it can; False when the key's user has been erased meanwhile, here or elsewhere."""
        try:
            is_alive = await shared.put(key, entry, value)
        except (SharedUnavailable, SharedRefused):
            is_alive = True  # memory trusts it no longer than the last look at the user's mark allows
        if is_alive and not self._erasures.is_void(key.group, key.epoch):
            return True
        if key.group is not None:
            self._memory.drop_group(key.group)
        return False

    def _refuse(self, reason: Refusal) -> bool:
        self._measures.refused(reason)
        return False
