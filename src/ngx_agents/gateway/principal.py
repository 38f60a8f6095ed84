"""Who is calling: said by the token, never by a body."""

from __future__ import annotations

import msgspec

from ngx_agents.errors import Forbidden
from ngx_agents.state.model import Owner

OPERATOR = "operator"


class Principal(msgspec.Struct, frozen=True):
    """An authenticated caller: whose data they may touch, and their roles. `agents`: the only ones they may ask."""

    owner: Owner
    roles: frozenset[str] = frozenset()
    agents: frozenset[str] | None = None

    @property
    def is_operator(self) -> bool:
        return OPERATOR in self.roles

    def agent_for(self, asked: str | None) -> str | None:
        """The agent to ask: the one asked for, or the only one there may be. Raises Forbidden for another."""
        if self.agents is None:
            return asked
        if asked is None and len(self.agents) == 1:
            return next(iter(self.agents))
        if asked not in self.agents:
            raise Forbidden("this key is for other agents alone: name one of them")
        return asked


LOCAL = Principal(Owner("local", "local"), frozenset({OPERATOR}))
