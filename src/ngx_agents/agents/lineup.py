"""Who can be called right now: the team's own specialists and the agents elsewhere, with the router that knows them.

Made anew when an agent elsewhere shows another card; a turn keeps the one it began with. Agents elsewhere are evidence
for what their skills' tags and examples say; a tag is a keyword only where no example of the team's own has the word,
so that no card from elsewhere takes a subject away from the team.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from ngx_agents.agents.cards import AgentCard, AgentContent, LocalizedList, SkillCard
from ngx_agents.agents.crew import Crew
from ngx_agents.agents.language import Localized
from ngx_agents.agents.loader import TeamContent
from ngx_agents.agents.remote.roster import RemoteRoster
from ngx_agents.agents.router import Route, Router
from ngx_agents.agents.wording import normalise, words_of

_NOTHING = Localized(es="-", en="-")
_ANY = SkillCard(id="answer", name=Localized(es="Responder", en="Answer"), description=_NOTHING)


class LineUp:
    """`own` is the router of the team alone: for what is asked while an agent elsewhere cannot be."""

    def __init__(self, team: TeamContent, *, crew: Crew, own: Router, roster: RemoteRoster) -> None:
        self.team = joined(team, [agent.card for agent in roster.agents.values()]) if roster.agents else team
        self.crew = crew
        self.router = Router(self.team) if roster.agents else own
        self._own = own
        self._roster = roster

    def route(self, words: Sequence[str], *, last_agent: str | None) -> Route:
        """By evidence; never to an agent elsewhere that cannot be asked now."""
        route = self.router.route(words, last_agent=last_agent)
        if any(self.is_remote(agent) and not self._roster.agents[agent].is_available for agent in route.agents):
            return self._own.route(words, last_agent=None if last_agent in self._roster.agents else last_agent)
        return route

    def is_remote(self, agent: str) -> bool:
        return agent in self._roster.agents


def joined(team: TeamContent, cards: Sequence[AgentCard]) -> TeamContent:
    """The team's content with these agents elsewhere."""
    known = _words_of_team(team)
    routing = msgspec.structs.replace(
        team.routing,
        secondary={**team.routing.secondary, **{card.intent: () for card in cards}},
        keywords={**team.routing.keywords, **{card.intent: _keywords(card, known) for card in cards}},
    )
    contents = {card.id: _content(card) for card in cards}
    return msgspec.structs.replace(team, specialists={**team.specialists, **contents}, routing=routing)


def callable_cards(cards: Mapping[str, AgentCard], roster: RemoteRoster) -> dict[str, AgentCard]:
    """The cards of those that a model may call: the team's own and the known ones elsewhere."""
    known = {agent.id: agent.card for agent in roster.agents.values() if agent.card.skills}
    return {**cards, **known}


def _content(card: AgentCard) -> AgentContent:
    with_skill = card if card.skills else msgspec.structs.replace(card, skills=(_ANY,))
    return AgentContent(
        card=with_skill,
        instructions=_NOTHING,
        template=_NOTHING,
        examples={skill.id: LocalizedList() for skill in with_skill.skills},
        replies={},
    )


def _keywords(card: AgentCard, known: set[str]) -> str:
    words = [word for skill in card.skills for tag in skill.tags for word in words_of(normalise(tag))]
    return " ".join(dict.fromkeys(word for word in words if len(word) > 3 and word not in known))


def _words_of_team(team: TeamContent) -> set[str]:
    said = [text for agent in team.agents for each in agent.examples.values() for text in each.all()]
    said += [tag for agent in team.agents for skill in agent.card.skills for tag in skill.tags]
    words = {word for text in said for word in words_of(normalise(text))}
    words |= {part for each in team.routing.keywords.values() for word in each.split() for part in word.split("_")}
    return words | set(team.routing.function_words.split())
