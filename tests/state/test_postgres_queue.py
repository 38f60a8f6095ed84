from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.state.journal_conformance import ANA, NOW, accept, ids

from ngx_agents.errors import JournalUnavailable
from ngx_agents.state import commands as c
from ngx_agents.state.model import Profile
from ngx_agents.state.postgres_batches import Job
from ngx_agents.state.postgres_heartbeats import ClaimLanes
from ngx_agents.state.postgres_queue import MAX_BATCH, JobQueue, Waiting

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
    assert queue.take() == [first, second]
    assert queue.take() == [profile]
    assert queue.take() == [claim]
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
