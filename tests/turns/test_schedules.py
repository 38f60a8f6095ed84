"""Schedules on the engine: each time once, late rather than twice, and not when it would be in the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
from tests.turns.house import ANA, House, eventually, request
from tests.turns.test_batches import Entry, Ticket

from ngx_agents.clock import Rng
from ngx_agents.errors import Overloaded
from ngx_agents.resilience.modes import Mode, Modes
from ngx_agents.state.commands import DeleteConversation, GetSchedule, ListMessages, PutSchedule, Schedule
from ngx_agents.state.ids import shard_of
from ngx_agents.state.model import Owner
from ngx_agents.turns.engine import TurnEngine
from ngx_agents.turns.model import TurnTicket
from ngx_agents.turns.schedules.runner import ScheduleRunner, ScheduleSettings

DAY_S = 86_400.0


class Entrance(Entry):
    """The same for the background class."""

    async def enter(self, owner: Owner, turn_class: int) -> TurnTicket:
        assert turn_class == 2
        if owner in self.refused:
            raise Overloaded("not now", retry_after_s=0.05)
        return Ticket(self)


class Plan:
    def __init__(self, house: House, engine: TurnEngine) -> None:
        self.house = house
        self.engine = engine
        self.modes = Modes(clock=house.clock)
        self.entry = Entrance()
        self.runner = ScheduleRunner(
            engine=engine, journal=house.journal, modes=self.modes, enter=self.entry.enter, ids=house.ids,
            clock=house.clock, rng=Rng(1), metrics=house.metrics, settings=ScheduleSettings(look_s=0.02),
        )  # fmt: skip

    async def due(self, text: str = "hola", *, ago_s: float = 1.0, lane: str | None = None, owner: Owner = ANA) -> str:
        """A daily one that has been due for so long."""
        now_s = self.house.clock.now_s()
        shard = shard_of(owner.user)
        schedule = Schedule(
            id=self.house.ids.new("s", shard), owner=owner, at="12:00", weekdays=(1, 2, 3, 4, 5, 6, 7), zone="UTC",
            text=text, conversation_id=lane or self.house.ids.new("c", shard), created_at=now_s, next_at=now_s - ago_s,
        )  # fmt: skip
        [result] = await self.house.journal.transact([PutSchedule(schedule=schedule, max_schedules=100)])
        assert result is None
        return schedule.id

    async def shown(self, schedule_id: str) -> Schedule:
        found: Schedule = await self.house.journal.query(GetSchedule(id=schedule_id, owner=ANA))
        return found

    async def sent(self, schedule_id: str) -> Schedule:
        async def was_sent() -> bool:
            return (await self.shown(schedule_id)).last_turn_id is not None

        await eventually(was_sent, within_s=10.0)
        return await self.shown(schedule_id)


@asynccontextmanager
async def planned(house: House, *, runners: int = 1) -> AsyncIterator[Plan]:
    async with house.engine() as engine:
        plan = Plan(house, engine)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(plan.runner.run()) for _ in range(runners)]
            yield plan
            for task in tasks:
                task.cancel()


async def test_a_message_is_sent_once_when_it_is_due_and_answered(house: House) -> None:
    async with planned(house) as plan:
        schedule = await plan.sent(await plan.due("buenos dias"))
        assert schedule.last_turn_id is not None
        view = await plan.engine.wait(schedule.last_turn_id, ANA)
        assert (view.status, view.text.strip()) == ("completed", "buenos dias")
        assert schedule.next_at > house.clock.now_s()
        await asyncio.sleep(0.1)
        assert house.team.order == ["buenos dias"]
        assert plan.entry.inside == 0


async def test_what_was_missed_for_days_is_sent_once_and_the_rest_counted(house: House) -> None:
    async with planned(house) as plan:
        schedule = await plan.sent(await plan.due(ago_s=3 * DAY_S))
        await asyncio.sleep(0.1)
        assert house.team.order == ["hola"]
        assert 2 <= schedule.skipped <= 3
        assert schedule.last_due_at is not None
        assert house.clock.now_s() - schedule.last_due_at <= DAY_S


async def test_nothing_is_sent_from_mode_degraded_1_on_and_late_afterwards(house: House) -> None:
    async with planned(house) as plan:
        plan.modes.force(Mode.DEGRADED_1, by="test", reason="test")
        schedule_id = await plan.due()
        await asyncio.sleep(0.15)
        assert (await plan.shown(schedule_id)).last_turn_id is None
        plan.modes.automatic()
        schedule = await plan.sent(schedule_id)
        assert schedule.last_run_at is not None
        assert schedule.last_due_at is not None
        assert schedule.last_run_at - schedule.last_due_at >= 1.0


async def test_runners_that_look_at_once_send_each_message_once(house: House) -> None:
    async with planned(house, runners=4) as plan:
        ids = [await plan.due(f"numero {number}") for number in range(30)]
        for schedule_id in ids:
            await plan.sent(schedule_id)
        await eventually(lambda: len(house.team.order) == 30)
        await asyncio.sleep(0.1)
        assert sorted(house.team.order) == sorted(f"numero {number}" for number in range(30))
        assert plan.entry.inside == 0


async def test_who_is_refused_at_the_entrance_is_sent_later_and_holds_nobody_up(house: House) -> None:
    async with planned(house) as plan:
        plan.entry.refused.add(ANA)
        mine = await plan.due("mio")
        await plan.due("suyo", owner=Owner("acme", "ben"))
        await eventually(lambda: house.team.order == ["suyo"])
        plan.entry.refused.clear()
        await plan.sent(mine)
        await eventually(lambda: house.team.order == ["suyo", "mio"])


async def test_a_message_waits_behind_what_runs_in_its_conversation(house: House) -> None:
    async with planned(house) as plan:
        lane = await house.conversation()
        await plan.engine.accept(request(lane, "hold"))
        schedule = await plan.sent(await plan.due("despues", lane=lane))
        assert schedule.last_turn_id is not None
        assert (await plan.engine.view(schedule.last_turn_id, ANA)).status == "queued"
        house.team.release.set()
        assert (await plan.engine.wait(schedule.last_turn_id, ANA)).status == "completed"
        assert house.team.order == ["hold", "despues"]


async def test_a_conversation_that_was_deleted_is_made_again(house: House) -> None:
    async with planned(house) as plan:
        lane = await house.conversation()
        [gone] = await house.journal.transact([DeleteConversation(id=lane, owner=ANA)])
        assert gone is True
        schedule = await plan.sent(await plan.due("hola", lane=lane))
        assert schedule.last_turn_id is not None
        await plan.engine.wait(schedule.last_turn_id, ANA)
        page = await house.journal.query(ListMessages(conversation_id=lane, owner=ANA))
        assert [message.text.strip() for message in page.items] == ["hola", "hola"]


async def test_a_paused_one_is_not_sent(house: House) -> None:
    async with planned(house) as plan:
        plan.modes.force(Mode.DEGRADED_1, by="test", reason="until it is paused")
        schedule = await plan.shown(await plan.due())
        paused = msgspec.structs.replace(schedule, is_paused=True)
        await house.journal.transact([PutSchedule(schedule=paused, max_schedules=100)])
        plan.modes.automatic()
        await asyncio.sleep(0.15)
        assert house.team.order == []


async def test_one_that_was_sent_by_a_killed_engine_is_answered_by_the_next(house: House) -> None:
    async with planned(house) as plan:
        schedule = await plan.sent(await plan.due("hold"))
        await eventually(lambda: house.team.running == 1)
    house.team.release.set()
    async with planned(house) as plan:
        assert schedule.last_turn_id is not None
        assert (await plan.engine.wait(schedule.last_turn_id, ANA)).status == "completed"
        assert house.team.order == ["hold", "hold"]
