"""What must never be stored, as one pure decision.

Only an answer that is whole, that the model asked for gave, and that anyone asking the same again may get. Temperature
decides whether it may be given again: above 0 the next call would say something else, and so it is kept only if the
rule declares that any of these answers will do (`is_repeatable`). No temperature means the provider's default, which
is above 0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ngx_agents.vertex.cache.key import CacheKey
from ngx_agents.vertex.cache.measures import Refusal
from ngx_agents.vertex.content import Media, ModelReply, ModelRequest, Text
from ngx_agents.vertex.ladder.residency import LOCAL, Residency, may_go
from ngx_agents.vertex.scope import CacheRule

# rungs of the ladder on which the model that was asked for answers where it was asked for
OWN_RUNGS = frozenset({"provisioned", "shared", "priority"})
_WIDE: Mapping[str, Residency] = {"eu": "eu", "us": "us"}
_VERSION = re.compile(r"[-@:](\d|latest$)")


def why_not(
    key: CacheKey, rule: CacheRule, request: ModelRequest, reply: ModelReply, chunks: Sequence[str]
) -> Refusal | None:
    """The first reason not to store the reply; None when nothing speaks against it. Says nothing of the class."""
    if request.cache is None:
        return "no_rule"
    if request.is_red_flag:
        return "red_flag"
    if reply.source != "model" or reply.rung not in OWN_RUNGS or not _is_as_asked(key, reply):
        return "fallback"
    if reply.is_grounded or reply.has_citations:
        return "grounded"
    if request.temperature != 0 and not rule.is_repeatable:
        return "sampled"
    return _why_not_whole(reply, chunks)


def _why_not_whole(reply: ModelReply, chunks: Sequence[str]) -> Refusal | None:
    if reply.finish_reason != "stop":
        return "unfinished"
    for part in reply.content.parts:
        if not isinstance(part, Text):
            return "media" if isinstance(part, Media) else "tool_call"
    text = reply.text
    if not text.strip():
        return "empty"
    if chunks and "".join(chunks) != text:
        return "torn"
    return None


def _is_as_asked(key: CacheKey, reply: ModelReply) -> bool:
    """Whether the model asked for answered, under its name or that of one of its versions, and where it was to."""
    asked, answered = key.model.rpartition("/")[2], reply.model.rpartition("/")[2]
    if answered != asked and not (answered.startswith(asked) and _VERSION.match(answered, len(asked))):
        return False
    return _is_within(reply.location, key.location_class)


def _is_within(location: str, location_class: str) -> bool:
    rule = _WIDE.get(location_class)
    return may_go(location, rule) if rule is not None else (location or LOCAL) == location_class
