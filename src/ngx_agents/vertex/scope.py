"""Who may share an answer, and for how long: what a caller says when it wants an answer kept.

There is no default scope: a request without a `CacheRule` is neither looked up, nor stored, nor joined with another.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class Public(msgspec.Struct, frozen=True, tag="public"):
    """The answer holds nothing of anybody: definitions, general questions."""


class Cohort(msgspec.Struct, frozen=True, tag="cohort"):
    """Shared by all who bear `id`: a tenant's own catalogue, a locale's intent classification."""

    id: str


class User(msgspec.Struct, frozen=True, tag="user"):
    """One user's own: anything made with a profile, a history or a memory. `id` is unique across tenants."""

    id: str


Scope = Public | Cohort | User

QueryClass = Literal["general", "embedding", "batch_embedding", "multimodal", "document", "time", "news", "weather"]


class CacheRule(msgspec.Struct, frozen=True, kw_only=True):
    """How one answer may be kept.

    `version` names everything that shapes the answer beside the request's own bytes: prompt template, tool registry,
    safety policy, a user's profile version. `ttl_s` wins over the class's. `is_repeatable` declares an answer sampled
    at a temperature above 0 good enough to be given again.
    """

    scope: Scope
    query_class: QueryClass = "general"
    version: str = ""
    ttl_s: float | None = None
    is_repeatable: bool = False
