"""`python -m benchmarks.state`: what a conversation's state costs from each tier, and a turn's share of a long history.

CPU is this process's, all threads. Redis is a real valkey beside it; the journal is SQLite on a disk. The turns after
10 and after 5,000 messages alternate, so that what else the machine does falls on both.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median
from typing import Any

import uvloop
from tests.valkey_process import valkey

from benchmarks.report import Line, Outcome, save, table
from benchmarks.rounds import Rounds
from ngx_agents.clock import Rng, SystemClock
from ngx_agents.coordination.commands import GetVersioned
from ngx_agents.coordination.redis_shared import RedisShared
from ngx_agents.state import commands as c
from ngx_agents.state.codec import Codec
from ngx_agents.state.ids import Ids
from ngx_agents.state.manager import StateManager
from ngx_agents.state.memory_tier import MemoryTier
from ngx_agents.state.model import Answer, Message, Owner, Profile
from ngx_agents.state.shared_tier import SharedTier
from ngx_agents.state.sqlite import SqliteJournal
from ngx_agents.telemetry.metrics import Metrics

OWNER = Owner("acme", "ana")
TEXT = "¿Qué puedo entrenar hoy si ayer corrí doce kilómetros? "
SHORT, LONG = 10, 5000
MOST_MEMORY_US, MOST_REDIS_US, MOST_CODEC_US, MOST_RATIO = 3.0, 80.0, 200.0, 1.2
SMALL: dict[str, Any] = {"goal": "maratón", "week": 3, "phase": {"name": "base", "days": [1, 3, 5]}, "pain": []}
ids = Ids(SystemClock())


def large() -> dict[str, Any]:
    """About 50 KB: a plan of weeks with sets, numbers and notes that differ."""
    chance = Rng(1)

    def number(most: int) -> int:
        return int(chance.uniform(1, most))

    words = TEXT.split()
    return {
        "weeks": [
            {
                "week": week,
                "days": [
                    {
                        "exercise": f"ejercicio {number(80)}",
                        "sets": [{"reps": number(12), "kg": number(120), "rest_s": 30 * number(5)} for _ in range(4)],
                        "note": " ".join(words[number(len(words)) - 1] for _ in range(12)),
                    }
                    for _ in range(6)
                ],
            }
            for week in range(35)
        ]
    }


async def tiers(rounds: Rounds, folder: Path, port: int) -> list[Line]:
    async with AsyncExitStack() as stack:
        manager = await stack.enter_async_context(StateManager(path=folder / "alone.db"))
        for owner_state in (("small", SMALL), ("large", large())):
            await manager.save(OWNER, *owner_state)
            for number in range(40):
                await manager.append(OWNER, owner_state[0], "user" if number % 2 else "assistant", TEXT)
        lines = [
            await rounds.one_by_one(
                "load from memory, a small state", _loading(manager, "small", recent=0), MOST_MEMORY_US
            ),
            await rounds.one_by_one("… with its 20 newest messages", _loading(manager, "small", recent=20)),
            await rounds.one_by_one("load from memory, a state of 50 KB", _loading(manager, "large", recent=0)),
        ]
        journal = SqliteJournal(folder / "shared.db")
        await journal.open()
        stack.push_async_callback(journal.close)
        await journal.migrate()
        shared = await _shared(stack, port)
        one = await stack.enter_async_context(StateManager(journal=journal, shared=shared))
        other = await stack.enter_async_context(StateManager(journal=journal, shared=await _shared(stack, port)))

        async def ask(_: int) -> None:
            await shared.ask(GetVersioned("nothing"))

        lines.append(await rounds.one_by_one("for comparison, a bare question to Redis", ask))
        version = await one.save(OWNER, "small", SMALL)
        await asyncio.sleep(0.05)
        lines.append(
            await rounds.one_by_one(
                "load from Redis, a small state", _loading(other, "small", at_least=version, cold=True), MOST_REDIS_US
            )
        )
        for number in range(64):
            await one.save(OWNER, f"{number}", SMALL)
        await asyncio.sleep(0.05)

        async def load_one(number: int) -> None:
            assert other._tiers is not None
            if number % 64 == 0:
                other._tiers.memory.clear()
            await other.load(OWNER, f"{number % 64}", at_least=version)

        lines.append(await rounds.at_once("load from Redis, a small state", load_one, MOST_REDIS_US))
        lines.append(
            await rounds.one_by_one("load checked with the journal, from memory", _loading(one, "small", recent=0))
        )
        lines.append(await rounds.one_by_one("load from the journal", _loading(other, "small", cold=True)))
        return lines


def _loading(manager: StateManager, name: str, *, cold: bool = False, **options: Any) -> Any:
    assert manager._tiers is not None
    forget = manager._tiers.memory.clear

    async def load(_: int) -> None:
        if cold:
            forget()
        await manager.load(OWNER, name, **options)

    return load


async def _shared(stack: AsyncExitStack, port: int) -> RedisShared:
    shared = RedisShared(f"redis://127.0.0.1:{port}", clock=SystemClock(), rng=Rng(), metrics=Metrics(), timeout_s=1.0)
    await shared.open()
    stack.push_async_callback(shared.close)
    return shared


async def codec(rounds: Rounds) -> list[Line]:
    made: Codec[dict[str, Any]] = Codec(dict)
    state = large()
    stored = made.encode(state)
    plain = len(Codec(dict, is_compressed=False).encode(state))

    async def encode(_: int) -> None:
        made.encode(state)

    async def decode(_: int) -> None:
        made.decode(stored)

    return [
        Line(what="a large state, encoded", measured=plain / 1000, unit="KB", note=f"{len(stored) / 1000:.1f} stored"),
        await rounds.one_by_one("encode and compress it", encode, MOST_CODEC_US),
        await rounds.one_by_one("unpack and decode it", decode),
    ]


async def history(pairs: int, times: int, folder: Path) -> list[Line]:
    """A turn is a load, two appends and a save."""
    async with StateManager(path=folder / "history.db") as manager:
        for name, messages in (("short", SHORT), ("long", LONG)):
            await asyncio.gather(*(manager.append(OWNER, name, "user", TEXT) for _ in range(messages)))
        found: dict[str, list[float]] = {"short": [], "long": []}
        for pair in range(pairs):
            for name in ("short", "long") if pair % 2 else ("long", "short"):
                found[name].append(await _turns(manager, name, times))
                if name == "short":
                    await _begin_anew(manager)
    ratios = [more / less for less, more in zip(found["short"], found["long"], strict=True)]
    return [
        Line(what=f"a turn after {SHORT} messages", measured=median(found["short"]), unit="µs"),
        Line(what=f"a turn after {LONG:,} messages", measured=median(found["long"]), unit="µs"),
        Line(
            what=f"{LONG:,} ÷ {SHORT} messages", measured=median(ratios), unit="x", budget=MOST_RATIO,
            note=f"{min(ratios):.2f} to {max(ratios):.2f}",
        ),
    ]  # fmt: skip


async def _begin_anew(manager: StateManager) -> None:
    await manager.delete(OWNER, "short")
    await asyncio.gather(*(manager.append(OWNER, "short", "user", TEXT) for _ in range(SHORT)))


async def _turns(manager: StateManager, name: str, times: int) -> float:
    began_s = time.process_time()
    for _ in range(times):
        await manager.append(OWNER, name, "user", TEXT)
        conversation = await manager.load(OWNER, name)
        await manager.append(OWNER, name, "assistant", TEXT)
        await manager.save(OWNER, name, SMALL, expected_version=conversation.version)
    return (time.process_time() - began_s) / times * 1e6


async def shared_tier(rounds: Rounds, folder: Path, port: int) -> list[Line]:
    """Turns of one conversation on one instance, then turn by turn on two: what sharing the history costs and saves."""
    async with AsyncExitStack() as stack:
        journal = SqliteJournal(folder / "tier.db")
        metrics = Metrics()
        alone = MemoryTier(journal)
        await alone.open()
        stack.push_async_callback(alone.close)
        await alone.migrate()
        pair = [
            SharedTier(MemoryTier(journal), await _shared(stack, port), ttl_s=600, metrics=metrics) for _ in range(2)
        ]
        apart = [alone, MemoryTier(journal)]
        for tier in pair:
            await tier._tasks.open()
            stack.push_async_callback(tier._tasks.close)
        await alone.transact([c.PutProfile(owner=OWNER, profile=Profile(age=40), now=SystemClock().now_s())])
        return [
            await rounds.one_by_one("a turn on one instance, nothing shared", await _talking([alone])),
            await rounds.one_by_one("a turn on one instance, history shared", await _talking(pair[:1])),
            await rounds.one_by_one("a turn that changes instance, from the journal", await _talking(apart)),
            await rounds.one_by_one("a turn that changes instance, from Redis", await _talking(pair)),
        ]  # fmt: skip


async def _talking(tiers: list[Any]) -> Any:
    """Every conversation has 20 messages at most: each tenth turn begins another."""
    lane = ""

    async def turn(number: int) -> None:
        nonlocal lane
        tier, now = tiers[number % len(tiers)], SystemClock().now_s()
        if number % 10 == 0:
            lane = ids.new("c", 1)
            await tier.transact([c.CreateConversation(id=lane, owner=OWNER, title="", now=now)])
        turn_id = ids.new("t", 1)
        [accepted] = await tier.transact(
            [
                c.AcceptTurn(
                    conversation_id=lane, owner=OWNER, turn_id=turn_id, message_id=ids.new("m", 1), text=TEXT,
                    turn_class=1, when_busy="enqueue", now=now, deadline_at=now + 60, grant_to="bench",
                )
            ]
        )  # fmt: skip
        await tier.query(c.RecentMessages(conversation_id=lane, owner=OWNER, before=accepted.user_seq, limit=200))
        await tier.query(c.GetProfile(owner=OWNER))
        message = Message(
            id=ids.new("m", 1), seq=0, role="assistant", text=TEXT * 3, created_at=now, turn_id=turn_id, source="model"
        )
        await tier.transact(
            [
                c.FinishTurn(
                    conversation_id=lane, owner=OWNER, turn_id=turn_id, user_seq=accepted.user_seq,
                    epoch=accepted.epoch, status="completed", answer=Answer(source="model"), last_seq=9, now=now,
                    message=message,
                )
            ]
        )  # fmt: skip
        if len(tiers) > 1 and isinstance(tier, SharedTier):
            while tier._unsent:  # noqa: ASYNC110  # the next turn is on the other instance
                await asyncio.sleep(0.0005)

    return turn


async def measured(rounds: int, folder: Path, port: int) -> list[Line]:
    return [
        *await tiers(Rounds(rounds, 1984), folder, port),
        *await codec(Rounds(rounds, 200)),
        *await history(2 * rounds, 300, folder),
        *await shared_tier(Rounds(rounds, 400), folder, port),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.state", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder, valkey() as server:
        lines = uvloop.run(measured(rounds, Path(folder), server.port))
    outcome = Outcome(name="state", lines=lines)
    print(table([outcome]))
    print(save(outcome, SystemClock()), file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
