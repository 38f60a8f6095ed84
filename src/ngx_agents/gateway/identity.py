"""What a token may say about its bearer, checked before it becomes an owner of data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ngx_agents.errors import Unauthenticated
from ngx_agents.gateway.principal import Principal
from ngx_agents.state.model import Owner

MAX_NAME_CHARS = 200
MAX_ROLES = 16


def principal_named(tenant: object, user: object, *, roles: object = (), agents: Sequence[str] = ()) -> Principal:
    """Raises Unauthenticated unless both names are printable strings of 1 to 200 characters."""
    owner = Owner(_name(tenant, "tenant"), _name(user, "subject"))
    return Principal(owner, frozenset(_words(roles)), frozenset(agents) if agents else None)


def _name(value: object, what: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_NAME_CHARS or not value.isprintable():
        raise Unauthenticated(f"the token's {what} is not usable")
    return value


def _words(roles: object) -> Iterable[str]:
    if not isinstance(roles, (list, tuple)):
        return ()
    return (role for role in roles[:MAX_ROLES] if isinstance(role, str) and len(role) <= MAX_NAME_CHARS)
