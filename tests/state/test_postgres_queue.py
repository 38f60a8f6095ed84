from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.state.journal_conformance import ANA, NOW, accept, ids

from ngx_agents.errors import JournalUnavailable
from ngx_agents.resilience.caller import CALLER, Caller
from ngx_agents.state import commands as c
from ngx_agents.state.model import Owner, Profile
from ngx_agents.state.postgres_batches import Job
from ngx_agents.state.postgres_heartbeats import ClaimLanes
from ngx_agents.state.postgres_queue import JobQueue
from ngx_agents.state.postgres_ranked import MAX_BATCH, PATIENCE
from ngx_agents.state.postgres_waiting import Waiting

LANES = [ids.new("c", number) for number in range(3)]
CLAIM = ClaimLanes(limit=1, instance="one")
PROFILE = c.PutProfile(owner=ANA, profile=Profile(), now=NOW)


def waiting(job: Job, loop: asyncio.AbstractEventLoop) -> Waiting:
    return Waiting(job, loop.create_future())


@pytest.fixture
def loop() -> asyncio.AbstractEventLoop:
    made = asyncio.new_event_loop()
    made.close()
    return made


def filled(loop: asyncio.AbstractEventLoop, *jobs: Job) -> tuple[JobQueue, list[Waiting]]:
    queue, made = JobQueue(), [waiting(job, loop) for job in jobs]
    for one in made:
        queue.add(one)
    return queue, made


def test_lane_commands_go_together_and_others_alone(loop: asyncio.AbstractEventLoop) -> None:
    queue, [first, profile, second, claim] = filled(loop, [accept(LANES[0])], [PROFILE], [accept(LANES[1])], CLAIM)
    assert queue.take() == [claim]
    assert queue.take() == [first, second]
    assert queue.take() == [profile]
    assert queue.take() == []


def test_a_lane_that_is_at_work_is_passed_over_until_it_is_done(loop: asyncio.AbstractEventLoop) -> None:
    queue, [first] = filled(loop, [accept(LANES[0])])
    at_work = queue.take()
    later, other = waiting([accept(LANES[0])], loop), waiting([accept(LANES[1])], loop)
    queue.add(later)
    queue.add(other)
    assert at_work == [first]
    assert queue.take() == [other]
    assert queue.take() == []
    queue.done(at_work)
    assert queue.take() == [later]


def test_more_than_a_batch_is_left_for_the_next(loop: asyncio.AbstractEventLoop) -> None:
    queue, made = filled(loop, *([accept(LANES[0])] for _ in range(MAX_BATCH + 1)))
    batch = queue.take()
    assert batch == made[:-1]
    assert queue.take() == []
    queue.done(batch)
    assert queue.take() == made[-1:]


def test_a_full_queue_refuses(loop: asyncio.AbstractEventLoop) -> None:
    queue = JobQueue(max_waiting=2)
    for _ in range(2):
        queue.add(waiting([accept(LANES[0])], loop))
    with pytest.raises(JournalUnavailable):
        queue.add(waiting([accept(LANES[0])], loop))


def of_class(loop: asyncio.AbstractEventLoop, turn_class: int, job: Job, tenant: str = "acme") -> Waiting:
    """As it is handed in for a turn of that class."""
    token = CALLER.set(Caller(tenant, "u", turn_class))
    try:
        return waiting(job, loop)
    finally:
        CALLER.reset(token)


def profile(number: int) -> list[c.Command]:
    return [c.PutProfile(owner=Owner("acme", f"u{number}"), profile=Profile(), now=NOW)]


def test_a_critical_acceptance_is_in_the_next_batch_however_much_waits_that_is_less_urgent(
    loop: asyncio.AbstractEventLoop,
) -> None:
    queue = JobQueue()
    for number in range(1000):
        queue.add(of_class(loop, 3, profile(number)))
        queue.add(of_class(loop, 3, [accept(ids.new("c", number), turn_class=3)]))
    at_work = queue.take()
    critical = waiting([accept(LANES[0], turn_class=0)], loop)
    queue.add(critical)
    queue.done(at_work)
    assert critical in queue.take()


def test_in_a_class_tenants_take_turns(loop: asyncio.AbstractEventLoop) -> None:
    queue = JobQueue()
    noisy = [of_class(loop, 1, profile(number), "noisy") for number in range(50)]
    quiet = [of_class(loop, 1, profile(100 + number), "quiet") for number in range(3)]
    for one in (*noisy, *quiet):
        queue.add(one)
    taken = [queue.take()[0] for _ in range(8)]
    assert [one for one in taken if one in quiet] == quiet


@pytest.mark.parametrize(("turn_class", "within"), [(1, PATIENCE + 1), (0, 2 * PATIENCE + 1)])
def test_what_came_first_is_not_passed_over_for_ever(
    loop: asyncio.AbstractEventLoop, turn_class: int, within: int
) -> None:
    queue = JobQueue()
    batch = of_class(loop, 3, profile(0))
    queue.add(batch)
    for number in range(100):
        queue.add(of_class(loop, turn_class, profile(1 + number)))
    taken: list[Waiting] = []
    while batch not in taken:
        taken = queue.take()
        queue.done(taken)
        queue.add(of_class(loop, turn_class, profile(1000 + len(queue))))
        within -= 1
    assert within == 0


def test_who_is_urgent_lends_that_to_what_it_has_to_wait_for(loop: asyncio.AbstractEventLoop) -> None:
    queue = JobQueue()
    flood = [of_class(loop, 2, profile(number)) for number in range(20)]
    before = of_class(loop, 3, [c.DeleteConversation(id=LANES[0], owner=ANA)])
    urgent = of_class(loop, 0, [accept(LANES[0], turn_class=0)])
    for one in (*flood, before, urgent):
        queue.add(one)
    for expected in (before, urgent):
        batch = queue.take()
        assert expected in batch
        queue.done(batch)


@given(
    jobs=st.lists(
        st.tuples(st.sampled_from(range(3)), st.booleans(), st.integers(0, 3), st.sampled_from("ab")), max_size=60
    ),
    steps=st.lists(st.sampled_from(("add", "add", "take", "done")), max_size=200),
)
def test_whatever_the_ranks_each_is_taken_once_and_lines_keep_their_order(
    jobs: list[tuple[int, bool, int, str]], steps: list[str]
) -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    release = [c.ReleaseLane(conversation_id=lane, epoch=1) for lane in LANES]
    remove = [c.DeleteConversation(id=lane, owner=ANA) for lane in LANES]
    made = [
        of_class(loop, turn_class, [(release if grouped else remove)[lane]], tenant)
        for lane, grouped, turn_class, tenant in jobs
    ]
    queue, coming, taken = JobQueue(), list(made), list[Waiting]()
    at_work: list[list[Waiting]] = []
    for step in [*steps, *["add"] * len(made), *["take", "done"] * (2 * len(made) + 200)]:
        if step == "add" and coming:
            queue.add(coming.pop(0))
        elif step == "take" and (batch := queue.take()):
            touched = {name for others in at_work for one in others for name in one.touches}
            assert touched.isdisjoint(name for one in batch for name in one.touches)
            at_work.append(batch)
            taken.extend(batch)
        elif step == "done" and at_work:
            queue.done(at_work.pop(0))
    assert len(queue) == 0
    assert len(taken) == len(made) == len({id(one) for one in taken})
    for lane in LANES:
        assert [one for one in taken if lane in one.touches] == [one for one in made if lane in one.touches]


@given(
    kinds=st.lists(st.tuples(st.sampled_from(range(3)), st.booleans()), max_size=30),
    steps=st.lists(st.booleans(), max_size=60),
)
def test_what_touches_the_same_keeps_its_order_and_is_never_at_work_twice(
    kinds: list[tuple[int, bool]], steps: list[bool]
) -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    release = [c.ReleaseLane(conversation_id=lane, epoch=1) for lane in LANES]
    remove = [c.DeleteConversation(id=lane, owner=ANA) for lane in LANES]
    queue, made = filled(loop, *([(release if grouped else remove)[lane]] for lane, grouped in kinds))
    at_work: list[list[Waiting]] = []
    taken: list[Waiting] = []
    for takes in [*steps, *[False] * len(steps), *[True, False] * len(made)]:
        if takes and (batch := queue.take()):
            touched = {name for others in at_work for one in others for name in one.touches}
            assert touched.isdisjoint(name for one in batch for name in one.touches)
            at_work.append(batch)
            taken.extend(batch)
        elif at_work:
            queue.done(at_work.pop(0))
    assert len(queue) == 0
    for lane in LANES:
        assert [one for one in taken if lane in one.touches] == [one for one in made if lane in one.touches]
