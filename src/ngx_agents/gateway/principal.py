"""Who is calling: said by the token, never by a body."""

from __future__ import annotations

import msgspec

from ngx_agents.state.model import Owner

OPERATOR = "operator"


class Principal(msgspec.Struct, frozen=True):
    """An authenticated caller: whose data they may touch, and their roles."""

    owner: Owner
    roles: frozenset[str] = frozenset()

    @property
    def is_operator(self) -> bool:
        return OPERATOR in self.roles


LOCAL = Principal(Owner("local", "local"), frozenset({OPERATOR}))
