"""Batches on the engine: every input once, in order, beside whoever talks, and not when it would be in the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.turns.house import ANA, BEN, House, eventually, request

from ngx_agents.clock import Rng
from ngx_agents.errors import InvalidRequest, NotFound, Overloaded, QuotaExceeded
from ngx_agents.resilience.modes import Mode, Modes
from ngx_agents.state.commands import Batch, BatchResult, GetBatch, ListBatchResults, ListConversations
from ngx_agents.state.model import Owner
from ngx_agents.turns import batch_places
from ngx_agents.turns.batches.cap import BatchCap
from ngx_agents.turns.batches.intake import BatchDesk
from ngx_agents.turns.batches.taker import BatchSettings, BatchTaker
from ngx_agents.turns.engine import TurnEngine
from ngx_agents.turns.model import TurnTicket


class Ticket:
    def __init__(self, out: Entry) -> None:
        self._out = out
        out.inside += 1
        out.most_inside = max(out.most_inside, out.inside)

    def spent(self, *, input_tokens: int, output_tokens: int) -> None: ...

    def release(self) -> None:
        self._out.inside -= 1


class Entry:
    """An entrance that counts who is in, and refuses the owners it is told to."""

    def __init__(self) -> None:
        self.inside = 0
        self.most_inside = 0
        self.refused: set[Owner] = set()

    async def enter(self, owner: Owner, turn_class: int) -> TurnTicket:
        assert turn_class == 3
        if owner in self.refused:
            raise Overloaded("not now", retry_after_s=0.05)
        return Ticket(self)


class Work:
    def __init__(self, house: House, engine: TurnEngine) -> None:
        self.house = house
        self.engine = engine
        self.modes = Modes(clock=house.clock)
        self.entry = Entry()
        self.taker = BatchTaker(
            engine=engine, journal=house.journal, modes=self.modes, enter=self.entry.enter, clock=house.clock,
            rng=Rng(1), metrics=house.metrics, settings=BatchSettings(look_s=0.01, idle_s=0.05, settle_s=0.02),
        )  # fmt: skip
        self.desk = BatchDesk(
            engine=engine, journal=house.journal, taker=self.taker, ids=house.ids, clock=house.clock, max_open=2
        )

    async def batch(self, *texts: str, owner: Owner = ANA, expires_after_s: float = 3600.0) -> str:
        intake = await self.desk.begin(owner, expires_after_s=expires_after_s)
        for number, text in enumerate(texts):
            await intake.add(text, custom_id=f"n{number}")
        return (await intake.start(key=None, digest=b"")).id

    async def shown(self, batch_id: str, owner: Owner = ANA) -> Batch:
        found: Batch = await self.house.journal.query(GetBatch(id=batch_id, owner=owner))
        return found

    async def ended(self, batch_id: str, owner: Owner = ANA) -> Batch:
        async def has_ended() -> bool:
            return (await self.shown(batch_id, owner)).finished_at is not None

        await eventually(has_ended, within_s=20.0)
        return await self.shown(batch_id, owner)

    async def results(self, batch_id: str) -> list[BatchResult]:
        page = await self.house.journal.query(ListBatchResults(batch_id=batch_id, owner=ANA, limit=1000))
        return list(page.items)


@asynccontextmanager
async def working(house: House, *, with_taker: bool = True, **settings: float) -> AsyncIterator[Work]:
    async with house.engine(**settings) as engine:
        work = Work(house, engine)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(work.taker.run()) if with_taker else None
            yield work
            if task is not None:
                task.cancel()


async def test_every_input_is_answered_once_and_results_keep_the_order(house: House) -> None:
    async with working(house) as work:
        batch_id = await work.batch(*(f"numero {number}" for number in range(300)))
        batch = await work.ended(batch_id)
        assert (batch.status, batch.counts.completed, batch.counts.total) == ("completed", 300, 300)
        results = await work.results(batch_id)
        assert [one.answer.text.strip() for one in results if one.answer] == [f"numero {n}" for n in range(300)]
        assert sorted(house.team.order) == sorted(f"numero {n}" for n in range(300))
        assert house.team.most_running > 1
        assert work.entry.inside == 0


async def test_what_fails_fails_alone(house: House) -> None:
    async with working(house) as work:
        batch_id = await work.batch("uno", "break", "tres")
        batch = await work.ended(batch_id)
        assert (batch.status, batch.counts.completed, batch.counts.failed) == ("completed", 2, 1)
        assert [one.status for one in await work.results(batch_id)] == ["completed", "failed", "completed"]


async def test_a_batch_never_takes_the_places_that_are_kept_for_others(house: House) -> None:
    async with working(house, max_running=10) as work:
        batch_id = await work.batch(*(["hold"] * 40))
        await eventually(lambda: work.engine.batches.count == 9)
        await asyncio.sleep(0.1)
        assert work.engine.batches.count == 9
        talk = await house.conversation()
        accepted = await work.engine.accept(request(talk, "hola"))
        assert accepted.epoch is not None
        assert (await work.engine.wait(accepted.turn_id, ANA)).status == "completed"
        house.team.release.set()
        assert (await work.ended(batch_id)).counts.completed == 40


async def test_a_batch_waits_while_others_need_the_places(house: House) -> None:
    async with working(house, max_running=4) as work:
        for _ in range(4):
            await work.engine.accept(request(await house.conversation(), "hold"))
        batch_id = await work.batch("uno", "dos")
        await asyncio.sleep(0.2)
        assert (await work.shown(batch_id)).counts.queued == 2
        house.team.release.set()
        assert (await work.ended(batch_id)).counts.completed == 2


async def test_nothing_is_taken_from_mode_degraded_1_on_and_all_of_it_afterwards(house: House) -> None:
    async with working(house) as work:
        work.modes.force(Mode.DEGRADED_1, by="test", reason="test")
        batch_id = await work.batch("uno", "dos")
        await asyncio.sleep(0.2)
        assert (await work.shown(batch_id)).counts.queued == 2
        work.modes.automatic()
        assert (await work.ended(batch_id)).counts.completed == 2


async def test_a_refusal_at_the_entrance_holds_its_owners_batches_alone(house: House) -> None:
    async with working(house) as work:
        work.entry.refused.add(ANA)
        mine, theirs = await work.batch("uno"), await work.batch("dos", owner=BEN)
        assert (await work.ended(theirs, BEN)).counts.completed == 1
        assert (await work.shown(mine)).counts.queued == 1
        work.entry.refused.clear()
        assert (await work.ended(mine)).counts.completed == 1


async def test_many_that_can_get_nothing_keep_nobody_else_waiting(house: House) -> None:
    async with working(house) as work:
        stuck = [Owner("acme", f"u{number}") for number in range(30)]
        work.entry.refused.update(stuck)
        for owner in stuck:
            await work.batch("uno", owner=owner)
        mine = await work.batch("dos")
        assert (await work.ended(mine)).counts.completed == 1
        assert house.team.order == ["dos"]


async def test_two_batches_advance_together(house: House) -> None:
    async with working(house, max_running=6) as work:
        work.modes.force(Mode.DEGRADED_1, by="test", reason="both are to be there before either is served")
        first = await work.batch(*(["hold"] * 20))
        second = await work.batch(*(["hold"] * 20), owner=BEN)
        work.modes.automatic()
        await eventually(lambda: work.engine.batches.count == 5)
        counts = [(await work.shown(first)).counts.running, (await work.shown(second, BEN)).counts.running]
        house.team.release.set()
        await work.ended(first)
        await work.ended(second, BEN)
        assert min(counts) >= 1


async def test_a_cancelled_batch_stops_what_runs_and_begins_nothing_more(house: House) -> None:
    async with working(house, max_running=4) as work:
        batch_id = await work.batch(*(["hold"] * 20))
        await eventually(lambda: work.engine.batches.count == 3)
        with pytest.raises(NotFound):
            await work.desk.cancel(batch_id, BEN)
        await work.desk.cancel(batch_id, ANA)
        batch = await work.ended(batch_id)
        assert (batch.status, batch.counts.cancelled) == ("cancelled", 20)
        assert len(house.team.order) == 3
        assert work.entry.inside == 0


async def test_inputs_that_no_turn_was_made_of_in_time_expire(house: House) -> None:
    async with working(house) as work:
        work.modes.force(Mode.DEGRADED_1, by="test", reason="test")
        batch_id = await work.batch("uno", expires_after_s=0.05)
        batch = await work.ended(batch_id)
        assert (batch.status, batch.counts.expired) == ("expired", 1)


async def test_another_engine_goes_on_where_one_stopped(house: House) -> None:
    async with working(house) as work:
        batch_id = await work.batch(*(f"n {number}" for number in range(5)), *(["hold"] * 20))
        await eventually(lambda: house.team.running == 20)
    house.team.release.set()
    house.team.order.clear()
    async with working(house) as work:
        assert (await work.ended(batch_id)).counts.completed == 25
    assert sorted(house.team.order) == ["hold"] * 20


async def test_one_turn_at_a_time_in_a_conversation_that_the_inputs_name(house: House) -> None:
    async with working(house) as work:
        lane = await house.conversation()
        intake = await work.desk.begin(ANA, expires_after_s=60.0)
        for number in range(5):
            await intake.add(f"paso {number}", conversation_id=lane)
        started = await intake.start(key=None, digest=b"")
        await work.ended(started.id)
        assert house.team.order == [f"paso {number}" for number in range(5)]
        assert house.team.histories[-1][0] == "paso 0"
        assert len((await house.journal.query(ListConversations(owner=ANA))).items) == 1


async def test_what_cannot_be_a_batch_is_refused_and_leaves_nothing(house: House) -> None:
    async with working(house, with_taker=False) as work:
        intake = await work.desk.begin(ANA, expires_after_s=60.0)
        with pytest.raises(InvalidRequest):
            await intake.start(key=None, digest=b"")
        await intake.add("uno", custom_id="a")
        with pytest.raises(InvalidRequest) as refused:
            await intake.add("dos", custom_id="a")
        assert refused.value.field == "items[1].custom_id"
        await intake.drop()
        others = [await work.desk.begin(ANA, expires_after_s=60.0) for _ in range(2)]
        with pytest.raises(QuotaExceeded):
            await work.desk.begin(ANA, expires_after_s=60.0)
        await others[0].drop()
        await work.desk.begin(ANA, expires_after_s=60.0)


async def test_more_inputs_than_a_batch_may_have_are_refused(house: House) -> None:
    async with working(house, with_taker=False) as work:
        intake = await work.desk.begin(ANA, expires_after_s=60.0)
        for _ in range(10_000):
            await intake.add("x")
        with pytest.raises(InvalidRequest):
            await intake.add("x")


async def test_nothing_of_a_batch_begins_or_goes_on_while_the_way_is_kept(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_places, "GIVE_WAY_S", 0.4)
    monkeypatch.setattr(batch_places, "ON_END_S", 0.4)
    async with working(house) as work:
        batch_id = await work.batch("hold uno dos")
        await eventually(lambda: house.team.running == 1)
        more = await work.desk.begin(ANA, expires_after_s=3600.0)
        await more.add("numero")
        work.engine.batches.announce_other()
        waiting = await more.start(key=None, digest=b"")
        house.team.release.set()
        await asyncio.sleep(0.2)
        assert house.team.order == ["hold uno dos"]
        assert house.team.running == 1
        assert (await work.shown(waiting.id)).counts.queued == 1
        assert (await work.ended(batch_id)).counts.completed == 1
        assert (await work.ended(waiting.id)).counts.completed == 1


async def test_the_way_is_free_again_when_the_turn_it_was_kept_for_has_ended(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_places, "GIVE_WAY_S", 60.0)
    monkeypatch.setattr(batch_places, "ON_END_S", 60.0)
    async with working(house) as work:
        talk = await work.engine.accept(request(await house.conversation(), "hola"))
        batch_id = await work.batch("numero")
        assert (await work.engine.wait(talk.turn_id, ANA)).status == "completed"
        assert (await work.ended(batch_id)).counts.completed == 1


def test_the_cap_climbs_while_it_is_used_and_halves_when_batches_slow_the_loop() -> None:
    cap = BatchCap(places=100, share=0.9)
    seen = []
    for _ in range(40):
        cap.adapt(was_used=True, lag_s=0.001, ended_per_s=500.0)
        seen.append(cap.cap)
    assert seen[0] == 10
    assert seen == sorted(seen)
    assert seen[-1] == 90
    cap.adapt(was_used=False, lag_s=0.001, ended_per_s=500.0)
    assert cap.cap == 90
    cap.adapt(was_used=True, lag_s=0.05, ended_per_s=500.0)
    assert cap.cap == 45
    for _ in range(20):
        cap.adapt(was_used=True, lag_s=0.05, ended_per_s=500.0)
    assert cap.cap == 2
    for _ in range(60):
        cap.adapt(was_used=True, lag_s=0.05, ended_per_s=1.0)
    assert cap.cap == 90, "a loop that somebody else slows holds nothing back"


def test_the_cap_falls_at_once_when_somebody_comes_and_then_climbs_by_ones() -> None:
    cap = BatchCap(places=100, share=0.9)
    for _ in range(40):
        cap.adapt(was_used=True, lag_s=0.0, ended_per_s=500.0)
    assert (cap.cap, cap.at_once) == (90, 32)
    seen = []
    for _ in range(5):
        cap.adapt(was_used=True, lag_s=0.0, ended_per_s=500.0, is_attended=True)
        seen.append(cap.cap)
    assert (seen, cap.at_once) == ([9, 10, 11, 12, 13], 4)
    for _ in range(20):
        cap.adapt(was_used=True, lag_s=0.001, ended_per_s=500.0, is_attended=True)
    assert cap.cap == 1, "beside somebody the loop must be quicker than that"
    cap.adapt(was_used=True, lag_s=0.001, ended_per_s=10.0, is_attended=True)
    assert cap.cap == 2, "so few are not what slows it"


def test_after_a_rest_the_cap_begins_where_it_began() -> None:
    cap = BatchCap(places=100, share=0.9)
    first = cap.cap
    for _ in range(40):
        cap.adapt(was_used=True, lag_s=0.0, ended_per_s=500.0)
    cap.rest()
    assert cap.cap == first
    for _ in range(20):
        cap.adapt(was_used=True, lag_s=0.05, ended_per_s=500.0)
    cap.rest()
    assert cap.cap == 2, "and no higher than a slow loop let it"


async def test_the_cap_rests_while_nothing_is_open(house: House) -> None:
    async with working(house) as work:
        told = house.metrics.gauge("ngx_batch_cap", "").labels()
        await work.ended(await work.batch(*(f"numero {number}" for number in range(200))))
        await asyncio.sleep(0.2)
        await work.ended(await work.batch("uno"))
        assert told.value <= 10


@pytest.mark.parametrize(
    ("used", "at_work", "room"), [(0, 0, 8), (8, 8, 0), (85, 0, 5), (90, 3, 0), (100, 0, 0), (3, 3, 5)]
)
def test_room_is_what_the_cap_and_the_free_places_leave(used: int, at_work: int, room: int) -> None:
    assert BatchCap(places=100, share=0.9).room(used=used, at_work=at_work) == room
