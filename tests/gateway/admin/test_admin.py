"""Only operators see and change how the server stands, and what they change is logged."""

from __future__ import annotations

from pathlib import Path

import jwt
import pytest

from ngx_agents.errors import NotFound
from ngx_agents.gateway.admin.audit import MASK, AuditTrail, masked
from ngx_agents.gateway.principal import Principal
from ngx_agents.gateway.settings import AuthSettings, GatewaySettings
from ngx_agents.resilience.modes import Mode
from ngx_agents.state.commands import PutControl, ReplayTurn
from ngx_agents.state.model import Owner
from tests.gateway.admin.keyed import keyed

OPS = Principal(Owner("house", "ops"), frozenset({"operator"}))


@pytest.mark.parametrize("path", ["/v1/admin/status", "/v1/admin/audit"])
async def test_a_user_is_refused_and_a_stranger_too(tmp_path: Path, path: str) -> None:
    async with keyed(tmp_path) as it:
        status, problem = await it.api.call("GET", path, headers=it.user)
        assert (status, problem["code"]) == (403, "forbidden")
        assert (await it.api.call("GET", path))[0] == 401
        assert (await it.api.call("GET", path, headers=it.operator))[0] == 200


async def test_the_status_says_how_the_server_stands(tmp_path: Path) -> None:
    async with keyed(tmp_path) as it:
        it.house.deps.modes.force(Mode.DEGRADED_1, by="ops", reason="a drill")
        status, told = await it.api.call("GET", "/v1/admin/status", headers=it.operator)
        assert (status, told["mode"], told["is_draining"]) == (200, "degraded-1", False)
        assert told["reasons"] == ["operator: a drill"]
        assert told["instance"] == it.house.engine.instance
        assert told["schema"] > 3


async def test_a_change_is_listed_with_its_actor_and_what_was_there_before(tmp_path: Path) -> None:
    async with keyed(tmp_path) as it:
        deps = it.house.deps
        trail = AuditTrail(deps.journal, deps.ids, deps.clock)
        for body, after in ((b'{"share":1}', {"share": 1}), (b'{"share":2}', {"share": 2})):
            command = PutControl(kind="flag", id="a", body=body, now=1.0)
            await trail.change(OPS, "flag.put", "flag/a", command=command, after=after)
        await trail.change(OPS, "mode.set", "mode", after={"mode": "degraded-1", "secret_key": "s3cr3t"})
        _, page = await it.api.call("GET", "/v1/admin/audit?limit=2", headers=it.operator)
        mode, flag = page["items"]
        assert mode["after"] == {"mode": "degraded-1", "secret_key": MASK}
        assert (flag["actor"], flag["action"], flag["before"]) == ("house/ops", "flag.put", {"share": 1})
        _, rest = await it.api.call("GET", f"/v1/admin/audit?cursor={page['next']}", headers=it.operator)
        assert [one["after"] for one in rest["items"]] == [{"share": 1}]
        _, narrowed = await it.api.call("GET", "/v1/admin/audit?target=mode", headers=it.operator)
        assert [one["action"] for one in narrowed["items"]] == ["mode.set"]


async def test_a_refused_change_is_raised_and_not_logged(tmp_path: Path) -> None:
    async with keyed(tmp_path) as it:
        deps = it.house.deps
        trail = AuditTrail(deps.journal, deps.ids, deps.clock)
        replay = ReplayTurn(turn_id=deps.ids.new("t", 1), now=1.0, deadline_at=2.0)
        with pytest.raises(NotFound):
            await trail.change(OPS, "turn.replay", replay.turn_id, command=replay)
        _, page = await it.api.call("GET", "/v1/admin/audit", headers=it.operator)
        assert page["items"] == []


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "cursor=%3F%3F"])
async def test_a_bad_query_is_refused(tmp_path: Path, query: str) -> None:
    async with keyed(tmp_path) as it:
        status, problem = await it.api.call("GET", f"/v1/admin/audit?{query}", headers=it.operator)
        assert (status, problem["code"]) == (400, "invalid_request")


def test_secrets_are_masked_by_the_names_of_their_fields_and_counts_of_tokens_are_not() -> None:
    deep: dict[str, object] = {}
    for _ in range(40):
        deep = {"in": deep}
    assert masked({"api_key": "x", "list": [{"JWT_SECRET": "y"}], "monthly_tokens": 5, "token": ""}) == {
        "api_key": MASK,
        "list": [{"JWT_SECRET": MASK}],
        "monthly_tokens": 5,
        "token": "",
    }
    assert MASK in str(masked(deep))


async def test_a_token_with_the_role_is_an_operators_and_one_without_is_not(tmp_path: Path) -> None:
    secret = "s" * 32
    settings = GatewaySettings(auth=AuthSettings(mode="jwt", jwt_secret=secret))
    async with keyed(tmp_path, settings) as it:
        for claims, expected in (
            ({"roles": ["operator"]}, 200),
            ({"app_metadata": {"roles": ["operator"]}}, 200),
            ({"roles": ["Operator"]}, 403),
            ({"roles": "operator"}, 403),
            ({}, 403),
        ):
            token = jwt.encode({"sub": "ops", "exp": it.house.deps.clock.now_s() + 60, **claims}, secret)
            headers = {"authorization": f"Bearer {token}"}
            assert (await it.api.call("GET", "/v1/admin/status", headers=headers))[0] == expected, claims
