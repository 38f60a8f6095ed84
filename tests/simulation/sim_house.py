"""Several engines on one journal in virtual time, with what goes wrong between them: the real engine, lanes and leases,
the real statements on a database in memory, and heartbeats counted in the journal's own time.

An instance's access can be slow, lose the reply of what was done, fail before it is done, stand still for longer than
its lease, or end for good. After every step the journal is checked: a lane has as many pending turns as are open, and
at most one of them runs.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from functools import cache
from typing import Any

import msgspec

from ngx_agents.agents.turn import AgentEvent, Answered, Desk, TextDelta, TurnTask
from ngx_agents.clock import Rng
from ngx_agents.errors import JournalUnavailable, NgxError
from ngx_agents.state import commands as c
from ngx_agents.state.ids import Ids
from ngx_agents.state.model import Owner
from ngx_agents.state.sqlite import migrate_database
from ngx_agents.state.sqlite_batches import in_transaction
from ngx_agents.state.sqlite_commands import apply
from ngx_agents.state.sqlite_questions import answer
from ngx_agents.state.sqlite_turns import grant_next
from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.turns.engine import TurnEngine
from ngx_agents.turns.settings import TurnSettings

ANA = Owner("acme", "ana")
NEVER_S = 1e9


class VirtualClock:
    """Time of the running loop; an instance that stands still sleeps on."""

    def __init__(self, access: Access | None = None) -> None:
        self._access = access

    def monotonic_s(self) -> float:
        return asyncio.get_running_loop().time()

    def now_s(self) -> float:
        return 1_790_000_000.0 + self.monotonic_s()

    async def sleep(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        if self._access is not None:
            await self._access.moving()


@cache
def _migrated() -> bytes:
    """An empty journal, made once: hundreds of seeds begin with it."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        migrate_database(db)
        return db.serialize()


class Truth:
    """The database. `is_fenced` False takes the epoch check away, to see that its absence is found."""

    def __init__(self, *, is_fenced: bool) -> None:
        self.db = sqlite3.connect(":memory:", isolation_level=None)
        self.db.deserialize(_migrated())
        self.is_over = False
        self.broken: list[str] = []
        self._is_fenced = is_fenced
        self._alive_until_s: dict[str, float] = {}

    def close(self) -> None:
        self.is_over = True
        self.db.close()

    def tell(self, commands: Sequence[c.Command]) -> list[Any]:
        now_s = asyncio.get_running_loop().time()
        results = in_transaction(self.db, lambda: [self._one(command, now_s) for command in commands])
        self.check()
        return results

    def claim(self, limit: int, instance: str) -> list[c.Grant]:
        now_s = asyncio.get_running_loop().time()
        rows = self.db.execute(
            "SELECT id, lane_owner FROM conversation WHERE pending > 0 ORDER BY sort_key, id"
        ).fetchall()
        free = [row[0] for row in rows if row[1] is None or self._alive_until_s.get(row[1], 0.0) < now_s]
        grants = in_transaction(self.db, lambda: [grant_next(self.db, each, instance) for each in free[:limit]])
        self.check()
        return [grant for grant in grants if grant is not None]

    def check(self) -> None:
        broken = self.db.execute(
            "SELECT id FROM conversation v WHERE pending != (SELECT count(*) FROM turn t WHERE t.conversation_id = v.id"
            " AND t.status IN ('queued', 'running')) OR (SELECT count(*) FROM turn t WHERE t.conversation_id = v.id"
            " AND t.status = 'running') > 1"
        ).fetchall()
        if broken:
            self._break(f"the lanes {broken} do not add up")

    def _break(self, what: str) -> None:
        """Kept as well as raised: where it is raised, an engine's task group turns it into a cancellation."""
        self.broken.append(what)
        raise AssertionError(what)

    def _one(self, command: c.Command, now_s: float) -> Any:
        if isinstance(command, c.Beat):
            was_alive = self._alive_until_s.get(command.instance, now_s) >= now_s
            self._alive_until_s[command.instance] = now_s + command.lease_s
            return was_alive
        if isinstance(command, c.Leave):
            self._alive_until_s.pop(command.instance, None)
            return None
        if isinstance(command, c.FinishTurn) and not self._is_fenced:
            command = self._unfenced(command)
        try:
            return apply(self.db, command)
        except NgxError as error:
            return error
        except sqlite3.IntegrityError as error:
            self._break(f"{type(command).__name__}: {error}")

    def _unfenced(self, command: c.FinishTurn) -> c.FinishTurn:
        self.db.execute("UPDATE conversation SET running = ? WHERE id = ?", (command.turn_id, command.conversation_id))
        row = self.db.execute("SELECT epoch FROM conversation WHERE id = ?", (command.conversation_id,)).fetchone()
        return msgspec.structs.replace(command, epoch=row[0])


class Access:
    """One instance's way to the journal: a Journal, with faults drawn from the seed while `is_rough`."""

    def __init__(self, truth: Truth, rng: Rng) -> None:
        self.is_rough = True
        self.is_dead = False
        self._truth = truth
        self._rng = rng
        self._still_until_s = 0.0

    def stand_still(self, for_s: float) -> None:
        self._still_until_s = asyncio.get_running_loop().time() + for_s

    async def moving(self) -> None:
        """Until the instance is not standing still. Once the story is over nothing moves any more."""
        loop = asyncio.get_running_loop()
        while not self._truth.is_over and (self.is_dead or loop.time() < self._still_until_s):  # noqa: ASYNC110
            await asyncio.sleep(NEVER_S if self.is_dead else self._still_until_s - loop.time())
        if self._truth.is_over:
            raise asyncio.CancelledError

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def migrate(self) -> int:
        return 0

    async def transact(self, commands: Sequence[c.Command]) -> list[Any]:
        await self._way_there()
        results = self._truth.tell(commands)
        await self._way_back()
        return results

    async def query(self, question: c.Question) -> Any:
        await self._way_there()
        return answer(self._truth.db, question)

    async def claim(self, limit: int, *, instance: str, now: float) -> list[c.Grant]:
        await self._way_there()
        grants = self._truth.claim(limit, instance)
        await self._way_back()
        return grants

    async def _way_there(self) -> None:
        await asyncio.sleep(self._rng.uniform(0.0, 0.05))
        await self.moving()
        if self.is_rough and self._rng.random() < 0.05:
            raise JournalUnavailable("it is away for a moment")

    async def _way_back(self) -> None:
        await asyncio.sleep(self._rng.uniform(0.0, 0.05))
        await self.moving()
        if self.is_rough and self._rng.random() < 0.05:
            raise JournalUnavailable("the reply was lost")


class Team:
    """Takes its time and says the question back."""

    def __init__(self, clock: VirtualClock, rng: Rng) -> None:
        self._clock = clock
        self._rng = rng

    def knows(self, agent_id: str) -> bool:
        return False

    async def answer(self, task: TurnTask, desk: Desk) -> AsyncIterator[AgentEvent]:
        for word in task.text.split():
            await self._clock.sleep(self._rng.uniform(0.0, 1.5))
            yield TextDelta(word, "coach")
            await desk.checkpoint(word, b"said")
        yield Answered(text="".join(task.text.split()), source="template", rung="template", agents=("coach",))


class Instance:
    """An engine with its access, started and never stopped: it dies or is left."""

    def __init__(self, truth: Truth, rng: Rng, ids: Ids) -> None:
        self.access = Access(truth, rng)
        clock = VirtualClock(self.access)
        self.engine = TurnEngine(
            journal=self.access, team=Team(clock, rng), ids=ids, clock=clock, metrics=Metrics(),
            settings=TurnSettings(claim_every_s=0.5, drain_s=0.1), rng=rng,
        )  # fmt: skip

    async def start(self) -> None:
        while True:
            try:
                await self.engine.__aenter__()
                return
            except JournalUnavailable:
                await asyncio.sleep(0.2)
