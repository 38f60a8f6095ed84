"""Reads the team's folders at start, strictly: whatever is missing, unknown or dangling names its file and key.

Nothing that is routed to can be absent later: every intent has an agent, every agent its texts in both languages,
every tool its implementation.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TypeVar

import msgspec

from ngx_agents.agents.cards import ORCHESTRATOR as ORCHESTRATOR
from ngx_agents.agents.cards import AgentCard, AgentContent, LocalizedList, Reply, Routing
from ngx_agents.agents.language import Localized
from ngx_agents.agents.safety_content import SafetyContent, load_safety
from ngx_agents.errors import ConfigError

T = TypeVar("T")
TEAM_FOLDER = Path(__file__).parent / "team"


class _Examples(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    skills: dict[str, LocalizedList] = {}
    replies: dict[str, Reply] = {}


class TeamContent(msgspec.Struct, frozen=True, kw_only=True):
    """`specialists` has every agent but the orchestrator, in the order of their folders' names."""

    orchestrator: AgentContent
    specialists: dict[str, AgentContent]
    routing: Routing
    safety: SafetyContent

    def agent(self, agent_id: str) -> AgentContent:
        return self.orchestrator if agent_id == ORCHESTRATOR else self.specialists[agent_id]

    @property
    def agents(self) -> tuple[AgentContent, ...]:
        return (self.orchestrator, *self.specialists.values())


def load_team(folder: Path = TEAM_FOLDER, *, tools: Collection[str]) -> TeamContent:
    """The whole team; `tools` are the names of the tools there are. Raises ConfigError."""
    read = {path.parent.name: _agent(path.parent) for path in sorted(folder.glob("*/card.toml"))}
    if ORCHESTRATOR not in read:
        raise ConfigError(f"{folder.name}: no {ORCHESTRATOR}/card.toml")
    team = TeamContent(
        orchestrator=read.pop(ORCHESTRATOR),
        specialists=read,
        routing=_decoded(folder / "routing.toml", Routing),
        safety=load_safety(folder / "safety.toml"),
    )
    for agent in team.agents:
        _check_agent(agent, tools)
    _check_routing(team)
    return team


def _agent(folder: Path) -> AgentContent:
    card = _decoded(folder / "card.toml", AgentCard)
    if card.id != folder.name:
        raise ConfigError(f"{folder.name}/card.toml: id is {card.id!r}, the folder is {folder.name!r}")
    examples = _decoded(folder / "examples.toml", _Examples)
    return AgentContent(
        card=card,
        instructions=_texts(folder, "instructions", "md"),
        template=_texts(folder, "reply", "md.j2"),
        examples=examples.skills,
        replies=examples.replies,
    )


def _decoded(path: Path, kind: type[T]) -> T:
    try:
        return msgspec.toml.decode(path.read_bytes(), type=kind)
    except (msgspec.DecodeError, OSError) as exc:
        raise ConfigError(f"{path.parent.name}/{path.name}: {exc}") from exc


def _texts(folder: Path, stem: str, suffix: str) -> Localized:
    texts = []
    for language in ("es", "en"):
        path = folder / f"{stem}.{language}.{suffix}"
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as exc:
            raise ConfigError(f"{folder.name}/{path.name}: {exc.strerror}") from exc
        if not text.strip():
            raise ConfigError(f"{folder.name}/{path.name}: empty")
        texts.append(text)
    return Localized(*texts)


def _check_agent(agent: AgentContent, tools: Collection[str]) -> None:
    card = agent.card
    skills = [skill.id for skill in card.skills]
    _no_duplicates(skills, f"{card.id}/card.toml: skills")
    for tool in card.tools:
        if tool not in tools:
            raise ConfigError(f"{card.id}/card.toml: tools: there is no tool {tool!r}")
    where = f"{card.id}/examples.toml: skills"
    needed = () if card.id == ORCHESTRATOR else skills
    for skill in dict.fromkeys((*agent.examples, *needed)):
        if skill not in skills:
            raise ConfigError(f"{where}.{skill}: the card has no such skill")
        examples = agent.examples.get(skill, LocalizedList())
        if not (examples.es and examples.en):
            raise ConfigError(f"{where}.{skill}: both languages need examples")


def _check_routing(team: TeamContent) -> None:
    intents = [agent.card.intent for agent in team.specialists.values()]
    _no_duplicates(intents, "card.toml: intent")
    routing = team.routing
    named = {each for intent, others in routing.secondary.items() for each in (intent, *others)}
    _all_in(named, intents, "routing.toml: secondary: no agent has the intent")
    _all_in(intents, routing.secondary, "routing.toml: secondary: nothing is said of the intent")
    _all_in(routing.keywords, intents, "routing.toml: keywords: no agent has the intent")
    if not routing.general_query:
        raise ConfigError("routing.toml: general_query: at least one agent")
    _all_in(routing.general_query, team.specialists, "routing.toml: general_query: there is no agent")
    skills = {skill.id for agent in team.specialists.values() for skill in agent.card.skills}
    _all_in(routing.only_alone, skills, "routing.toml: only_alone: there is no skill")
    _all_in(routing.skill_requests, skills, "routing.toml: skill_requests: there is no skill")
    _all_in(routing.requests, intents, "routing.toml: requests: no agent has the intent")
    fallback = [routing.fallback_reply, *(each.reply for each in routing.uncomputed)]
    _all_in(fallback, team.orchestrator.replies, "orchestrator/examples.toml: replies: there is no")


def _all_in(names: Iterable[str], known: Collection[str], trouble: str) -> None:
    for name in names:
        if name not in known:
            raise ConfigError(f"{trouble} {name!r}")


def _no_duplicates(names: Iterable[str], where: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ConfigError(f"{where}: {name!r} twice")
        seen.add(name)
