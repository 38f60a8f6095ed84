from __future__ import annotations

import msgspec
import pytest

from ngx_agents.agents.budget_items import items_for
from ngx_agents.state.controls import Budget, read_document
from ngx_agents.state.model import Owner


@pytest.mark.parametrize(
    ("of", "owner", "holds"),
    [
        ("acme/ben", Owner("acme", "ben"), True),
        ("acme/ben", Owner("other", "ben"), False),
        ("ben", Owner("other", "ben"), True),
        ("acme/ana", Owner("acme", "ben"), False),
    ],
)
def test_a_budget_of_one_user_is_written_as_users_are_everywhere(of: str, owner: Owner, holds: bool) -> None:
    budget = Budget(scope="user", of=of, tokens=10)
    assert bool(items_for({"b": budget}, None, owner, "agent")) is holds


def test_a_budget_that_bounds_nothing_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="tokens or cost_usd"):
        read_document("budget", b'{"scope": "user"}')


def test_a_flag_for_a_user_without_a_tenant_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="tenant/user"):
        read_document("flag", b'{"users": ["ana"]}')
