"""What every journal must do with schedules. Imported like its siblings."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from tests.state.journal_conformance import ANA, BEN, NOW, accept, conversation, ids, tell

from ngx_agents.errors import Overloaded, QuotaExceeded
from ngx_agents.state import commands as c
from ngx_agents.state.ids import shard_of
from ngx_agents.state.journal import Journal
from ngx_agents.state.model import Owner

SHARD = shard_of(ANA.user)
DUE = NOW + 100


def planned(owner: Owner = ANA, **changes: Any) -> c.Schedule:
    values: dict[str, Any] = {
        "id": ids.new("s", SHARD), "owner": owner, "at": "07:30", "weekdays": (1, 3, 5), "zone": "Europe/Madrid",
        "text": "¿Cómo has dormido?", "conversation_id": ids.new("c", SHARD), "created_at": NOW, "next_at": DUE,
        "agent": "coach", "locale": "es",
    }  # fmt: skip
    return c.Schedule(**(values | changes))


async def put(journal: Journal, schedule: c.Schedule, most: int = 5) -> c.Schedule:
    await tell(journal, c.PutSchedule(schedule=schedule, max_schedules=most))
    return schedule


def fire(schedule: c.Schedule, **changes: Any) -> c.FireSchedule:
    values: dict[str, Any] = {
        "id": schedule.id, "owner": schedule.owner, "seen_at": schedule.next_at, "due_at": schedule.next_at,
        "next_at": schedule.next_at + 1000, "skipped": 0, "turn_id": ids.new("t", SHARD), "turn_class": 2,
        "instance": "one", "now": DUE + 5, "deadline_at": DUE + 95,
    }  # fmt: skip
    return c.FireSchedule(**(values | changes))


async def due(journal: Journal, now: float = DUE, **more: Any) -> list[str]:
    return [one.id for one in await journal.query(c.DueSchedules(now=now, limit=10, **more))]


async def test_a_schedule_is_kept_as_it_was_put(journal: Journal) -> None:
    schedule = await put(journal, planned())
    assert await journal.query(c.GetSchedule(id=schedule.id, owner=ANA)) == schedule
    assert await journal.query(c.ListSchedules(owner=ANA)) == (schedule,)
    changed = await put(journal, msgspec.structs.replace(schedule, at="08:00", is_paused=True, text="otra"))
    assert await journal.query(c.ListSchedules(owner=ANA)) == (changed,)
    assert await tell(journal, c.DeleteSchedule(id=schedule.id, owner=ANA)) is True
    assert await tell(journal, c.DeleteSchedule(id=schedule.id, owner=ANA)) is False
    assert await journal.query(c.ListSchedules(owner=ANA)) == ()


async def test_a_schedule_is_its_owners_alone(journal: Journal) -> None:
    schedule = await put(journal, planned())
    assert await journal.query(c.GetSchedule(id=schedule.id, owner=BEN)) is None
    assert await journal.query(c.ListSchedules(owner=BEN)) == ()
    assert await tell(journal, c.DeleteSchedule(id=schedule.id, owner=BEN)) is False
    assert await tell(journal, fire(schedule, owner=BEN)) is None
    await put(journal, msgspec.structs.replace(schedule, owner=BEN, text="mía"))
    assert await journal.query(c.GetSchedule(id=schedule.id, owner=ANA)) == schedule


async def test_a_schedule_that_is_due_makes_one_turn_and_is_due_again_later(journal: Journal) -> None:
    schedule = await put(journal, planned())
    assert (await due(journal, DUE - 1), await due(journal)) == ([], [schedule.id])
    told = fire(schedule, skipped=3, due_at=DUE + 2)
    fired = await tell(journal, told)
    grant = fired.grant
    assert (grant.text, grant.turn_class, grant.turn_id, grant.owner) == (schedule.text, 2, told.turn_id, ANA)
    assert (grant.agent, grant.locale, grant.conversation_id) == ("coach", "es", schedule.conversation_id)
    assert await tell(journal, fire(schedule)) is None
    assert await due(journal) == []
    kept = await journal.query(c.GetSchedule(id=schedule.id, owner=ANA))
    assert (kept.next_at, kept.last_due_at, kept.last_run_at) == (DUE + 1000, DUE + 2, DUE + 5)
    assert (kept.last_turn_id, kept.skipped) == (told.turn_id, 3)
    assert (await journal.query(c.GetConversation(id=schedule.conversation_id, owner=ANA))).title == schedule.text


async def test_instances_that_fire_at_once_make_one_turn(journal: Journal) -> None:
    schedule = await put(journal, planned())
    fired = await asyncio.gather(*(tell(journal, fire(schedule, instance=f"i{n}")) for n in range(8)))
    assert sum(one is not None for one in fired) == 1
    page = await journal.query(c.ListMessages(conversation_id=schedule.conversation_id, owner=ANA))
    assert [message.text for message in page.items] == [schedule.text]


async def test_what_is_changed_or_paused_meanwhile_is_not_fired(journal: Journal) -> None:
    schedule = await put(journal, planned())
    await put(journal, msgspec.structs.replace(schedule, is_paused=True))
    assert await due(journal) == []
    assert await tell(journal, fire(schedule)) is None
    await put(journal, msgspec.structs.replace(schedule, next_at=DUE + 7))
    assert await tell(journal, fire(schedule)) is None
    assert await due(journal, DUE + 7) == [schedule.id]


async def test_its_turn_waits_behind_what_runs_in_its_conversation(journal: Journal) -> None:
    lane = await conversation(journal)
    await tell(journal, accept(lane))
    schedule = await put(journal, planned(conversation_id=lane))
    told = fire(schedule, turn_id=ids.new("t", 1))
    assert (await tell(journal, told)).grant is None
    assert (await journal.query(c.GetTurn(id=told.turn_id, owner=ANA))).status == "queued"


async def test_one_whose_conversation_takes_no_more_stays_due(journal: Journal) -> None:
    lane = await conversation(journal)
    for _ in range(101):
        await tell(journal, accept(lane))
    schedule = await put(journal, planned(conversation_id=lane))
    with pytest.raises(Overloaded):
        await tell(journal, fire(schedule))
    assert await due(journal) == [schedule.id]


async def test_an_owner_has_so_many_schedules_and_no_more(journal: Journal) -> None:
    results = await asyncio.gather(
        *(journal.transact([c.PutSchedule(schedule=planned(), max_schedules=3)]) for _ in range(6))
    )
    assert sum(isinstance(result[0], QuotaExceeded) for result in results) == 3
    [one, *_] = await journal.query(c.ListSchedules(owner=ANA))
    await put(journal, msgspec.structs.replace(one, text="cambiada"), most=3)


async def test_what_is_due_comes_in_pages_longest_due_first(journal: Journal) -> None:
    made = [await put(journal, planned(next_at=DUE + number % 3), most=9) for number in range(6)]
    ordered = [one.id for one in sorted(made, key=lambda one: (one.next_at, one.id))]
    found: list[str] = []
    after = (0.0, "")
    while page := await journal.query(c.DueSchedules(now=DUE + 9, limit=2, after=after)):
        found.extend(one.id for one in page)
        after = (page[-1].next_at, page[-1].id)
    assert found == ordered


async def test_schedules_are_exported_and_erased_with_their_owner(journal: Journal) -> None:
    schedule = await put(journal, planned())
    exported = await journal.query(c.ExportUser(owner=ANA))
    assert [one["id"] for one in exported["schedules"]] == [schedule.id]
    assert (await tell(journal, c.EraseUser(owner=ANA)))["schedule"] == 1
    assert await due(journal) == []
