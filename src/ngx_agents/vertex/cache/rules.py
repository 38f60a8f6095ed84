"""How long an answer of a class is kept: a table, and the choice of which of two tables is in force.

Expiry counts from the write and a hit never extends it, so a lifetime is decided once, when the answer is stored.
A rule's own `ttl_s` wins over its class. Classes that depend on the time are shared by everybody or not kept at all,
and are off unless they are switched on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import msgspec

from ngx_agents.errors import ConfigError
from ngx_agents.vertex.scope import CacheRule, Public, QueryClass

DAY_S = 86_400.0
MAX_TTL_S = 30 * DAY_S
MAX_STALE_S = 7 * DAY_S
TIME_BOUND: frozenset[QueryClass] = frozenset({"time", "news", "weather"})
Variant = Literal["normal", "under_load"]


class ClassRule(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds from the write: fresh for `ttl_s`, then usable for as long as the two others say, each from the expiry.

    `stale_while_revalidate_s`: given at once while a new one is made; `stale_if_error_s`: given when none can be made.
    """

    ttl_s: float
    stale_while_revalidate_s: float = 0.0
    stale_if_error_s: float = 0.0
    is_on: bool = True

    @property
    def kept_s(self) -> float:
        """From the write until the entry is of no use any more."""
        return self.ttl_s + max(self.stale_while_revalidate_s, self.stale_if_error_s)


def _rule(ttl_s: float, stale_while_revalidate_s: float, stale_if_error_s: float, *, is_on: bool = True) -> ClassRule:
    return ClassRule(
        ttl_s=ttl_s,
        stale_while_revalidate_s=stale_while_revalidate_s,
        stale_if_error_s=stale_if_error_s,
        is_on=is_on,
    )


DEFAULT_RULES: Mapping[QueryClass, ClassRule] = {
    "general": _rule(3600, 300, DAY_S),
    "embedding": _rule(DAY_S, 3600, 7 * DAY_S),
    "batch_embedding": _rule(43_200, 3600, 7 * DAY_S),
    "multimodal": _rule(7200, 300, DAY_S),
    "document": _rule(DAY_S, 3600, 7 * DAY_S),
    "time": _rule(300, 0, 0, is_on=False),
    "news": _rule(1800, 60, 3600, is_on=False),
    "weather": _rule(3600, 60, 3600, is_on=False),
}
UNDER_LOAD_TTL_S: Mapping[QueryClass, float] = {"general": 7200, "embedding": 172_800}


class CacheRules:
    """`ttl_s` is the client's `cache_ttl`, the life of the general class. `changed` replaces single classes.

    Raises ConfigError for a life that is not finite, negative, or longer than `MAX_TTL_S`.
    """

    def __init__(self, *, ttl_s: float | None = None, changed: Mapping[QueryClass, ClassRule] | None = None) -> None:
        normal = {**DEFAULT_RULES, **(changed or {})}
        if ttl_s is not None:
            normal["general"] = msgspec.structs.replace(normal["general"], ttl_s=ttl_s)
        for query_class, rule in normal.items():
            _check(query_class, rule)
        longer = {
            query_class: msgspec.structs.replace(normal[query_class], ttl_s=max(normal[query_class].ttl_s, ttl_s))
            for query_class, ttl_s in UNDER_LOAD_TTL_S.items()
        }
        self._tables: dict[Variant, dict[QueryClass, ClassRule]] = {
            "normal": normal,
            "under_load": {**normal, **longer},
        }
        self._in_force = normal

    def choose(self, variant: Variant) -> None:
        """Puts a table in force for what is stored from now on."""
        self._in_force = self._tables[variant]

    def may_keep(self, rule: CacheRule) -> bool:
        """Whether such an answer may be looked up, stored or joined at all."""
        if not self._in_force[rule.query_class].is_on:
            return False
        return rule.query_class not in TIME_BOUND or isinstance(rule.scope, Public)

    def life(self, rule: CacheRule) -> ClassRule:
        """The lifetime of an answer that is stored now. Its own `ttl_s` is bounded to 0 and `MAX_TTL_S`."""
        life = self._in_force[rule.query_class]
        if rule.ttl_s is None:
            return life
        # not a number is no time at all
        ttl_s = min(rule.ttl_s, MAX_TTL_S) if rule.ttl_s > 0 else 0.0
        return msgspec.structs.replace(life, ttl_s=ttl_s)


def _check(query_class: QueryClass, rule: ClassRule) -> None:
    bounds = {"ttl_s": MAX_TTL_S, "stale_while_revalidate_s": MAX_STALE_S, "stale_if_error_s": MAX_STALE_S}
    for name, most_s in bounds.items():
        value = getattr(rule, name)
        if not (math.isfinite(value) and 0 <= value <= most_s):
            raise ConfigError(f"cache rule {query_class}: {name} must be from 0 to {most_s:.0f} seconds")
