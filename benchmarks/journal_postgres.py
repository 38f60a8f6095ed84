"""`python -m benchmarks.journal_postgres`: durable turns on a real Postgres, beside a bare asyncpg loop.

A turn is its acceptance and its end, each acknowledged after its commit (`synchronous_commit` on). The bare loop sends
the same grouped statements on one connection, with as many turns in each transaction as there are callers, and decides
nothing. The two alternate in one run on one server, so that what else the machine does falls on both.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from statistics import median
from typing import Any

import asyncpg
import msgspec
import uvloop
from tests.postgres_process import PostgresServer

from benchmarks.report import Line, Outcome, save, table
from ngx_agents.clock import SystemClock
from ngx_agents.state import commands as c
from ngx_agents.state.ids import Ids, shard_in, shard_of
from ngx_agents.state.model import Answer, Message, Owner
from ngx_agents.state.postgres import PostgresJournal
from ngx_agents.state.postgres_changes import new_turn_row
from ngx_agents.state.postgres_rows import Lane, NewTurn, OpenTurn
from ngx_agents.state.postgres_statements import LOCK_LANES, writing

OWNER = Owner("acme", "ana")
TEXT = "¿Qué puedo entrenar hoy si ayer corrí doce kilómetros? " * 2
REPLY = "Hoy toca movilidad y fuerza ligera: treinta minutos, sin impacto. " * 6
ANSWER = Answer(source="model", rung="model", model="m", agents=("coach",), usage={"input": 500, "output": 120})
MOST_MS = 1000 / 3000
MOST_RATIO = 1 / 0.6
MARK = "bare"
GROUPS = 32
"""Conversations for each caller."""
Asked = tuple[str, str, int]
"""Conversation, turn, number of the turn."""
ids = Ids(SystemClock())


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """`cpu_us` is this process's, for one turn."""

    turns_per_s: float
    cpu_us: float


def accept(lane: str, now: float) -> c.AcceptTurn:
    return c.AcceptTurn(
        conversation_id=lane, owner=OWNER, turn_id=ids.new("t", 1), message_id=ids.new("m", 1), text=TEXT, turn_class=1,
        when_busy="enqueue", now=now, deadline_at=now + 60, grant_to="bench",
    )  # fmt: skip


def finish(lane: str, accepted: c.Accepted, now: float) -> c.FinishTurn:
    assert accepted.epoch is not None
    message = Message(
        id=ids.new("m", 1), seq=0, role="assistant", text=REPLY, created_at=now, turn_id=accepted.turn_id, agent="coach"
    )
    return c.FinishTurn(
        conversation_id=lane, owner=OWNER, turn_id=accepted.turn_id, user_seq=accepted.user_seq, epoch=accepted.epoch,
        status="completed", answer=ANSWER, last_seq=9, now=now, message=message, grant_to="bench",
    )  # fmt: skip


async def tell(journal: PostgresJournal, command: c.Command) -> Any:
    [result] = await journal.transact([command])
    if isinstance(result, BaseException):
        raise result
    return result


async def journal_turns(journal: PostgresJournal, groups: list[list[str]], turns_each: int) -> None:
    """Each caller asks in its own lane of one group after the other."""

    async def caller(number: int) -> None:
        for turn in range(turns_each):
            lane = groups[turn % len(groups)][number]
            now = time.time()
            accepted = await tell(journal, accept(lane, now))
            await tell(journal, finish(lane, accepted, now))

    await asyncio.gather(*map(caller, range(len(groups[0]))))


class Bare:
    """The statements that the journal would send for the same turns, and nothing else."""

    def __init__(self, connection: asyncpg.Connection[asyncpg.Record], groups: list[list[str]]) -> None:
        self._connection = connection
        self._groups = [sorted(lanes) for lanes in groups]
        self._number = {lane: 1 for lanes in groups for lane in lanes}
        self._batch = 0
        self._answer = msgspec.json.encode(ANSWER)
        turn = OpenTurn(
            id="", number=1, turn_class=1, accepted_at=0.0, deadline_at=0.0, attempts=1, is_running=True
        )  # fmt: skip
        self._turn = new_turn_row(NewTurn(lane=Lane(shard=1, id="", owner=OWNER, title="t"), turn=turn, epoch=1))

    async def turns(self, each: int) -> None:
        for turn in range(each):
            lanes, now = self._groups[turn % len(self._groups)], time.time()
            pairs = [(lane, ids.new("t", 1), self._number[lane]) for lane in lanes]
            await self._transaction(lanes, self._accepted(pairs, now))
            await self._transaction(lanes, self._finished(pairs, now))
            for lane in lanes:
                self._number[lane] += 1

    async def _transaction(self, lanes: list[str], rows: dict[str, list[tuple[Any, ...]]]) -> None:
        self._batch += 1
        statement, values = writing(rows, (MARK, self._batch))
        await self._connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
        shards, owners = [shard_in(lane) for lane in lanes], [shard_of(OWNER.user)] * len(lanes)
        await self._connection.fetch(LOCK_LANES, shards, lanes, owners)
        await self._connection.execute(statement, *values)
        await self._connection.execute("COMMIT")

    def _accepted(self, pairs: list[Asked], now: float) -> dict[str, list[tuple[Any, ...]]]:
        return {
            "lanes": [(1, lane, "t", now, n + 1, 1, n, "bench", turn_id, now + 30) for lane, turn_id, n in pairs],
            "new_turns": [
                (1, turn_id, lane, n, *self._turn[4:8], now, now + 60, *self._turn[10:13], n, *self._turn[14:])
                for lane, turn_id, n in pairs
            ],
            "messages": [
                (1, lane, 2 * n - 1, ids.new("m", 1), "user", TEXT, now, turn_id, None, None)
                for lane, turn_id, n in pairs
            ],
        }

    def _finished(self, pairs: list[Asked], now: float) -> dict[str, list[tuple[Any, ...]]]:
        return {
            "lanes": [(1, lane, "t", now, n + 1, 0, n, None, None, now + 30) for lane, turn_id, n in pairs],
            "turns": [(1, turn_id, "completed", None, 0, None, self._answer, now, 9) for lane, turn_id, n in pairs],
            "messages": [
                (1, lane, 2 * n, ids.new("m", 1), "assistant", REPLY, now, turn_id, "coach", None)
                for lane, turn_id, n in pairs
            ],
        }


async def timed(work: Any, turns: int) -> Sample:
    began_s, cpu_s = time.perf_counter(), time.process_time()
    await work
    took_s = time.perf_counter() - began_s
    return Sample(turns_per_s=turns / took_s, cpu_us=(time.process_time() - cpu_s) / turns * 1e6)


@asynccontextmanager
async def opened(server: PostgresServer) -> AsyncIterator[tuple[PostgresJournal, asyncpg.Connection[asyncpg.Record]]]:
    name = await server.create_database()
    journal = PostgresJournal(server.url(name), clock=SystemClock())
    await journal.open()
    await journal.migrate()
    connection = await asyncpg.connect(server.url(name), max_cached_statement_lifetime=0)
    await connection.execute("SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off")
    await connection.execute("SET plan_cache_mode = force_generic_plan")
    try:
        yield journal, connection
    finally:
        await connection.close()
        await journal.close()


async def compare(server: PostgresServer, callers: int, turns: int, rounds: int) -> list[tuple[Sample, Sample]]:
    """(journal, bare) of each round, after one that is not counted. Each has conversations of its own."""
    async with opened(server) as (journal, connection):
        lanes = [[[ids.new("c", 1) for _ in range(callers)] for _ in range(GROUPS)] for _ in range(2)]
        for group in (*lanes[0], *lanes[1]):
            now = time.time()
            made = [c.CreateConversation(id=lane, owner=OWNER, title="t", now=now) for lane in group]
            await journal.transact(made)
        bare, each = Bare(connection, lanes[1]), turns // callers
        found = []
        for _ in range(rounds + 1):
            ours = await timed(journal_turns(journal, lanes[0], each), each * callers)
            found.append((ours, await timed(bare.turns(each), each * callers)))
        kept = await connection.fetchval("SELECT count(*) FROM ngx.turn WHERE status = 'completed'")
        assert kept == 2 * (rounds + 1) * each * callers
    return found[1:]


def lines(callers: int, found: list[tuple[Sample, Sample]]) -> list[Line]:
    rates = [ours.turns_per_s for ours, _ in found]
    ratios = [bare.turns_per_s / ours.turns_per_s for ours, bare in found]
    return [
        Line(
            what=f"a durable turn, {callers} callers", measured=1000 / median(rates), unit="ms", budget=MOST_MS,
            note=f"{min(rates):.0f} to {max(rates):.0f} turns/s",
        ),
        Line(
            what=f"time of a turn ÷ bare asyncpg, {callers} callers", measured=median(ratios), unit="x",
            budget=MOST_RATIO, note=f"{min(ratios):.2f} to {max(ratios):.2f}",
        ),
        Line(what=f"CPU of the journal, {callers} callers", measured=median(o.cpu_us for o, _ in found), unit="us"),
        Line(what=f"CPU of the bare loop, {callers} callers", measured=median(b.cpu_us for _, b in found), unit="us"),
    ]  # fmt: skip


async def measure(server: PostgresServer, turns: int, rounds: int) -> Outcome:
    found = {callers: await compare(server, callers, turns, rounds) for callers in (32, 64)}
    told = [line for callers, samples in found.items() for line in lines(callers, samples)]
    return Outcome(name="journal_postgres", lines=told, data={str(callers): found[callers] for callers in found})


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.journal_postgres", description=__doc__)
    parser.add_argument("--turns", type=int, default=6400, help="turns in a sample (default: 6400)")
    parser.add_argument("--rounds", type=int, default=5, help="samples of each (default: 5)")
    args = parser.parse_args()
    with PostgresServer(shared_buffers="256MB", max_wal_size="2GB") as server:
        outcome = uvloop.run(measure(server, args.turns, args.rounds))
    print(f"written to {save(outcome, SystemClock())}", file=sys.stderr)
    print(table([outcome]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
