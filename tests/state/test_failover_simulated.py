"""Seeded schedules of outages, lost replies, restarts and other instances over a real journal: what was acknowledged is
stored once and in order, or kept aside with a reason."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
from tests.state.faulty_journal import FaultyJournal
from tests.state.journal_conformance import NOW, accept, finish, ids
from tests.thorough import rounds

from ngx_agents.clock import SystemClock
from ngx_agents.errors import JournalUnavailable, LeaseLost
from ngx_agents.state import commands as c
from ngx_agents.state.failover import FailoverJournal, FailoverSettings
from ngx_agents.state.failover_ladder import LadderRules
from ngx_agents.state.local_acceptance import LocalAcceptance
from ngx_agents.state.local_acceptance_aside import Aside
from ngx_agents.state.local_log import LocalLog
from ngx_agents.state.memory_tier import MemoryTier
from ngx_agents.state.model import Owner
from ngx_agents.state.sqlite import SqliteJournal

SEEDS = 5
SLOW_SEEDS = range(SEEDS, rounds(30, thorough=300))
USERS = 4
PROCESSES = 3
SETTINGS = FailoverSettings(
    rules=LadderRules(falls_after=2, falls_after_s=0.0, returns_after=2, max_returns_after=4),
    probe_every_s=0.002,
    busy_s=0.05,
)


class Weather:
    """What befalls a call: calm, away for a while, or a reply lost now and then."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._left = 0
        self._share = 0.0
        self.is_calm = False

    def __call__(self) -> str:
        if self.is_calm:
            return ""
        if self._left <= 0:
            self._left = self._random.randrange(5, 60)
            self._share = self._random.choice((0.0, 0.0, 0.1, 1.0, 1.0))
        self._left -= 1
        if self._random.random() >= self._share:
            return ""
        return "lost" if self._random.random() < 0.3 else "away"


class User:
    """Talks in one conversation, one message after the other, and knows what was acknowledged."""

    def __init__(self, number: int, random: Random) -> None:
        self.owner = Owner("acme", f"user {number}")
        self.lane = ids.new("c", number)
        self.is_made = False
        self.told: dict[str, str] = {}  # text to turn, in the order of the acknowledgements
        self.ended: dict[str, str] = {}
        self.open: tuple[c.AcceptTurn, c.Accepted] | None = None
        self._count = 0
        self._random = random

    async def step(self, journal: FailoverJournal, instance: str) -> None:
        """One thing that a client and the engine do; refusals are met by trying again later."""
        if not self.is_made:
            made = await _told(journal, c.CreateConversation(id=self.lane, owner=self.owner, title="t", now=NOW))
            self.is_made = not isinstance(made, JournalUnavailable)
            return
        if self.open is None:
            await self._ask(journal, instance)
        else:
            await self._end(journal, instance, *self.open)

    async def _ask(self, journal: FailoverJournal, instance: str) -> None:
        self._count += 1
        text = f"{self.owner.user}: {self._count}"
        key = f"key {self._count}"
        command = accept(
            self.lane, text, owner=self.owner, grant_to=instance, idempotency_key=key, idempotency_hash=b"h",
            now=NOW + self._count, turn_id=ids.new("t", 1), message_id=ids.new("m", 1),
        )  # fmt: skip
        result = await _told(journal, command)
        if isinstance(result, JournalUnavailable):
            self._count -= 1  # the client sends the same request again
            return
        assert isinstance(result, c.Accepted), result
        self.told[text] = result.turn_id
        if result.replayed:
            try:
                turn = await journal.query(c.GetTurn(id=result.turn_id, owner=self.owner))
            except JournalUnavailable:
                return
            if turn is None or turn.status != "running":
                return
            result = c.Accepted(turn_id=turn.id, position=0, user_seq=turn.seq, epoch=turn.epoch)
        if result.epoch is not None:
            self.open = (command, result)

    async def _end(self, journal: FailoverJournal, instance: str, command: c.AcceptTurn, got: c.Accepted) -> None:
        end = finish(
            self.lane, got.turn_id, got.epoch or 0, owner=self.owner, user_seq=got.user_seq, grant_to=instance,
            now=NOW + self._count + 0.5,
        )  # fmt: skip
        assert end.message is not None
        end.message.text = f"re: {command.text}"
        result = await _told(journal, end)
        if isinstance(result, JournalUnavailable):
            return
        self.open = None
        if not isinstance(result, LeaseLost):
            assert isinstance(result, c.Finished), result
            self.ended[end.message.text] = got.turn_id


async def _told(journal: FailoverJournal, command: c.Command) -> Any:
    try:
        [result] = await journal.transact([command])
    except JournalUnavailable as error:
        return error
    return result


@asynccontextmanager
async def process(folder: Path, sqlite: SqliteJournal, weather: Weather) -> AsyncIterator[FailoverJournal]:
    """One life of a server over the same journal and the same disk."""

    class Shared(FaultyJournal):
        async def open(self) -> None: ...

        async def close(self) -> None: ...

    acceptance = LocalAcceptance(
        LocalLog(folder / "local.log"), Aside(folder / "aside.jsonl", now=lambda: NOW), origin="here"
    )
    journal = FailoverJournal(
        MemoryTier(Shared(sqlite, weather)), clock=SystemClock(), settings=SETTINGS, acceptance=acceptance
    )
    await journal.open()
    try:
        await journal.migrate()
        yield journal
    finally:
        await journal.close()


async def live(journal: FailoverJournal, users: list[User], instance: str, random: Random) -> None:
    async def act(user: User, steps: int) -> None:
        await _profile(journal, user.owner)
        for _ in range(steps):
            await user.step(journal, instance)
            if random.random() < 0.3:
                await asyncio.sleep(0.001)

    async with asyncio.TaskGroup() as tasks:
        for user in users:
            tasks.create_task(act(user, random.randrange(10, 40)))


async def _profile(journal: FailoverJournal, owner: Owner) -> None:
    """The engine has asked for it before: memory has it while the journal is away."""
    for _ in range(200):
        try:
            await journal.query(c.GetProfile(owner=owner))
        except JournalUnavailable:
            await asyncio.sleep(0.002)
        else:
            return


@pytest.mark.parametrize("seed", [*range(SEEDS), *(pytest.param(n, marks=pytest.mark.slow) for n in SLOW_SEEDS)])
async def test_whatever_befalls_it_the_acknowledged_is_stored_once_and_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr("ngx_agents.state.local_acceptance_replay.BUSY_PAUSE_S", 0.01)
    random = Random(seed)
    sqlite, weather = SqliteJournal(tmp_path / "journal.db"), Weather(random)
    await sqlite.open()
    await sqlite.migrate()
    users = [User(number, random) for number in range(USERS)]
    for life in range(PROCESSES):
        async with process(tmp_path, sqlite, weather) as journal:
            await live(journal, users, f"instance {life}", random)
        for user in users:
            user.open = None  # its turn waits to be claimed by the next process
    weather.is_calm = True
    async with process(tmp_path, sqlite, weather) as journal:
        async with asyncio.timeout(10):
            while journal.mode != "normal":  # noqa: ASYNC110 - the prober goes by real time
                await asyncio.sleep(0.005)
        assert journal.report.pending == 0
    aside = Aside(tmp_path / "aside.jsonl", now=lambda: NOW).records()
    for user in users:
        await check(sqlite, user, {record.turn_id for record in aside})
    await sqlite.close()


async def check(sqlite: SqliteJournal, user: User, aside: set[str]) -> None:
    if not user.is_made:
        return
    page = await sqlite.query(c.ListMessages(conversation_id=user.lane, owner=user.owner, limit=10_000))
    asked = [m.text for m in page.items if m.role == "user"]
    answers = [m.text for m in page.items if m.role == "assistant"]
    assert len(set(asked)) == len(asked), "a message was stored twice"
    assert len(set(answers)) == len(answers), "an answer was stored twice"
    assert {turn_id for text, turn_id in user.told.items() if text not in asked} <= aside
    assert {turn_id for text, turn_id in user.ended.items() if text not in answers} <= aside
    order = [text for text in asked if text in user.told]
    assert order == [text for text in user.told if text in asked]
    for question, answer in zip(page.items, page.items[1:], strict=False):
        if answer.role == "assistant":
            assert answer.text == f"re: {question.text}"
            assert answer.seq == question.seq + 1
