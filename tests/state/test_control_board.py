"""What operators decided, as an instance knows it: followed within seconds, kept while the journal is away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.memory_journal import opened
from tests.state.watched_journal import WatchedJournal

from ngx_agents.clock import SystemClock
from ngx_agents.state.commands import PutControl
from ngx_agents.state.control_board import AT_ONCE, EVERY_S, ControlBoard
from ngx_agents.state.controls import Flag, Plan
from ngx_agents.state.flags import BUCKETS, bucket_of, is_on_for
from ngx_agents.state.model import Owner
from ngx_agents.telemetry.metrics import Metrics

ANA = Owner("acme", "ana")


@pytest.fixture
async def journal() -> AsyncIterator[WatchedJournal]:
    async with opened(WatchedJournal()) as made:
        yield made


def board(journal: WatchedJournal, **more: Any) -> ControlBoard:
    return ControlBoard(journal, clock=SystemClock(), metrics=Metrics(), **more)


async def put(journal: WatchedJournal, kind: Any, name: str, body: Any = None) -> None:
    told = b"" if body is None else json.dumps(body).encode()
    await journal.transact([PutControl(kind=kind, id=name, body=told, now=1.0)])


async def test_every_instance_follows_within_its_interval_and_that_is_under_five_seconds(
    journal: WatchedJournal,
) -> None:
    assert EVERY_S < 4.0
    changed = [asyncio.Event(), asyncio.Event()]
    async with board(journal, every_s=0.02) as one, board(journal, every_s=0.02) as other:
        for follower, event in zip((one, other), changed, strict=True):
            follower.on_change(event.set)
        await put(journal, "stop", "tenant:acme", {})
        async with asyncio.timeout(5):
            await asyncio.gather(*(event.wait() for event in changed))
        assert one.stopped("acme", "x") == other.stopped("acme", "x") == "tenant:acme"


async def test_what_is_known_holds_while_the_journal_is_away(journal: WatchedJournal) -> None:
    made = board(journal)
    await put(journal, "plan", "default", {"turns_per_minute": 7})
    await made.refresh()
    journal.is_away = True
    await made.try_refresh()
    assert made.rules_of(ANA).plan.turns_per_minute == 7
    async with board(journal) as late:
        assert late.rules_of(ANA).plan == Plan()
        journal.is_away = False
        await late.refresh()
        assert late.rules_of(ANA).plan.turns_per_minute == 7


async def test_more_changes_than_one_answer_holds_are_all_read(journal: WatchedJournal) -> None:
    commands = [PutControl(kind="flag", id=f"f{number}", body=b"{}", now=1.0) for number in range(AT_ONCE + 5)]
    await journal.transact(commands)
    made = board(journal)
    await made.refresh()
    assert len(made.all_of(Flag)) == AT_ONCE + 5
    journal.asked.clear()
    await made.refresh()
    assert journal.asked == ["ListControls"]


async def test_what_a_newer_program_wrote_leaves_what_was_known(journal: WatchedJournal) -> None:
    made = board(journal)
    await put(journal, "plan", "default", {"turns_per_minute": 7})
    await made.refresh()
    await put(journal, "plan", "default", {"turns_per_minute": 8, "turns_per_eon": 1})
    await put(journal, "plan", "gold", {"turns_per_minute": 9})
    await made.refresh()
    assert {name: plan.turns_per_minute for name, plan in made.all_of(Plan).items()} == {"default": 7, "gold": 9}


async def test_a_removed_plan_leaves_its_tenants_the_default_one(journal: WatchedJournal) -> None:
    made = board(journal)
    await put(journal, "plan", "gold", {"turns_per_minute": 600})
    await put(journal, "tenant", "acme", {"plan": "gold"})
    await made.refresh()
    assert made.rules_of(ANA).plan.turns_per_minute == 600
    await put(journal, "plan", "gold")
    await made.refresh()
    assert made.rules_of(ANA).plan == Plan()


async def test_a_flag_that_nobody_set_is_off(journal: WatchedJournal) -> None:
    made = board(journal)
    assert not made.is_flag_on("new", ANA)
    await put(journal, "flag", "new", {"share_percent": 100})
    await made.refresh()
    assert made.is_flag_on("new", ANA)


def on(flag: Flag, name: str = "new", plan: str = "default", owner: Owner = ANA) -> bool:
    return is_on_for(flag, name, owner, plan=plan)


def test_a_flag_is_narrowed_by_tenant_and_plan_and_on_for_those_it_names() -> None:
    everybody = Flag(share_percent=100)
    assert on(everybody)
    assert not on(Flag(share_percent=100, is_on=False, users=("acme/ana",)))
    assert not on(Flag(share_percent=0))
    assert on(Flag(users=("acme/ana",)))
    assert not on(Flag(users=("acme/ben",)))
    assert on(Flag(share_percent=100, tenants=("acme",)))
    assert not on(Flag(share_percent=100, tenants=("other",)))
    assert on(Flag(share_percent=100, plans=("gold",)), plan="gold")
    assert not on(Flag(share_percent=100, plans=("gold",)))


def test_a_share_is_that_share_of_the_users_and_stays_theirs_when_it_grows() -> None:
    users = [Owner("acme", f"u{number}") for number in range(20_000)]
    ten = {user for user in users if on(Flag(share_percent=10), owner=user)}
    twenty = {user for user in users if on(Flag(share_percent=20), owner=user)}
    assert 0.09 < len(ten) / len(users) < 0.11
    assert ten < twenty


def test_the_users_of_one_flags_share_are_not_those_of_anothers() -> None:
    users = [Owner("acme", f"u{number}") for number in range(20_000)]
    first = {user for user in users if bucket_of("first", user) < BUCKETS // 10}
    second = {user for user in users if bucket_of("second", user) < BUCKETS // 10}
    assert 0.05 < len(first & second) / len(first) < 0.2
