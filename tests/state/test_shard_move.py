"""Two real servers, a shard that moves between them, and users who never stop talking."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import pytest
from tests.postgres_process import PostgresServer
from tests.state.journal_conformance import *  # noqa: F403
from tests.state.journal_conformance import ANA, BEN, NOW, accept, finish, ids, tell
from tests.state.journal_conformance_budgets import *  # noqa: F403
from tests.state.journal_conformance_governance import *  # noqa: F403
from tests.state.journal_conformance_operations import *  # noqa: F403

from ngx_agents.clock import SystemClock
from ngx_agents.errors import ConfigError, JournalUnavailable
from ngx_agents.state import commands as c
from ngx_agents.state.failover_late import LateJournal
from ngx_agents.state.ids import SHARDS, shard_of
from ngx_agents.state.model import LogEntry, Owner, Profile
from ngx_agents.state.postgres import PostgresJournal
from ngx_agents.state.shard_move import MoveSettings, ShardMover
from ngx_agents.state.sharded import ShardedJournal, ShardSettings
from ngx_agents.state.sharded_map import ShardMap

SETTINGS = ShardSettings(refresh_s=0.05, lease_s=0.2, look_again_s=0.01)
MOVE = MoveSettings(lease_s=0.3, lock_s=0.5)
STEPS = (
    "prepared",
    "followed",
    "copied",
    "caught up",
    "frozen",
    "verified",
    "handed over",
    "waited",
    "serving",
    "cleaned",
)
QUICK = ("copied", "frozen", "handed over")
DEATHS = [step if step in QUICK else pytest.param(step, marks=pytest.mark.slow) for step in STEPS]
SHARD = shard_of("ana")
HOME = {SHARD, 1, shard_of("ben")}
"""The conformance suite's ids are of shard 1, whoever owns them."""
_ROWS = "SELECT tablename FROM pg_tables WHERE schemaname = 'ngx'"


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, PostgresServer]]:
    with PostgresServer(fsync="off") as one, PostgresServer(fsync="off") as other:
        yield {"a": one, "b": other}


@pytest.fixture
async def urls(servers: dict[str, PostgresServer]) -> dict[str, str]:
    return {name: await server.emptied_journal() for name, server in servers.items()}


def fresh_map() -> ShardMap:
    return ShardMap(["a" if shard in HOME else "b" for shard in range(SHARDS)])


def over(urls: dict[str, str]) -> ShardedJournal:
    def late(url: str) -> LateJournal:
        return LateJournal(lambda: PostgresJournal(url, clock=SystemClock()), name="x", clock=SystemClock())

    return ShardedJournal(
        fresh_map(), {name: late(url) for name, url in urls.items()}, clock=SystemClock(), settings=SETTINGS
    )


@pytest.fixture
async def journal(urls: dict[str, str]) -> AsyncIterator[ShardedJournal]:
    made = over(urls)
    await made.open()
    await made.migrate()
    yield made
    await made.close()


def mover(urls: dict[str, str], stop_after: str = "") -> ShardMover:
    async def step(name: str) -> None:
        if name == stop_after:
            raise KeyError(name)  # the mover's process dies here

    return ShardMover(fresh_map(), urls, clock=SystemClock(), settings=MOVE, on_step=step)


async def rows_of(url: str, shard: int) -> dict[str, int]:
    connection = await asyncpg.connect(url)
    try:
        counted = {}
        for (table,) in await connection.fetch(
            "SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'shard'"
            " JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'ngx' WHERE c.relkind = 'r'"
            " AND c.relname NOT LIKE 'shard_%'"
        ):
            counted[table] = await connection.fetchval(f"SELECT count(*) FROM ngx.{table} WHERE shard = $1", shard)
        return counted
    finally:
        await connection.close()


class Talker:
    """One user who asks, is answered, and reads the own history back after every answer."""

    def __init__(self, user: str, number: int) -> None:
        self.owner = Owner("acme", user)
        self.lane = ids.new("c", shard_of(user))
        self.told: list[str] = []
        self._number = number

    async def talk(self, journal: ShardedJournal, stopped: asyncio.Event) -> None:
        await tell(journal, c.CreateConversation(id=self.lane, owner=self.owner, title="t", now=NOW))
        while not stopped.is_set():
            await self.one_turn(journal)

    async def one_turn(self, journal: ShardedJournal) -> None:
        text = f"texto {len(self.told)}"
        command = accept(self.lane, text, owner=self.owner, turn_id=ids.new("t", shard_of(self.owner.user)))
        accepted = await tell(journal, command)
        self.told.append(text)
        await tell(
            journal,
            c.SaveCheckpoint(
                conversation_id=self.lane, turn_id=command.turn_id, epoch=accepted.epoch, key="k", value=b"v"
            ),
        )
        end = finish(
            self.lane, command.turn_id, accepted.epoch, owner=self.owner, user_seq=accepted.user_seq,
            has_checkpoints=True,
        )  # fmt: skip
        await tell(journal, end)
        newest = await journal.query(
            c.RecentMessages(conversation_id=self.lane, owner=self.owner, before=accepted.user_seq + 2, limit=2)
        )
        assert [m.text for m in newest] == [text, "listo"]

    async def check(self, journal: ShardedJournal) -> None:
        page = await journal.query(c.ListMessages(conversation_id=self.lane, owner=self.owner, limit=10_000))
        assert [m.text for m in page.items] == [text for asked in self.told for text in (asked, "listo")]


def talkers() -> list[Talker]:
    """Some in the shard that moves, some in others."""
    inside = [f"user {n}" for n in range(3000) if shard_of(f"user {n}") == SHARD][:5]
    return [Talker(user, number) for number, user in enumerate(["ana", *inside, "eva", "leo"])]


async def under_load(journal: ShardedJournal, during: Any) -> list[Talker]:
    users, stopped = talkers(), asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for user in users:
            tasks.create_task(user.talk(journal, stopped))
        try:
            async with asyncio.timeout(10):
                while min(len(user.told) for user in users) < 3:  # noqa: ASYNC110 - the servers are other processes
                    await asyncio.sleep(0.01)
            await during()
            before = [len(user.told) for user in users]
            async with asyncio.timeout(10):
                while any(len(u.told) < had + 2 for u, had in zip(users, before, strict=True)):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
        finally:
            stopped.set()
    for user in users:
        await user.check(journal)
    return users


async def test_a_shard_moves_there_and_back_under_load_and_no_turn_is_lost_or_doubled(
    journal: ShardedJournal, urls: dict[str, str]
) -> None:
    frozen: list[float] = []

    async def there_and_back() -> None:
        frozen.append((await mover(urls).move(SHARD, "b")).frozen_s)
        assert journal.map.place_of(SHARD) in ("a", "b")
        await asyncio.sleep(0.1)
        assert journal.map.place_of(SHARD) == "b"
        frozen.append((await mover(urls).move(SHARD, "a")).frozen_s)

    await under_load(journal, there_and_back)
    assert sum((await rows_of(urls["b"], SHARD)).values()) == 0
    assert (await rows_of(urls["a"], SHARD))["conversation"] == 6
    print("no writes for", *(f"{each:.2f} s" for each in frozen), "of which the lease", MOVE.lease_s)  # noqa: T201
    assert max(frozen) < 3


@pytest.mark.parametrize("step", DEATHS)
async def test_a_mover_that_dies_after_any_step_leaves_what_move_finishes(
    journal: ShardedJournal, urls: dict[str, str], step: str
) -> None:
    async def died_and_was_run_again() -> None:
        with pytest.raises(KeyError):
            await mover(urls, stop_after=step).move(SHARD, "b")
        await asyncio.sleep(0.05)
        await mover(urls).move(SHARD, "b")

    await under_load(journal, died_and_was_run_again)
    assert sum((await rows_of(urls["a"], SHARD)).values()) == 0
    assert (await mover(urls).look()).place_of(SHARD) == "b"


@pytest.mark.parametrize("step", DEATHS)
async def test_what_was_not_handed_over_is_rolled_back_and_what_was_is_not(
    journal: ShardedJournal, urls: dict[str, str], step: str
) -> None:
    async def died_and_was_undone() -> None:
        with pytest.raises(KeyError):
            await mover(urls, stop_after=step).move(SHARD, "b")
        if step in ("handed over", "waited"):
            with pytest.raises(ConfigError, match="handed over"):
                await mover(urls).roll_back(SHARD)
            await mover(urls).move(SHARD, "b")
        else:
            assert await mover(urls).roll_back(SHARD) == ("b" if step in ("serving", "cleaned") else "a")

    await under_load(journal, died_and_was_undone)
    home = "b" if STEPS.index(step) >= STEPS.index("handed over") else "a"
    assert (await mover(urls).look()).place_of(SHARD) == home
    if step != "serving":
        away = {"a": "b", "b": "a"}[home]
        assert sum((await rows_of(urls[away], SHARD)).values()) == 0


async def test_everything_of_a_user_moves_with_the_shard_and_the_old_side_refuses_it(
    journal: ShardedJournal, urls: dict[str, str]
) -> None:
    talker = talkers()[0]
    await tell(journal, c.CreateConversation(id=talker.lane, owner=ANA, title="t", now=NOW))
    await talker.one_turn(journal)
    await tell(journal, c.PutProfile(owner=ANA, profile=Profile(age=40), now=NOW))
    entry = LogEntry(id=ids.new("l", SHARD), kind="weight", at=NOW, data={"kg": 80})
    await tell(journal, c.AddLog(owner=ANA, entry=entry))
    turn = await tell(journal, accept(talker.lane, "abierta", turn_id=ids.new("t", SHARD), grant_to=None,
                                      idempotency_key="k", idempotency_hash=b"1"))  # fmt: skip
    before = await journal.query(c.ExportUser(owner=ANA))
    old = PostgresJournal(urls["a"], clock=SystemClock())
    await old.open()
    moved = await mover(urls).move(SHARD, "b")
    assert moved.rows == sum((await rows_of(urls["b"], SHARD)).values()) >= 8
    assert await journal.query(c.ExportUser(owner=ANA)) == before
    for command in (
        c.PutProfile(owner=ANA, profile=Profile(age=41), now=NOW),
        c.CreateConversation(id=ids.new("c", SHARD), owner=ANA, title="", now=NOW),
    ):
        [refused] = await old.transact([command])
        assert type(refused).__name__ == "ShardMoved"
    assert await old.claim(10, instance="one", now=NOW) == []
    [bens] = await old.transact([c.PutProfile(owner=BEN, profile=Profile(age=1), now=NOW)])
    assert bens is None
    await old.close()
    again = await tell(journal, accept(talker.lane, "abierta", turn_id=ids.new("t", SHARD), idempotency_key="k",
                                       idempotency_hash=b"1"))  # fmt: skip
    assert (again.turn_id, again.replayed) == (turn.turn_id, True)
    grants = await journal.claim(10, instance="two", now=NOW)
    assert [grant.turn_id for grant in grants] == [turn.turn_id]


async def test_a_server_that_is_away_concerns_its_own_shards_alone(
    servers: dict[str, PostgresServer], journal: ShardedJournal
) -> None:
    eva = Owner("acme", "eva")
    assert journal.map.place_of(shard_of("eva")) == "b"
    await tell(journal, c.PutProfile(owner=eva, profile=Profile(age=2), now=NOW))
    await asyncio.to_thread(servers["b"].kill)
    try:
        await tell(journal, c.PutProfile(owner=ANA, profile=Profile(age=1), now=NOW))
        await asyncio.sleep(SETTINGS.lease_s)
        assert (await journal.query(c.GetProfile(owner=ANA))).age == 1
        with pytest.raises(JournalUnavailable):
            await tell(journal, c.PutProfile(owner=eva, profile=Profile(age=3), now=NOW))
        with pytest.raises(JournalUnavailable):
            await journal.query(c.GetProfile(owner=eva))
        assert await journal.claim(5, instance="one", now=NOW) == []
        assert await tell(journal, c.Beat(instance="one")) in (True, False)
        results = await journal.transact(
            [c.PutProfile(owner=one, profile=Profile(age=9), now=NOW) for one in (ANA, eva)]
        )
        assert results[0] is None
        assert isinstance(results[1], JournalUnavailable)
    finally:
        await asyncio.to_thread(servers["b"].start)


async def test_moves_that_make_no_sense_are_refused_in_one_line(urls: dict[str, str]) -> None:
    for shard, to in ((256, "b"), (-1, "b"), (SHARD, "c")):
        with pytest.raises(ConfigError):
            await mover(urls).move(shard, to)
    pooled = ShardMover(fresh_map(), {**urls, "b": urls["b"] + "?pgbouncer=true"}, clock=SystemClock(), settings=MOVE)
    with pytest.raises(ConfigError, match="pooler"):
        await pooled.move(SHARD, "b")


async def test_two_movers_do_not_meet(urls: dict[str, str], journal: ShardedJournal) -> None:
    met: list[BaseException] = []

    async def step(name: str) -> None:
        if name == "copied":
            with pytest.raises(JournalUnavailable, match="another mover") as refused:
                await mover(urls).move(SHARD, "b")
            met.append(refused.value)

    await ShardMover(fresh_map(), urls, clock=SystemClock(), settings=MOVE, on_step=step).move(SHARD, "b")
    assert len(met) == 1


async def test_tasks_and_what_is_to_be_posted_of_them_move_with_their_shard(
    urls: dict[str, str], journal: ShardedJournal
) -> None:
    lane, task_id = ids.new("c", SHARD), ids.new("t", SHARD)
    webhook = c.PushConfig(id="w", url="https://hooks.example/", body=b"sealed", created_at=NOW)
    begin = c.AcceptTurn(
        conversation_id=lane, owner=ANA, turn_id=task_id, message_id=ids.new("m", SHARD), text="hi", turn_class=1,
        when_busy="enqueue", now=NOW, deadline_at=NOW + 60, grant_to="one", push=webhook,
        task=c.TaskEntry(context_id=lane, message=b"as received"),
    )  # fmt: skip
    await tell(journal, c.CreateConversation(id=lane, owner=ANA, title="t", now=NOW))
    await tell(journal, begin)
    await mover(urls).move(SHARD, "b")
    task = await journal.query(c.GetTask(id=task_id, owner=ANA, agent=None))
    assert (task.state, task.turns[0].message) == ("working", b"as received")
    assert len(await journal.query(c.ListPushes(task_id=task_id, owner=ANA, agent=None))) == 1
    claim = c.ClaimPushes(instance="one", now=NOW + 1, limit=10, lease_s=30.0)
    [entry] = await tell(journal, claim)
    assert (entry.subject, entry.status, entry.config.body) == (task_id, "running", b"sealed")
    assert await tell(journal, claim) == ()
    await tell(
        journal,
        c.SettlePush(number=entry.number, instance="one", owner=ANA, verdict="dead", now=NOW + 2, reason="503"),
    )
    [dead] = await journal.query(c.ListDeadPushes())
    assert await tell(journal, c.ReplayPush(number=dead.number, owner=ANA, now=NOW + 3)) is True
    assert (await journal.query(c.ListTasks(owner=ANA, agent=None, limit=5))).total == 1
