"""Chooses who answers, without asking a model: predefined reply, one specialist, or several.

The primary agent is the one the text speaks for most; another comes along only when the text asks for it in so many
words and the routing table allows the pair. Pure: the same words give the same route.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp
from typing import Literal

import msgspec

from ngx_agents.agents.brief import Brief
from ngx_agents.agents.cards import AgentContent, Reply
from ngx_agents.agents.evidence import Evidence
from ngx_agents.agents.loader import TeamContent
from ngx_agents.agents.requests import Requests
from ngx_agents.agents.wording import normalise, words_of

FLOOR = 0.7  # confidence below which the local router does not decide alone
_SCALE = 1.7  # evidence that makes a confidence of 1 - 1/e
_REQUEST = 2.6  # evidence that an explicit request is
_GUESS = 0.6  # confidence of a guess that is worth an answer when no model is there
_REPLY_WORDS = 9  # longer messages want more than a predefined reply
_REPLY_LIKENESS = 0.7
_COVERED_WORDS = 4
_FOLLOW_UP_WORDS = 12
_MAX_WORDS = 120  # of a long message the beginning and the end are read

RouteKind = Literal["evidence", "reply", "general", "chosen"]


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """`skills` maps each agent to the skill it is called for. `reply` is a predefined reply of the orchestrator's.

    `kind` general: no intent claimed the text with a confidence of at least `FLOOR`; `agents` and `skills` then
    hold the best guess, empty when there is none; `fallback` is the reply when nobody answers, if not the usual one.
    """

    kind: RouteKind
    agents: tuple[str, ...]
    skills: dict[str, str]
    confidence: float
    intent: str
    reply: str | None = None
    fallback: str | None = None


class Router:
    """Learns from the team's examples at construction."""

    def __init__(self, team: TeamContent) -> None:
        self._routing = team.routing
        self._cards = {agent.card.id: agent.card for agent in team.specialists.values()}
        self._agent_of = {card.intent: card.id for card in self._cards.values()}
        ignored = frozenset(team.routing.function_words.split())
        examples = {name: _examples_of(agent) for name, agent in team.specialists.items()}
        keywords = {self._agent_of[intent]: words.split() for intent, words in team.routing.keywords.items()}
        self._agents = Evidence(examples, ignored=ignored, keywords=keywords)
        self._skills = {
            name: Evidence(_examples_by_skill(agent), ignored=ignored)
            for name, agent in team.specialists.items()
            if len(agent.card.skills) > 1
        }
        self._requests = Requests(team.routing)
        self._replies = _ReplyBook(team.orchestrator.replies)

    def route(self, words: Sequence[str], *, last_agent: str | None = None) -> Route:
        """The route of a message given as normalised words; what claims nothing follows up on `last_agent`."""
        words = words[:_MAX_WORDS] if len(words) <= _MAX_WORDS else [*words[:80], *words[-40:]]
        text = " ".join(words)
        uncomputed = self._requests.uncomputed(text)
        if uncomputed is not None:
            return msgspec.structs.replace(self._route("general", (), words, confidence=0.0), fallback=uncomputed)
        found, asked = self._found(words, text)
        ranked = sorted(found.items(), key=lambda each: -each[1])
        confidence = 1 - exp(-ranked[0][1] / _SCALE) if ranked else 0.0
        reply, likeness = self._replies.nearest(words)
        if reply is not None and likeness > confidence:
            return Route(kind="reply", agents=(), skills={}, confidence=likeness, intent="general_query", reply=reply)
        if confidence < FLOOR:
            if last_agent in self._cards and len(words) <= _FOLLOW_UP_WORDS:
                return self._route("evidence", (last_agent,), words, confidence=confidence)
            agents = (ranked[0][0],) if confidence >= _GUESS else ()
            return self._route("general", agents, words, confidence=confidence)
        return self._route("evidence", self._chosen(ranked, asked, words), words, confidence=confidence)

    def route_to(self, agent: str, words: Sequence[str]) -> Route:
        """The route to an agent that somebody else chose."""
        return self._route("chosen", (agent,), words, confidence=1.0)

    def briefed(self, brief: Brief, agents: Sequence[str]) -> Brief:
        """The brief with the skills these agents are called for."""
        return msgspec.structs.replace(brief, skills={agent: self.skill_of(agent, brief.words) for agent in agents})

    def skill_of(self, agent: str, words: Sequence[str]) -> str:
        """The skill of this agent that the words ask for; its first when they do not say."""
        skills = [skill.id for skill in self._cards[agent].skills]
        if len(skills) == 1:
            return skills[0]
        asked = self._requests.skill(skills, " ".join(words))
        if asked is not None:
            return asked
        evidence = self._skills.get(agent)
        found = evidence.of(words) if evidence else {}
        return max(found, key=found.__getitem__) if found else skills[0]

    def _found(self, words: Sequence[str], text: str) -> tuple[dict[str, float], frozenset[str]]:
        """Evidence per agent and who is asked for; where anybody is, nobody else has any."""
        found = self._agents.of(words)
        asked = frozenset(self._agent_of[intent] for intent in self._requests.intents(text))
        if asked:
            return {agent: found.get(agent, 0.0) + _REQUEST for agent in asked}, asked
        if self._requests.states_facts(text):
            found = {
                agent: weight
                for agent, weight in found.items()
                if self.skill_of(agent, words) not in self._routing.only_alone
            }
        return found, asked

    def _chosen(self, ranked: list[tuple[str, float]], asked: frozenset[str], words: Sequence[str]) -> tuple[str, ...]:
        (primary, _), *others = ranked
        allowed = {self._agent_of[intent] for intent in self._routing.secondary[self._cards[primary].intent]}
        second = [
            agent
            for agent, _ in others
            if agent in asked and agent in allowed and self.skill_of(agent, words) not in self._routing.only_alone
        ]
        return (primary, *second)

    def _route(self, kind: RouteKind, agents: tuple[str, ...], words: Sequence[str], *, confidence: float) -> Route:
        return Route(
            kind=kind,
            agents=agents,
            skills={agent: self.skill_of(agent, words) for agent in agents},
            confidence=confidence,
            intent="general_query" if kind == "general" or not agents else self._cards[agents[0]].intent,
        )


class _ReplyBook:
    """Finds the predefined reply whose examples a short message is most like (shared words, Dice).

    A very short one that has no word beyond a reply's examples is like it, too.
    """

    def __init__(self, replies: Mapping[str, Reply]) -> None:
        self._examples: list[tuple[str, int]] = []
        self._holding: dict[str, list[int]] = {}
        self._vocabularies: dict[str, set[str]] = {name: set() for name in replies}
        for name, reply in replies.items():
            for example in reply.examples.all():
                words = set(words_of(normalise(example)))
                self._vocabularies[name] |= words
                for word in words:
                    self._holding.setdefault(word, []).append(len(self._examples))
                self._examples.append((name, len(words)))

    def nearest(self, words: Sequence[str]) -> tuple[str | None, float]:
        """The reply and how like it is, in 0..1; None when nothing is like enough."""
        if len(words) > _REPLY_WORDS:
            return None, 0.0
        shared: dict[int, int] = {}
        asked = set(words)
        for word in asked:
            for number in self._holding.get(word, ()):
                shared[number] = shared.get(number, 0) + 1
        best, likeness = None, _REPLY_LIKENESS
        for number, count in shared.items():
            name, size = self._examples[number]
            dice = 2 * count / (size + len(asked))
            if dice > likeness:
                best, likeness = name, dice
        if best is None and 0 < len(asked) <= _COVERED_WORDS:
            best = next((name for name, known in self._vocabularies.items() if asked <= known), None)
        return best, likeness if best else 0.0


def _examples_of(agent: AgentContent) -> list[list[str]]:
    return [words for each in _examples_by_skill(agent).values() for words in each]


def _examples_by_skill(agent: AgentContent) -> dict[str, list[list[str]]]:
    """All that the content says in a user's words: routing examples, the card's examples and its tags."""
    found = {}
    for skill in agent.card.skills:
        texts = (*agent.examples[skill.id].all(), *skill.examples.all(), *skill.tags)
        found[skill.id] = [words for words in (words_of(normalise(text)) for text in texts) if words]
    return found
