"""A plan's limits at the entrance: over the wire, shared by instances, and bounded in memory and time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ngx_agents.clock import Rng, SystemClock
from ngx_agents.coordination.local_shared import LocalShared
from ngx_agents.coordination.redis_shared import RedisShared
from ngx_agents.errors import Forbidden, RateLimited, SharedUnavailable
from ngx_agents.gateway.limits import Limits
from ngx_agents.gateway.problems import headers_of
from ngx_agents.state.commands import PutControl
from ngx_agents.state.control_board import ControlBoard
from ngx_agents.state.model import Owner
from ngx_agents.state.sqlite import SqliteJournal
from ngx_agents.telemetry.metrics import Metrics
from tests.gateway.admin.keyed import KEYED, keyed
from tests.resilience.hand_clock import HandClock
from tests.valkey_process import valkey

ANA = Owner("acme", "ana")


async def put(deps: Any, kind: str, name: str, **body: Any) -> None:
    await deps.tell(PutControl(kind=kind, id=name, body=json.dumps(body).encode(), now=1.0))  # type: ignore[arg-type]
    await deps.controls.refresh()


async def board(path: Path, journal: SqliteJournal, clock: Any, **plan: Any) -> ControlBoard:
    body = json.dumps({"turns_per_minute": 10} | plan).encode()
    await journal.transact([PutControl(kind="plan", id="default", body=body, now=1.0)])
    made = ControlBoard(journal, clock=clock, metrics=Metrics())
    await made.refresh()
    return made


@pytest.fixture
async def journal(tmp_path: Path) -> Any:
    made = SqliteJournal(tmp_path / "journal.db")
    await made.open()
    await made.migrate()
    yield made
    await made.close()


async def passed(limits: Limits, times: int, owner: Owner = ANA, size_bytes: int = 10) -> int:
    count = 0
    for _ in range(times):
        try:
            (await limits.take(owner, size_bytes)).free()
        except RateLimited:
            continue
        count += 1
    return count


async def test_answers_tell_the_limits_and_a_refusal_when_to_come_back(tmp_path: Path) -> None:
    async with keyed(tmp_path, KEYED, is_limited=True) as it:
        await put(it.house.deps, "plan", "default", turns_per_minute=2)
        conversation_id = await it.api.conversation(headers=it.user)
        url = f"{it.api.url}/v1/conversations/{conversation_id}/turns"
        for left in (1, 0):
            async with it.api.session.post(url, json={"text": "say x"}, headers=it.user) as response:
                assert response.status == 200
                assert response.headers["ratelimit-policy"].startswith('"minute";q=2;w=60, "hour";q=1000;w=3600')
                assert response.headers["ratelimit"].startswith(f'"minute";r={left};t=')
        for path, body in (
            (url, {"text": "say x"}),
            (f"{it.api.url}/v1/chat/completions", {"model": "ngx", "messages": [{"role": "user", "content": "say x"}]}),
        ):
            async with it.api.session.post(path, json=body, headers=it.user) as response:
                assert response.status == 429
                assert 1 <= int(response.headers["retry-after"]) <= 60
                assert response.headers["ratelimit"].startswith('"minute";r=0;t=')
                assert "rate_limited" in await response.text()
        other = await it.api.conversation(headers=it.operator)
        assert (await it.api.say(other, "say x", headers=it.operator))[0] == 200


async def test_streams_tell_the_limits_too(tmp_path: Path) -> None:
    async with keyed(tmp_path, KEYED, is_limited=True) as it:
        path = f"{it.api.url}/v1/conversations/{await it.api.conversation(headers=it.user)}/turns"
        headers = it.user | {"accept": "text/event-stream"}
        async with it.api.session.post(path, json={"text": "say x"}, headers=headers) as response:
            assert response.headers["ratelimit"].startswith('"minute";r=59;t=')


async def test_requests_of_any_kind_are_bounded_too(tmp_path: Path) -> None:
    async with keyed(tmp_path, KEYED, is_limited=True) as it:
        await put(it.house.deps, "plan", "default", requests_per_minute=5)
        told = [(await it.api.call("GET", "/v1/me/profile", headers=it.user))[0] for _ in range(8)]
        assert told == [200] * 5 + [429] * 3
        async with it.api.session.post(it.api.url + "/v1/conversations", json={}, headers=it.user) as response:
            assert (response.status, int(response.headers["retry-after"]) <= 60) == (429, True)
        assert (await it.api.call("GET", "/livez"))[0] == 200
        assert (await it.api.call("GET", "/v1/me/profile", headers=it.operator))[0] == 200


async def test_turns_at_once_are_bounded_for_a_user_and_for_a_tenant(tmp_path: Path) -> None:
    async with keyed(tmp_path, KEYED, is_limited=True) as it:
        await put(it.house.deps, "plan", "default", running_turns=1)
        first, second = [await it.api.conversation(headers=it.user) for _ in range(2)]
        asked = await it.api.say(first, "wait", headers=it.user | {"prefer": "respond-async"})
        assert asked[0] == 202
        status, problem = await it.api.say(second, "say x", headers=it.user)
        assert (status, problem["code"]) == (429, "rate_limited")
        it.house.engine._team.release.set()
        turn = asked[1]["turn_id"]
        await it.api.call("GET", f"/v1/turns/{turn}/events", headers=it.user)  # until its end
        assert (await it.api.say(second, "say x", headers=it.user))[0] == 200
        await put(it.house.deps, "tenant", "acme", running_turns=0)
        assert (await it.api.say(second, "say x", headers=it.user))[0] == 429


async def test_the_class_critical_is_given_by_the_account_and_never_by_the_body(tmp_path: Path) -> None:
    async with keyed(tmp_path, KEYED, is_limited=True) as it:
        conversation_id = await it.api.conversation(headers=it.user)
        urgent: dict[str, Any] = {"class": 0}
        status, problem = await it.api.say(conversation_id, "say x", headers=it.user, **urgent)
        assert (status, problem["code"]) == (403, "forbidden")
        await put(it.house.deps, "account", "acme\nana", may_be_critical=True)
        assert (await it.api.say(conversation_id, "say x", headers=it.user, **urgent))[0] == 200
        status, problem = await it.api.say(conversation_id, "say x", headers=it.user, plan="gold")
        assert (status, problem["field"]) == (400, "plan")


async def test_a_suspended_tenant_is_refused(journal: SqliteJournal, tmp_path: Path) -> None:
    made = await board(tmp_path, journal, SystemClock())
    await journal.transact([PutControl(kind="tenant", id="acme", body=b'{"is_suspended":true}', now=1.0)])
    await made.refresh()
    with pytest.raises(Forbidden):
        await Limits(made, clock=SystemClock(), metrics=Metrics()).take(ANA, 1)


async def test_a_suspended_account_reads_exports_and_erases_its_own_and_does_nothing_else(tmp_path: Path) -> None:
    async with keyed(tmp_path, KEYED, is_limited=True) as it:
        conversation_id = await it.api.conversation(headers=it.user)
        await put(it.house.deps, "account", "acme\nana", is_suspended=True)
        for method, path in (
            ("POST", "/v1/conversations"),
            ("POST", f"/v1/conversations/{conversation_id}/turns"),
            ("POST", "/v1/batches"),
            ("POST", "/v1/me/schedules"),
            ("POST", "/v1/me/attachments"),
            ("POST", "/v1/me/logs"),
            ("PUT", "/v1/me/profile"),
            ("POST", "/v1/chat/completions"),
            ("POST", "/mcp"),
        ):
            status, problem = await it.api.call(method, path, json={}, headers=it.user)
            assert (status, "suspended" in json.dumps(problem)) == (403, True), path
        for path in ("/v1/conversations", "/v1/me/profile", "/v1/me/schedules", "/v1/me/attachments"):
            assert (await it.api.call("GET", path, headers=it.user))[0] == 200, path
        async with it.api.session.get(it.api.url + "/v1/me/export", headers=it.user) as response:
            assert response.status == 200
        assert (await it.api.call("DELETE", f"/v1/conversations/{conversation_id}", headers=it.user))[0] == 204
        assert (await it.api.call("DELETE", "/v1/me", headers=it.user))[0] == 200
        await put(it.house.deps, "account", "house\nops", is_suspended=True)
        assert (await it.api.call("GET", "/v1/admin/keys", headers=it.operator))[0] == 403
        assert (await it.api.call("DELETE", "/v1/admin/plans/gold", headers=it.operator))[0] == 403


async def test_a_refusal_comes_true_at_the_second_it_names(journal: SqliteJournal, tmp_path: Path) -> None:
    clock = HandClock()
    limits = Limits(await board(tmp_path, journal, clock, turns_per_hour=15), clock=clock, metrics=Metrics())
    assert await passed(limits, 30) == 10
    with pytest.raises(RateLimited) as refused:
        await limits.take(ANA, 1)
    assert (refused.value.quota, refused.value.retry_after_s <= 60) == ("minute", True)
    clock.advance(refused.value.retry_after_s - 1.0)
    assert await passed(limits, 1) == 0
    clock.advance(1.0)
    assert await passed(limits, 30) == 5
    with pytest.raises(RateLimited) as refused:
        await limits.take(ANA, 1)
    assert refused.value.quota == "hour"
    clock.advance(refused.value.retry_after_s)
    assert await passed(limits, 30) == 10


async def test_bytes_are_counted_and_what_can_never_fit_is_refused(journal: SqliteJournal, tmp_path: Path) -> None:
    made = await board(tmp_path, journal, SystemClock(), bytes_per_day=1000)
    limits = Limits(made, clock=SystemClock(), metrics=Metrics())
    assert await passed(limits, 4, size_bytes=300) == 3
    with pytest.raises(RateLimited) as refused:
        await limits.take(ANA, 1001)
    assert refused.value.quota == "bytes"


async def test_batches_leave_a_part_of_every_limit_to_what_the_user_says(
    journal: SqliteJournal, tmp_path: Path
) -> None:
    limits = Limits(
        await board(tmp_path, journal, HandClock(), running_turns=5), clock=HandClock(), metrics=Metrics()
    )  # fmt: skip
    taken = [await limits.take(ANA, 0, is_batch=True) for _ in range(4)]
    with pytest.raises(RateLimited) as refused:
        await limits.take(ANA, 0, is_batch=True)
    assert refused.value.quota == "running"
    taken.append(await limits.take(ANA, 0))
    for one in taken:
        one.free()
    for _ in range(3):
        (await limits.take(ANA, 0, is_batch=True)).free()
    with pytest.raises(RateLimited) as refused:
        await limits.take(ANA, 0, is_batch=True)
    assert refused.value.quota == "minute"
    assert await passed(limits, 5) == 2


async def test_a_turn_that_never_began_counts_for_nothing(journal: SqliteJournal, tmp_path: Path) -> None:
    limits = Limits(await board(tmp_path, journal, SystemClock()), clock=SystemClock(), metrics=Metrics())
    for _ in range(30):
        (await limits.take(ANA, 5)).undo()
    assert await passed(limits, 30) == 10


async def test_a_million_users_are_not_all_remembered(journal: SqliteJournal, tmp_path: Path) -> None:
    limits = Limits(
        await board(tmp_path, journal, SystemClock()), clock=SystemClock(), metrics=Metrics(), max_users=100
    )
    for number in range(3000):
        (await limits.take(Owner("acme", f"u{number}"), 1)).free()
    assert len(limits) == 100
    assert [place.used for place in limits._tenants.values()] == [0]


class Away(LocalShared):
    async def ask(self, command: Any) -> Any:
        raise SharedUnavailable("away")


async def test_without_what_is_shared_each_instance_keeps_the_limit_by_itself(
    journal: SqliteJournal, tmp_path: Path
) -> None:
    clock = SystemClock()
    made = await board(tmp_path, journal, clock, turns_per_minute=50)
    limits = Limits(made, clock=HandClock(), metrics=Metrics(), shared=Away(clock))
    assert await passed(limits, 80) == 50


async def test_instances_over_redis_keep_one_limit(journal: SqliteJournal, tmp_path: Path) -> None:
    clock = HandClock()
    made = await board(tmp_path, journal, clock, turns_per_minute=64)
    with valkey() as server:
        url = f"redis://127.0.0.1:{server.port}"
        stores = [RedisShared(url, clock=SystemClock(), rng=Rng(1), metrics=Metrics(), timeout_s=2.0) for _ in range(3)]
        for store in stores:
            await store.open()
        instances = [Limits(made, clock=clock, metrics=Metrics(), shared=store) for store in stores]
        let_pass = sum([await passed(instances[number % 3], 1) for number in range(120)])
        for store in stores:
            await store.close()
    assert 56 <= let_pass <= 64 + 2 * (64 // 16)


@pytest.mark.parametrize(("sharers", "each"), [(1, 10), (3, 4), (20, 1)])
async def test_processes_that_share_nothing_divide_a_limit(
    journal: SqliteJournal, tmp_path: Path, sharers: int, each: int
) -> None:
    clock = HandClock()
    controls = await board(tmp_path, journal, clock)
    limits = Limits(controls, clock=clock, metrics=Metrics(), sharers=sharers)
    assert await passed(limits, 12) == each


async def test_processes_that_share_a_count_divide_nothing(journal: SqliteJournal, tmp_path: Path) -> None:
    clock = HandClock()
    controls = await board(tmp_path, journal, clock)
    limits = Limits(controls, clock=clock, metrics=Metrics(), sharers=3, shared=LocalShared(clock=clock))
    assert await passed(limits, 12) == 10


@pytest.mark.parametrize(
    ("plan", "quota"),
    [
        ({"turns_per_minute": 0}, "minute"),
        ({"turns_per_day": 0}, "day"),
        ({"bytes_per_day": 5}, "bytes"),
        ({"running_turns": 0}, "running"),
    ],
)
async def test_what_the_plan_never_allows_tells_no_time_at_which_it_would(
    tmp_path: Path, journal: SqliteJournal, plan: dict[str, int], quota: str
) -> None:
    clock = HandClock()
    limits = Limits(await board(tmp_path, journal, clock, **plan), clock=clock, metrics=Metrics())
    with pytest.raises(RateLimited) as refused:
        await limits.take(ANA, 6)
    assert (refused.value.quota, refused.value.retry_after_s) == (quota, None)
    assert all(name != b"retry-after" for name, _ in headers_of(refused.value))
