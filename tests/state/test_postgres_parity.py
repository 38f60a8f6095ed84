"""The same calls told to SQLite and to Postgres: the same results, and the same things stored."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from tests.postgres_process import *  # noqa: F403
from tests.state.journal_conformance import ANA, BEN, NOW, ids

from ngx_agents.clock import SystemClock
from ngx_agents.state import commands as c
from ngx_agents.state import postgres_batches, postgres_commands, postgres_lanes, postgres_questions
from ngx_agents.state.model import Answer, LogEntry, Message
from ngx_agents.state.postgres import PostgresJournal
from ngx_agents.state.sqlite import SqliteJournal

CALLS = 150
Journals = tuple[SqliteJournal, PostgresJournal]


@pytest.fixture
async def journals(tmp_path: Path, emptied: str) -> AsyncIterator[Journals]:
    made = (SqliteJournal(tmp_path / "journal.db"), PostgresJournal(emptied, clock=SystemClock()))
    for one in made:
        await one.open()
        await one.migrate()
        await one.transact([c.Beat(instance="one")])
    yield made
    for one in made:
        await one.close()


class Caller:
    """Draws calls that are often right, and often not: stale epochs, other owners, turns that ended, known keys."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._now = NOW
        self._sequence = count(1)
        self.lanes = [ids.new("c", 1) for _ in range(4)]
        self.turns: list[tuple[str, str]] = [(self.lanes[0], ids.new("t", 1))]
        self._grants: list[tuple[str, str, int, int]] = [(self.lanes[0], self.turns[0][1], 1, 1)]

    def job(self) -> list[c.Command]:
        self._now += 1
        draws = (
            self._accept, self._accept, self._accept, self._finish, self._finish, self._finish, self._checkpoint,
            self._effect, self._cancel, self._release, self._create, self._delete, self._replay, self._log,
            self._import,
        )  # fmt: skip
        return [self._random.choice(draws)() for _ in range(self._random.choice((1, 1, 1, 2, 4)))]

    def learn(self, command: c.Command, result: Any) -> None:
        if isinstance(result, c.Accepted) and isinstance(command, c.AcceptTurn):
            self.turns.append((command.conversation_id, result.turn_id))
            if result.epoch is not None:
                self._grants.append((command.conversation_id, result.turn_id, result.epoch, result.user_seq))
        if isinstance(result, c.Finished) and result.next is not None:
            result = result.next
        if isinstance(result, c.Grant):
            self._grants.append((result.conversation_id, result.turn_id, result.epoch, result.user_seq))

    def _lane(self) -> str:
        return self._random.choice(self.lanes)

    def _grant(self) -> tuple[str, str, int, int]:
        return self._random.choice(self._grants[-6:])

    def _accept(self) -> c.AcceptTurn:
        key = self._random.choice((None, None, "k1", f"k{self._now}"))
        return c.AcceptTurn(
            conversation_id=self._lane(), owner=self._random.choice((ANA, ANA, ANA, BEN)), turn_id=ids.new("t", 1),
            message_id=ids.new("m", 1), text=f"texto {self._now}", turn_class=self._random.randrange(4),
            when_busy=self._random.choice(("enqueue", "enqueue", "reject", "interrupt", "coalesce")), now=self._now,
            deadline_at=self._now + 60, grant_to=self._random.choice(("one", "one", None)), idempotency_key=key,
            idempotency_hash=self._random.choice((b"1", b"1", b"2")), max_waiting=4, locale="es",
        )  # fmt: skip

    def _finish(self) -> c.FinishTurn:
        lane, turn_id, epoch, user_seq = self._grant()
        message = Message(
            id=ids.new("m", 1), seq=0, role="assistant", text="listo", created_at=self._now, turn_id=turn_id
        )
        return c.FinishTurn(
            conversation_id=lane, owner=ANA, turn_id=turn_id, user_seq=user_seq, epoch=epoch,
            status=self._random.choice(("completed", "failed", "dead")), answer=Answer(text="listo", code="x"),
            last_seq=next(self._sequence), now=self._now, message=self._random.choice((message, None)),
            grant_to=self._random.choice(("one", None)), has_checkpoints=True,
        )  # fmt: skip

    def _checkpoint(self) -> c.SaveCheckpoint:
        lane, turn_id, epoch, _ = self._grant()
        return c.SaveCheckpoint(conversation_id=lane, turn_id=turn_id, epoch=epoch, key="k", value=b"%d" % self._now)

    def _effect(self) -> c.RecordEffect:
        lane, turn_id, epoch, _ = self._grant()
        state = self._random.choice(("intended", "done", "failed"))
        return c.RecordEffect(
            conversation_id=lane, turn_id=turn_id, epoch=epoch, key="e", state=state, now=self._now, result=b"r"
        )

    def _cancel(self) -> c.RequestCancel:
        turn_id = self._random.choice(self.turns[-8:])[1]
        return c.RequestCancel(turn_id=turn_id, owner=self._random.choice((ANA, ANA, BEN)), now=self._now)

    def _release(self) -> c.ReleaseLane:
        lane, _, epoch, _ = self._grant()
        return c.ReleaseLane(conversation_id=lane, epoch=epoch)

    def _create(self) -> c.CreateConversation:
        return c.CreateConversation(id=self._lane(), owner=ANA, title="", now=self._now)

    def _delete(self) -> c.DeleteConversation:
        return c.DeleteConversation(id=self._lane(), owner=self._random.choice((ANA, BEN)))

    def _replay(self) -> c.ReplayTurn:
        turn_id = self._random.choice(self.turns[-12:])[1]
        return c.ReplayTurn(turn_id=turn_id, now=self._now, deadline_at=self._now + 60)

    def _log(self) -> c.AddLog:
        lane, turn_id, epoch, _ = self._grant()
        entry = LogEntry(id=ids.new("l", 1), kind="weight", at=self._now, data={"kg": 80})
        return c.AddLog(owner=ANA, entry=entry, lease=self._random.choice(((lane, turn_id, epoch), None)))

    def _import(self) -> c.ImportMessages:
        said = Message(id=ids.new("m", 1), seq=0, role="user", text="antes", created_at=self._now, turn_id="")
        return c.ImportMessages(conversation_id=self._lane(), owner=ANA, messages=(said,), now=self._now)


def comparable(value: Any) -> Any:
    """A refusal by its class and what the caller sees of it."""
    if isinstance(value, BaseException):
        return type(value).__name__, value.__dict__
    return value


async def everything(journal: Any, caller: Caller) -> list[Any]:
    told = [await journal.query(c.ExportUser(owner=owner)) for owner in (ANA, BEN)]
    told.append(msgspec.to_builtins(await journal.query(c.ListDead())))
    for _, turn_id in caller.turns:
        told.append(await journal.query(c.Checkpoints(turn_id=turn_id)))
        told.append(await journal.query(c.Effects(turn_id=turn_id)))
        told.append(await journal.query(c.HolderOf(turn_id=turn_id, owner=ANA)))
    for lane in caller.lanes:
        told.append(await journal.query(c.RecentMessages(conversation_id=lane, owner=ANA, before=9, limit=5)))
        told.append(await journal.query(c.GetConversation(id=lane, owner=ANA)))
    told.append((await journal.query(c.ListConversations(owner=ANA, limit=2))).items)
    return told


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 40))])
async def test_both_journals_answer_the_same_calls_alike(journals: Journals, seed: int) -> None:
    caller = Caller(seed)
    for lane in caller.lanes[:2]:
        for one in journals:
            await one.transact([c.CreateConversation(id=lane, owner=ANA, title="", now=NOW)])
    outcomes: set[str] = set()
    for number in range(CALLS):
        job = caller.job()
        results = [list(map(comparable, await one.transact(job))) for one in journals]
        assert results[0] == results[1], (number, job)
        for command, result in zip(job, results[0], strict=True):
            caller.learn(command, result)
            outcomes.add(result[0] if isinstance(result, tuple) else type(result).__name__)
        if number % 7 == 0:
            claims = [await one.claim(2, instance="one", now=NOW) for one in journals]
            assert claims[0] == claims[1]
            for grant in claims[0]:
                caller.learn(job[0], grant)
    assert await everything(journals[0], caller) == await everything(journals[1], caller)
    assert outcomes >= {"Accepted", "Finished", "LeaseLost", "NotFound", "ConversationBusy"}


def test_every_command_and_question_is_known_to_postgres() -> None:

    told = {*postgres_commands._APPLY, *postgres_lanes.LANE_COMMANDS, *postgres_batches.MARKED}
    assert told == set(c.Command.__args__)
    assert set(postgres_questions._ANSWER) == set(c.Question.__args__)
