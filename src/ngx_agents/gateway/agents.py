"""The team and its skills, as the caller may see them. What a card holds is the team's business: it is a Struct."""

from __future__ import annotations

import msgspec

from ngx_agents.errors import NotFound
from ngx_agents.gateway.deps import GatewayDeps
from ngx_agents.gateway.exchange import Exchange


class AgentRoutes:
    """`card` and `page` are the types of the answers, for the document. Raises ValueError for a team without agents."""

    def __init__(self, deps: GatewayDeps) -> None:
        self._team = deps.team
        kinds = {type(card) for card in deps.team.cards()}
        if len(kinds) != 1:
            raise ValueError("a team has agents, and their cards are of one type")
        self.card = kinds.pop()
        items = tuple[self.card, ...]  # type: ignore[name-defined]  # a type made at run time
        self.page = msgspec.defstruct("AgentPage", [("items", items), ("next", str | None, None)], frozen=True)

    async def index(self, exchange: Exchange) -> None:
        await exchange.reply_json(self.page(tuple(self._team.cards())))

    async def show(self, exchange: Exchange) -> None:
        agent_id = exchange.parameters["agent_id"]
        for card in self._team.cards():
            if card.id == agent_id:
                await exchange.reply_json(card)
                return
        raise NotFound("there is no such agent")
