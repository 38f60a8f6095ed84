from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.state.journal_conformance import ANA, NOW, accept, conversation, finish, tell

from ngx_agents.state import commands as c
from ngx_agents.state.memory_tier import MemoryTier
from ngx_agents.state.model import Profile
from ngx_agents.state.sqlite import SqliteJournal


class CountingJournal(SqliteJournal):
    reads = 0

    async def query(self, question: c.Question) -> Any:
        self.reads += 1
        return await super().query(question)


@pytest.fixture
async def inner(tmp_path: Path) -> AsyncIterator[CountingJournal]:
    made = CountingJournal(tmp_path / "journal.db")
    await made.open()
    await made.migrate()
    yield made
    await made.close()


def recent(lane: str, before: int) -> c.RecentMessages:
    return c.RecentMessages(conversation_id=lane, owner=ANA, before=before, limit=100)


async def talk(tier: MemoryTier, lane: str, turns: int) -> None:
    for number in range(turns):
        turn = await tell(tier, accept(lane, f"pregunta {number}"))
        await tell(tier, finish(lane, turn.turn_id, turn.epoch))


async def test_a_conversation_that_goes_on_is_read_from_memory(inner: CountingJournal) -> None:
    tier = MemoryTier(inner)
    lane = await conversation(tier)
    await talk(tier, lane, 3)
    messages = await tier.query(recent(lane, 7))
    assert inner.reads == 0
    assert messages == await inner.query(recent(lane, 7))


async def test_a_copy_that_does_not_reach_the_question_is_not_used(inner: CountingJournal) -> None:
    tier = MemoryTier(inner)
    lane = await conversation(tier)
    await talk(tier, lane, 1)
    turn = await tell(inner, accept(lane, "written behind its back"))
    await tell(inner, finish(lane, turn.turn_id, turn.epoch))
    messages = await tier.query(recent(lane, 5))
    assert [m.text for m in messages][-2] == "written behind its back"


async def test_after_a_miss_the_conversation_is_in_memory_again(inner: CountingJournal) -> None:
    lane = await conversation(inner)
    await talk(MemoryTier(inner), lane, 2)
    tier = MemoryTier(inner)
    for before in (5, 7, 9):
        turn = await tell(tier, accept(lane))
        assert len(await tier.query(recent(lane, before))) == before - 1
        await tell(tier, finish(lane, turn.turn_id, turn.epoch))
    assert inner.reads == 1


async def test_a_short_copy_is_not_taken_for_the_whole_history(inner: CountingJournal) -> None:
    lane = await conversation(inner)
    await talk(MemoryTier(inner), lane, 4)
    tier = MemoryTier(inner)
    short = c.RecentMessages(conversation_id=lane, owner=ANA, before=9, limit=3)
    assert len(await tier.query(short)) == 3
    assert await tier.query(recent(lane, 9)) == await inner.query(recent(lane, 9))
    assert len(await tier.query(short)) == 3
    await talk(tier, lane, 1)
    assert len(await tier.query(recent(lane, 11))) == 10


async def test_a_short_copy_that_grows_serves_as_far_as_it_reaches(inner: CountingJournal) -> None:
    lane = await conversation(inner)
    await talk(MemoryTier(inner), lane, 4)
    tier = MemoryTier(inner)
    await tier.query(c.RecentMessages(conversation_id=lane, owner=ANA, before=9, limit=3))
    await talk(tier, lane, 1)
    assert len(await tier.query(c.RecentMessages(conversation_id=lane, owner=ANA, before=11, limit=5))) == 5
    assert inner.reads == 1
    assert len(await tier.query(recent(lane, 11))) == 10


async def test_copies_go_when_old_messages_do(inner: CountingJournal) -> None:
    tier = MemoryTier(inner)
    lane = await conversation(tier)
    await talk(tier, lane, 2)
    assert len(await tier.query(recent(lane, 5))) == 4
    assert await tell(tier, c.Expire(kind="messages", before=NOW + 60, now=NOW + 10 * 86_400)) == 2
    assert await tier.query(recent(lane, 5)) == ()


async def test_a_cancelled_waiting_turn_leaves_no_wrong_copy(inner: CountingJournal) -> None:
    tier = MemoryTier(inner)
    lane = await conversation(tier)
    first = await tell(tier, accept(lane, "uno"))
    gone = await tell(tier, accept(lane, "nunca"))
    third = await tell(tier, accept(lane, "tres"))
    await tell(tier, c.RequestCancel(turn_id=gone.turn_id, owner=ANA, now=NOW))
    await tell(tier, finish(lane, first.turn_id, 1, grant_to="one"))
    assert third.user_seq == 5
    assert await tier.query(recent(lane, 5)) == await inner.query(recent(lane, 5))


async def test_memory_stays_within_its_bytes(inner: CountingJournal) -> None:
    tier = MemoryTier(inner, max_bytes=20_000)
    for _ in range(10):
        lane = await conversation(tier)
        turn = await tell(tier, accept(lane, "x" * 3000))
        await tell(tier, finish(lane, turn.turn_id, turn.epoch))
        assert tier._size_bytes <= 20_000
    assert 0 < len(tier._recent) < 10


async def test_a_profile_is_read_once_and_own_writes_are_seen(inner: CountingJournal) -> None:
    tier = MemoryTier(inner)
    for _ in range(3):
        assert (await tier.query(c.GetProfile(owner=ANA))).age is None
    assert inner.reads == 1
    await tell(tier, c.PutProfile(owner=ANA, profile=Profile(age=50), now=NOW))
    assert (await tier.query(c.GetProfile(owner=ANA))).age == 50
    await tell(tier, c.EraseUser(owner=ANA))
    assert (await tier.query(c.GetProfile(owner=ANA))).age is None


async def test_questions_that_come_and_are_cancelled_do_not_pile_up(inner: CountingJournal) -> None:
    tier = MemoryTier(inner, max_bytes=200_000)
    lane = await conversation(tier)
    await tell(tier, accept(lane, "runs"))
    for _ in range(300):
        waiting = await tell(tier, accept(lane, "x" * 5_000))
        await tell(tier, c.RequestCancel(turn_id=waiting.turn_id, owner=ANA, now=NOW))
        assert tier._size_bytes <= 200_000
    assert tier._size_bytes == sum(one.size_bytes for one in tier._recent.values())


async def test_a_write_whose_caller_leaves_is_seen_all_the_same(inner: CountingJournal) -> None:
    tier = MemoryTier(inner)
    assert (await tier.query(c.GetProfile(owner=ANA))).age is None
    async with asyncio.TaskGroup() as tasks:
        write = tasks.create_task(tier.transact([c.PutProfile(owner=ANA, profile=Profile(age=50), now=NOW)]))
        await asyncio.sleep(0)
        write.cancel()
    await tier.transact([])
    assert (await tier.query(c.GetProfile(owner=ANA))).age == 50


async def test_a_profile_written_on_one_instance_is_seen_by_the_next_turn_on_another(inner: CountingJournal) -> None:
    one, other = MemoryTier(inner), MemoryTier(inner)
    lane = await conversation(one)
    for age in range(40, 60):
        writer, reader = (one, other) if age % 2 else (other, one)
        assert (await reader.query(c.GetProfile(owner=ANA))).age in (None, age - 1, age - 2)
        await tell(writer, c.PutProfile(owner=ANA, profile=Profile(age=age), now=NOW))
        turn = await tell(reader, accept(lane))
        assert (await reader.query(c.GetProfile(owner=ANA))).age == age
        await tell(reader, finish(lane, turn.turn_id, turn.epoch))


async def test_a_profile_written_elsewhere_is_seen_by_turns_that_are_claimed_or_follow(inner: CountingJournal) -> None:
    one, other = MemoryTier(inner), MemoryTier(inner)
    lane = await conversation(one)
    first = await tell(one, accept(lane))
    await tell(one, accept(lane))
    assert (await one.query(c.GetProfile(owner=ANA))).age is None
    await tell(other, c.PutProfile(owner=ANA, profile=Profile(age=40), now=NOW))
    done = await tell(one, finish(lane, first.turn_id, 1, grant_to="one"))
    assert done.next is not None
    assert (await one.query(c.GetProfile(owner=ANA))).age == 40
    await tell(other, c.PutProfile(owner=ANA, profile=Profile(age=41), now=NOW))
    await tell(one, c.ReleaseLane(conversation_id=lane, epoch=2))
    [_] = await one.claim(1, instance="two", now=NOW)
    assert (await one.query(c.GetProfile(owner=ANA))).age == 41
    await inner.transact([c.ReleaseLane(conversation_id=lane, epoch=3)])


async def test_a_profile_erased_elsewhere_is_not_used_by_the_next_turn(inner: CountingJournal) -> None:
    one, other = MemoryTier(inner), MemoryTier(inner)
    await tell(one, c.PutProfile(owner=ANA, profile=Profile(age=40), now=NOW))
    assert (await one.query(c.GetProfile(owner=ANA))).age == 40
    await tell(other, c.EraseUser(owner=ANA))
    lane = await conversation(other)
    await tell(one, accept(lane))
    assert (await one.query(c.GetProfile(owner=ANA))).age is None


async def test_while_the_profile_stays_it_is_read_once_for_all_turns(inner: CountingJournal) -> None:
    tier = MemoryTier(inner)
    lane = await conversation(tier)
    await tell(tier, c.PutProfile(owner=ANA, profile=Profile(age=40), now=NOW))
    for _ in range(10):
        turn = await tell(tier, accept(lane))
        assert (await tier.query(c.GetProfile(owner=ANA))).age == 40
        await tell(tier, finish(lane, turn.turn_id, turn.epoch))
    assert inner.reads == 1
