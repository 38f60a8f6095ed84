from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from tests.postgres_process import *  # noqa: F403
from tests.state.journal_conformance import ANA, NOW, accept, conversation, finish, ids, tell

from ngx_agents.clock import SystemClock
from ngx_agents.errors import LeaseLost
from ngx_agents.state import commands as c
from ngx_agents.state.model import LogEntry
from ngx_agents.state.postgres import PostgresJournal, PostgresSettings


@pytest.fixture
async def one(emptied: str) -> AsyncIterator[PostgresJournal]:
    made = PostgresJournal(emptied, clock=SystemClock())
    await made.open()
    yield made
    await made.close()


@pytest.fixture
async def two(emptied: str) -> AsyncIterator[PostgresJournal]:
    made = PostgresJournal(emptied, clock=SystemClock())
    await made.open()
    yield made
    await made.close()


@pytest.fixture
async def database_itself(emptied: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(emptied)
    yield connection
    await connection.close()


async def expire(database_itself: asyncpg.Connection, instance: str) -> None:
    """As if the instance had not beaten for longer than its lease."""
    sql = "UPDATE ngx.instance SET expires_at = statement_timestamp() - interval '1 ms' WHERE id = $1"
    assert await database_itself.execute(sql, instance) == "UPDATE 1"


async def test_claims_of_two_instances_never_overlap_and_miss_nothing(
    one: PostgresJournal, two: PostgresJournal
) -> None:
    await tell(one, c.Beat(instance="one"))
    await tell(two, c.Beat(instance="two"))
    lanes = [await conversation(one) for _ in range(60)]
    await asyncio.gather(*(tell(one, accept(lane, grant_to=None)) for lane in lanes))
    claims = [
        journal.claim(7, instance=name, now=NOW) for _ in range(6) for journal, name in ((one, "one"), (two, "two"))
    ]
    granted = [grant.conversation_id for grants in await asyncio.gather(*claims) for grant in grants]
    assert sorted(granted) == sorted(lanes)


async def test_a_lane_whose_owner_lives_is_left_alone_and_taken_over_when_its_heartbeat_expired(
    one: PostgresJournal, two: PostgresJournal, database_itself: asyncpg.Connection
) -> None:
    assert await tell(one, c.Beat(instance="one", address="http://one")) is False
    lane = await conversation(one)
    turn = await tell(one, accept(lane, "hola"))
    assert await two.claim(10, instance="two", now=NOW + 10**6) == []
    await expire(database_itself, "one")
    [grant] = await two.claim(10, instance="two", now=NOW)
    assert (grant.turn_id, grant.epoch, grant.attempts, grant.text) == (turn.turn_id, 2, 2, "hola")
    assert await tell(one, c.Beat(instance="one")) is False
    assert await tell(one, c.Beat(instance="one")) is True


async def test_a_stale_owner_writes_nothing(
    one: PostgresJournal, two: PostgresJournal, database_itself: asyncpg.Connection
) -> None:
    await tell(one, c.Beat(instance="one"))
    await tell(two, c.Beat(instance="two"))
    lane = await conversation(one)
    turn = await tell(one, accept(lane))
    await expire(database_itself, "one")
    await two.claim(10, instance="two", now=NOW)
    entry = LogEntry(id=ids.new("l", 1), kind="weight", at=NOW, data={"kg": 80})
    place = {"conversation_id": lane, "turn_id": turn.turn_id, "epoch": 1}
    for stale in (
        finish(lane, turn.turn_id, 1),
        c.SaveCheckpoint(**place, key="k", value=b"v"),
        c.RecordEffect(**place, key="k", state="intended", now=NOW),
        c.AddLog(owner=ANA, entry=entry, lease=(lane, turn.turn_id, 1)),
    ):
        with pytest.raises(LeaseLost):
            await tell(one, stale)
    await tell(one, c.ReleaseLane(conversation_id=lane, epoch=1))
    assert await two.claim(10, instance="three", now=NOW) == []
    tables = ("checkpoint", "effect", "log")
    counts = [await database_itself.fetchval(f"SELECT count(*) FROM ngx.{table}") for table in tables]
    assert counts == [0, 0, 0]
    assert await database_itself.fetchval("SELECT count(*) FROM ngx.message") == 1


async def test_an_instance_that_leaves_gives_its_lanes_up_at_once(one: PostgresJournal, two: PostgresJournal) -> None:
    await tell(one, c.Beat(instance="one", lease_s=3600))
    await tell(two, c.Beat(instance="two", lease_s=3600))
    lane = await conversation(one)
    await tell(one, accept(lane))
    assert await two.claim(10, instance="two", now=NOW) == []
    await tell(one, c.Leave(instance="one"))
    assert [grant.conversation_id for grant in await two.claim(10, instance="two", now=NOW)] == [lane]


async def test_a_lane_of_an_instance_that_is_not_known_can_be_claimed(one: PostgresJournal) -> None:
    lane = await conversation(one)
    await tell(one, accept(lane, grant_to="never beat"))
    assert [grant.conversation_id for grant in await one.claim(10, instance="one", now=NOW)] == [lane]


async def test_free_lanes_come_before_those_left_behind_and_the_limit_holds(
    one: PostgresJournal, two: PostgresJournal
) -> None:
    left, free = [await conversation(one) for _ in range(4)], [await conversation(one) for _ in range(4)]
    for lane in left:
        await tell(one, accept(lane, grant_to="gone"))
    for lane in free:
        await tell(one, accept(lane, grant_to=None))
    first = await two.claim(6, instance="two", now=NOW)
    await tell(two, c.Beat(instance="two"))
    assert len(first) == 6
    assert {grant.conversation_id for grant in first} > set(free)
    assert len(await one.claim(6, instance="one", now=NOW)) == 2


async def test_a_lane_that_somebody_is_writing_does_not_hold_up_a_claim(
    one: PostgresJournal, database_itself: asyncpg.Connection
) -> None:
    busy, idle = await conversation(one), await conversation(one)
    for lane in (busy, idle):
        await tell(one, accept(lane, grant_to=None))
    async with database_itself.transaction():
        await database_itself.execute("SELECT FROM ngx.conversation WHERE id = $1 FOR UPDATE", busy)
        async with asyncio.timeout(2):
            assert [grant.conversation_id for grant in await one.claim(9, instance="one", now=NOW)] == [idle]


async def test_who_runs_a_turn_has_an_address_while_it_lives(
    one: PostgresJournal, two: PostgresJournal, database_itself: asyncpg.Connection
) -> None:
    await tell(one, c.Beat(instance="one", address="http://10.0.0.1:8000"))
    await tell(two, c.Beat(instance="two", address="http://10.0.0.2:8000"))
    lane = await conversation(one)
    turn = await tell(one, accept(lane))
    assert await two.query(c.ListInstances()) == (
        c.Instance(id="one", address="http://10.0.0.1:8000", lanes=1),
        c.Instance(id="two", address="http://10.0.0.2:8000", lanes=0),
    )
    question = c.HolderOf(turn_id=turn.turn_id, owner=ANA)
    assert await two.query(question) == c.Holder(instance="one", epoch=1, address="http://10.0.0.1:8000")
    await expire(database_itself, "one")
    assert await two.query(question) is None
    assert [instance.id for instance in await two.query(c.ListInstances())] == ["two"]


async def test_twenty_concurrent_turns_of_one_conversation_from_two_instances_are_twenty_in_one_order(
    one: PostgresJournal, two: PostgresJournal
) -> None:
    lane = await conversation(one)
    commands = [accept(lane, f"texto {number}") for number in range(20)]
    told = zip(commands, [one, two] * 10, strict=True)
    accepted = await asyncio.gather(*(tell(journal, command) for command, journal in told))
    assert sorted(one.position for one in accepted) == list(range(20))
    page = await two.query(c.ListMessages(conversation_id=lane, owner=ANA))
    by_position = sorted(zip(accepted, commands, strict=True), key=lambda pair: pair[0].position)
    assert [m.text for m in page.items] == [command.text for _, command in by_position]


async def test_batches_of_two_instances_on_the_same_lanes_do_not_wait_for_each_other_in_a_ring(
    one: PostgresJournal, two: PostgresJournal, database_itself: asyncpg.Connection
) -> None:
    lanes = [await conversation(one) for _ in range(12)]
    before = await database_itself.fetchval("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")

    async def told(journal: PostgresJournal, order: list[str]) -> None:
        for _ in range(5):
            await asyncio.gather(*(tell(journal, accept(lane, max_waiting=1000)) for lane in order))

    await asyncio.gather(told(one, lanes), told(two, lanes[::-1]), told(one, lanes[::-1]), told(two, lanes))
    await database_itself.execute("SELECT pg_stat_force_next_flush()")
    after = await database_itself.fetchval("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    assert after == before
    pending = await database_itself.fetch("SELECT pending, next_turn FROM ngx.conversation")
    assert {(row[0], row[1]) for row in pending} == {(20, 21)}


async def test_one_key_told_to_two_instances_for_two_conversations_makes_one_turn(
    one: PostgresJournal, two: PostgresJournal, database_itself: asyncpg.Connection
) -> None:
    lanes = [await conversation(one) for _ in range(8)]
    keyed = {"idempotency_key": "k", "idempotency_hash": b"1"}
    told = [tell(journal, accept(lane, **keyed)) for lane in lanes for journal in (one, two)]
    accepted = await asyncio.gather(*told)
    assert len({one.turn_id for one in accepted}) == 1
    assert await database_itself.fetchval("SELECT count(*) FROM ngx.turn") == 1


async def test_an_instance_whose_writers_all_wait_for_locks_still_beats(
    emptied: str, database_itself: asyncpg.Connection
) -> None:
    journal = PostgresJournal(emptied, clock=SystemClock(), settings=PostgresSettings(writers=2))
    await journal.open()
    lanes = [await conversation(journal) for _ in range(4)]
    async with database_itself.transaction():
        await database_itself.execute("SELECT FROM ngx.conversation FOR UPDATE")
        stuck = asyncio.gather(*(tell(journal, accept(lane)) for lane in lanes))
        await asyncio.sleep(0.05)
        async with asyncio.timeout(2):
            assert await tell(journal, c.Beat(instance="one")) is False
            assert await tell(journal, c.Beat(instance="one")) is True
        assert not stuck.done()
    assert [accepted.epoch for accepted in await stuck] == [1] * 4
    await journal.close()
