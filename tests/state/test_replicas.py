from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import asyncpg
import pytest
from tests.ports import free_port
from tests.postgres_process import *  # noqa: F403
from tests.postgres_process import PostgresServer
from tests.state.journal_conformance import *  # noqa: F403
from tests.state.journal_conformance import ANA, BEN, NOW, accept, conversation, finish, tell
from tests.state.journal_conformance_operations import *  # noqa: F403

from ngx_agents.clock import Rng, SystemClock
from ngx_agents.errors import JournalUnavailable
from ngx_agents.state import commands as c
from ngx_agents.state.failover_late import LateJournal
from ngx_agents.state.journal import Journal
from ngx_agents.state.model import Profile
from ngx_agents.state.postgres import PostgresJournal, PostgresSettings
from ngx_agents.state.postgres_connections import Timeouts
from ngx_agents.state.replicas import ReplicaJournal, ReplicaSettings
from ngx_agents.telemetry.metrics import Metrics

QUICK = PostgresSettings(
    timeouts=Timeouts(connect_s=3.0, statement_s=1.0, lock_s=0.5, idle_in_transaction_s=1.0, call_s=3.0)
)
WATCHFUL = ReplicaSettings(watch_s=0.05)


class Pair:
    """A primary and its streaming replica."""

    def __init__(self, primary: PostgresServer, replica: PostgresServer, url: str) -> None:
        self.primary = primary
        self.replica = replica
        self.url = url
        self.replica_url = replica.url(url.rsplit("/", 1)[1])

    async def on_replica(self, sql: str) -> None:
        connection = await asyncpg.connect(self.replica_url)
        try:
            await connection.execute(sql)
        finally:
            await connection.close()

    @asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        await self.on_replica("SELECT pg_wal_replay_pause()")
        try:
            yield
        finally:
            await self.on_replica("SELECT pg_wal_replay_resume()")


def made(pair: Pair, metrics: Metrics, settings: ReplicaSettings = WATCHFUL, **others: str) -> ReplicaJournal:
    urls = {"near": pair.replica_url} | others

    def postgres(url: str) -> Journal:
        return PostgresJournal(url, clock=SystemClock(), settings=QUICK)

    return ReplicaJournal(
        LateJournal(lambda: postgres(pair.url), name="primary", clock=SystemClock()),
        {name: (lambda url=url: postgres(url)) for name, url in urls.items()},
        clock=SystemClock(),
        rng=Rng(1),
        metrics=metrics,
        settings=settings,
    )


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[PostgresServer, PostgresServer]]:
    with PostgresServer(fsync="off") as primary:
        asyncio.run(primary.emptied_journal())
        replica = primary.replica()
        try:
            yield primary, replica
        finally:
            replica.remove()


@pytest.fixture
async def pair(servers: tuple[PostgresServer, PostgresServer]) -> Pair:
    return Pair(*servers, await servers[0].emptied_journal())


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture(params=["everywhere", pytest.param("instance", marks=pytest.mark.slow)])
async def journal(request: pytest.FixtureRequest, pair: Pair, metrics: Metrics) -> AsyncIterator[ReplicaJournal]:
    one = made(pair, metrics, ReplicaSettings(watch_s=0.05, freshness=request.param))
    await one.open()
    yield one
    await one.close()


def reads(metrics: Metrics, source: str) -> float:
    return metrics.counter("ngx_journal_reads_total", "", "source").labels(source).value


async def until(condition: object, within_s: float = 5.0) -> None:
    assert callable(condition)
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - the servers are other processes
            await asyncio.sleep(0.01)


async def test_history_is_read_from_the_replica_and_has_what_was_just_written(
    journal: ReplicaJournal, metrics: Metrics
) -> None:
    for number in range(30):
        await tell(journal, c.PutProfile(owner=ANA, profile=Profile(age=number + 1), now=NOW))
        assert (await journal.query(c.GetProfile(owner=ANA))).age == number + 1
    assert reads(metrics, "replica") >= 25


async def test_while_replay_stands_still_reads_have_every_own_write_and_never_go_back(
    journal: ReplicaJournal, pair: Pair, metrics: Metrics
) -> None:
    await tell(journal, c.PutProfile(owner=ANA, profile=Profile(age=1), now=NOW))
    assert (await journal.query(c.GetProfile(owner=ANA))).age == 1
    async with pair.paused():
        seen = 1
        for number in range(2, 12):
            await tell(journal, c.PutProfile(owner=ANA, profile=Profile(age=number), now=NOW))
            for _ in range(3):
                found = (await journal.query(c.GetProfile(owner=ANA))).age
                assert found == number >= seen
                seen = found
        by_primary = reads(metrics, "primary")
        assert by_primary >= 29
        lag = metrics.gauge("ngx_journal_replica_lag_bytes", "", "replica").labels("near")
        age = metrics.gauge("ngx_journal_replica_lag_seconds", "", "replica").labels("near")
        await until(lambda: lag.value > 0 and age.value > 0.05)
    await until(lambda: lag.value == 0)
    before = reads(metrics, "replica")
    assert (await journal.query(c.GetProfile(owner=ANA))).age == 11
    assert reads(metrics, "replica") == before + 1


async def test_a_standing_replica_costs_the_bounded_wait_once_and_not_for_each_read(
    journal: ReplicaJournal, pair: Pair
) -> None:
    async with pair.paused():
        await tell(journal, c.PutProfile(owner=ANA, profile=Profile(age=2), now=NOW))
        await journal.query(c.GetProfile(owner=ANA))
        began = asyncio.get_running_loop().time()
        for _ in range(20):
            assert (await journal.query(c.GetProfile(owner=ANA))).age == 2
        assert asyncio.get_running_loop().time() - began < 0.8


async def test_what_another_instance_wrote_is_seen_at_once_when_asked_everywhere(pair: Pair, metrics: Metrics) -> None:
    one, other = made(pair, metrics), made(pair, metrics)
    await one.open()
    await other.open()
    try:
        async with pair.paused():
            for number in range(1, 6):
                await tell(one, c.PutProfile(owner=ANA, profile=Profile(age=number), now=NOW))
                assert (await other.query(c.GetProfile(owner=ANA))).age == number
        for number in range(6, 20):
            await tell(one, c.PutProfile(owner=ANA, profile=Profile(age=number), now=NOW))
            assert (await other.query(c.GetProfile(owner=ANA))).age == number
    finally:
        await one.close()
        await other.close()


async def test_a_replica_that_dies_is_left_out_and_comes_back_by_itself(
    journal: ReplicaJournal, pair: Pair, metrics: Metrics
) -> None:
    up = metrics.gauge("ngx_journal_replica_up", "", "replica").labels("near")
    await until(lambda: up.value == 1)
    await asyncio.to_thread(pair.replica.kill)
    for number in range(1, 6):
        await tell(journal, c.PutProfile(owner=ANA, profile=Profile(age=number), now=NOW))
        assert (await journal.query(c.GetProfile(owner=ANA))).age == number
    await until(lambda: up.value == 0)
    await asyncio.to_thread(pair.replica.start)
    await until(lambda: up.value == 1, within_s=15)

    async def is_read_there() -> bool:
        before = reads(metrics, "replica")
        await journal.query(c.GetProfile(owner=ANA))
        return reads(metrics, "replica") > before

    async with asyncio.timeout(10):
        while not await is_read_there():  # noqa: ASYNC110 - the servers are other processes
            await asyncio.sleep(0.05)


async def test_without_the_primary_replicas_answer_what_they_can_prove_and_writes_are_refused(
    servers: tuple[PostgresServer, PostgresServer], journal: ReplicaJournal, pair: Pair
) -> None:
    lane = await conversation(journal)
    turn = await tell(journal, accept(lane))
    await tell(journal, finish(lane, turn.turn_id, 1))
    assert len((await journal.query(c.ListMessages(conversation_id=lane, owner=ANA))).items) == 2
    await until(lambda: not journal._floors.has_pending)
    async with pair.paused():
        await tell(journal, c.PutProfile(owner=BEN, profile=Profile(age=3), now=NOW))
        await until(lambda: not journal._floors.has_pending)
        await asyncio.to_thread(servers[0].kill)
        try:
            for _ in range(3):
                assert len((await journal.query(c.ListMessages(conversation_id=lane, owner=ANA))).items) == 2
                assert (await journal.query(c.GetTurn(id=turn.turn_id, owner=ANA))).status == "completed"
                with pytest.raises(JournalUnavailable):  # Ben's own write has not reached the replica
                    await journal.query(c.GetProfile(owner=BEN))
                with pytest.raises(JournalUnavailable) as refused:
                    await tell(journal, accept(lane))
                assert refused.value.retry_after_s > 0
        finally:
            await asyncio.to_thread(servers[0].start)


@pytest.mark.parametrize("fault", ["wrong password", "nobody there", "no replica", "another system"])
async def test_a_replica_that_is_wrongly_configured_is_one_clear_line_and_the_rest_works(
    servers: tuple[PostgresServer, PostgresServer],
    postgres_server: PostgresServer,
    pair: Pair,
    metrics: Metrics,
    caplog: pytest.LogCaptureFixture,
    fault: str,
) -> None:
    name = pair.url.rsplit("/", 1)[1]
    urls = {
        "wrong password": servers[1].url(name, password="s3cr3t"),
        "nobody there": f"postgresql://postgres:s3cr3t@127.0.0.1:{free_port()}/{name}",
        "no replica": pair.url,
        "another system": postgres_server.url(),
    }
    journal = made(pair, metrics, near=urls[fault])
    await journal.open()
    try:
        for number in range(1, 4):
            await tell(journal, c.PutProfile(owner=ANA, profile=Profile(age=number), now=NOW))
            assert (await journal.query(c.GetProfile(owner=ANA))).age == number
        await asyncio.sleep(0.3)
        told = [record for record in caplog.records if record.levelname == "WARNING" and "refused" in record.message]
        told += [record for record in caplog.records if record.message == "journal.not_opened"]
        assert len(told) == 1
        assert "s3cr3t" not in str(told[0].__dict__)
        assert reads(metrics, "replica") == 0
    finally:
        await journal.close()


async def test_many_readers_and_writers_at_once_see_their_own_writes_while_replay_stutters(
    journal: ReplicaJournal, pair: Pair
) -> None:
    stopped = asyncio.Event()

    async def user(number: int) -> int:
        owner, written, seen = c.Owner("acme", f"user {number}"), 0, 0
        while not stopped.is_set():
            written += 1
            await tell(journal, c.PutProfile(owner=owner, profile=Profile(age=written), now=NOW))
            for _ in range(2):
                found = (await journal.query(c.GetProfile(owner=owner))).age
                assert found is not None
                assert found >= max(seen, written)
                seen = found
        return written

    async def stutter() -> None:
        for _ in range(4):
            async with pair.paused():
                await asyncio.sleep(0.1)
            await asyncio.sleep(0.1)
        stopped.set()

    async with asyncio.TaskGroup() as tasks:
        users = [tasks.create_task(user(number)) for number in range(10)]
        tasks.create_task(stutter())
    assert min(task.result() for task in users) > 3
