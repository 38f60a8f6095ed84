"""Plans, tenants, accounts, flags, budgets and stops: changed by operators, logged, and known at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from ngx_agents.state.commands import GiveBudget, TakeBudget
from ngx_agents.state.controls import Budget, Stop
from ngx_agents.state.model import Owner
from tests.gateway.admin.keyed import keyed

KINDS = ["plans/gold", "tenants/acme", "accounts/acme/ana", "flags/new", "budgets/all", "stops/all"]


@pytest.mark.parametrize("path", KINDS)
async def test_a_user_is_refused_whatever_the_kind(tmp_path: Path, path: str) -> None:
    async with keyed(tmp_path) as it:
        for method, where in (("PUT", path), ("DELETE", path), ("GET", path.split("/")[0])):
            status, problem = await it.api.call(method, f"/v1/admin/{where}", json={}, headers=it.user)
            assert (status, problem["code"]) == (403, "forbidden")


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("plans/gold", {"turns_per_minute": -1}, "turns_per_minute"),
        ("plans/gold", {"turn_per_minute": 1}, "turn_per_minute"),
        ("plans/Gold!", {}, "plan"),
        ("flags/new", {"share_percent": 101}, "share_percent"),
        ("budgets/a", {"period": "day"}, "scope"),
        ("stops/everything", {}, "stop"),
        ("tenants/a%0Ab", {}, "tenant"),
    ],
)
async def test_what_is_none_of_the_kind_is_refused_by_its_field(
    tmp_path: Path, path: str, body: dict[str, object], field: str
) -> None:
    async with keyed(tmp_path) as it:
        status, problem = await it.api.call("PUT", f"/v1/admin/{path}", json=body, headers=it.operator)
        assert (status, problem["field"]) == (400, field)
        _, page = await it.api.call("GET", "/v1/admin/audit", headers=it.operator)
        assert page["items"] == []


async def test_a_control_is_made_replaced_listed_removed_and_each_time_logged(tmp_path: Path) -> None:
    async with keyed(tmp_path) as it:
        path, body = "/v1/admin/budgets/acme-month", {"scope": "tenant", "tokens": 1000, "action": "block"}
        status, made = await it.api.call("PUT", path, json=body, headers=it.operator)
        assert (status, made) == (200, {"id": "acme-month", "value": body})
        assert it.house.deps.controls.budgets() == {
            "acme-month": Budget(scope="tenant", tokens=1000, action="block")
        }  # fmt: skip
        await it.api.call("PUT", path, json=body | {"tokens": 5}, headers=it.operator)
        _, listed = await it.api.call("GET", "/v1/admin/budgets", headers=it.operator)
        assert [one["value"]["tokens"] for one in listed["items"]] == [5]
        assert (await it.api.call("DELETE", path, headers=it.operator))[0] == 204
        assert (await it.api.call("DELETE", path, headers=it.operator))[0] == 404
        _, page = await it.api.call("GET", "/v1/admin/audit?target=budget/acme-month", headers=it.operator)
        told = [(one["action"], (one["before"] or {}).get("tokens")) for one in page["items"]]
        assert told == [("budget.remove", 5), ("budget.put", 1000), ("budget.put", None)]


async def test_what_was_spent_of_the_budgets_is_listed_by_prefix(tmp_path: Path) -> None:
    async with keyed(tmp_path) as it:
        for name in ("a/2026-11/tokens/acme", "b/2026-11/cost/acme"):
            await it.house.deps.tell(TakeBudget(meter=name, amount=7, slice_size=0, limit=100, ends_at=9e9))
        await it.house.deps.tell(GiveBudget(meter="b/2026-11/cost/acme", spent=5, unused=2))
        status, found = await it.api.call("GET", "/v1/admin/meters?prefix=b/", headers=it.operator)
        meter = {"name": "b/2026-11/cost/acme", "leased": 5, "spent": 5, "ends_at": 9e9}
        assert (status, found["items"]) == (200, [meter])
        assert (await it.api.call("GET", "/v1/admin/meters", headers=it.user))[0] == 403


async def test_an_account_is_over_its_tenant_and_a_stop_is_seen_at_once(tmp_path: Path) -> None:
    async with keyed(tmp_path) as it:
        controls, put = it.house.deps.controls, ("PUT",)
        for path, body in (
            ("plans/gold", {"turns_per_minute": 600}),
            ("tenants/acme", {"plan": "gold"}),
            ("accounts/acme/ana", {"may_be_critical": True}),
            ("stops/tenant:acme", {"reason": "an invoice"}),
        ):
            assert (await it.api.call(*put, f"/v1/admin/{path}", json=body, headers=it.operator))[0] == 200
        ana, ben = controls.rules_of(Owner("acme", "ana")), controls.rules_of(Owner("acme", "ben"))
        assert (ana.plan.turns_per_minute, ana.may_be_critical, ben.may_be_critical) == (600, True, False)
        assert controls.rules_of(Owner("other", "ana")).plan.turns_per_minute == 60
        assert controls.stopped("acme", "x") == "tenant:acme"
        assert controls.stopped("other", "x") is None
        assert controls.all_of(Stop)["tenant:acme"].reason == "an invoice"
        await it.api.call("DELETE", "/v1/admin/stops/tenant:acme", headers=it.operator)
        assert controls.stopped("acme", "x") is None
