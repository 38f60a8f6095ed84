"""Who the agents are: the cards that the team folders hold and that callers see."""

from __future__ import annotations

from typing import Literal

import msgspec

from ngx_agents.agents.language import Language, Localized
from ngx_agents.clock import Rng

ORCHESTRATOR = "orchestrator"
AtLimit = Literal["degrade", "block", "warn"]


class LocalizedList(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    es: tuple[str, ...] = ()
    en: tuple[str, ...] = ()

    def all(self) -> tuple[str, ...]:
        return self.es + self.en


class Variants(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One text, or several of which one is picked."""

    es: str | tuple[str, ...]
    en: str | tuple[str, ...]

    def __post_init__(self) -> None:
        if not (self.es and self.en):
            raise ValueError("both languages need a text")

    def pick(self, language: Language, rng: Rng) -> str:
        texts = self.es if language == "es" else self.en
        return texts if isinstance(texts, str) else texts[int(rng.random() * len(texts))]


class SkillCard(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing an agent can do. `tags` are keywords in either language."""

    id: str
    name: Localized
    description: Localized
    tags: tuple[str, ...] = ()
    examples: LocalizedList = LocalizedList()


class RemoteOrigin(msgspec.Struct, frozen=True, kw_only=True):
    """An agent elsewhere: whether it can be asked now, and whose it is by its own word."""

    is_available: bool
    provider: str = ""


class AgentCard(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`intent` is what leads to this agent; `at_limit` is what happens when `monthly_tokens` are used up.

    `remote` is set for agents elsewhere, whose names and descriptions are their own words.
    """

    id: str
    intent: str
    name: Localized
    description: Localized
    skills: tuple[SkillCard, ...]
    tools: tuple[str, ...] = ()
    monthly_tokens: int = 1_000_000
    at_limit: AtLimit = "warn"
    remote: RemoteOrigin | None = None


class Reply(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A predefined answer, and what people say to get it (nothing, when only the code asks for it)."""

    text: Variants
    examples: LocalizedList = LocalizedList()


class AgentContent(msgspec.Struct, frozen=True, kw_only=True):
    """One agent's folder, read and checked. `template` is Jinja2 source."""

    card: AgentCard
    instructions: Localized
    template: Localized
    examples: dict[str, LocalizedList]
    replies: dict[str, Reply]


class Pattern(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A regular expression over the words of a message."""

    pattern: str


class Uncomputed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Questions that no skill computes, but for those that `unless` is found in; `reply` is the orchestrator's."""

    reply: str
    pattern: str
    unless: str


class Routing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`secondary` names, per intent, the intents that may come along on evidence in the text.

    `general_query` lists the agents for what no intent claims; `only_alone` the skills that never come along;
    `fallback_reply` the orchestrator's reply when nobody can be chosen and no model is there; `function_words` are
    evidence for nobody, the `keywords` of an intent always evidence for it.
    """

    secondary: dict[str, tuple[str, ...]]
    general_query: tuple[str, ...]
    only_alone: tuple[str, ...] = ()
    fallback_reply: str = "fallback"
    function_words: str = ""
    keywords: dict[str, str] = {}
    requests: dict[str, str]
    asides: Pattern
    uncomputed: tuple[Uncomputed, ...]
    skill_requests: dict[str, str]
    facts: Pattern
