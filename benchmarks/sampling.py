"""One sample: so many turns for so much CPU of the server, between two readings of its process clock."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import msgspec

from benchmarks.load import Order, Report
from benchmarks.processes import BenchmarkError, Process, Server, spawned
from ngx_agents.clock import SystemClock
from ngx_agents.state.commands import Command, CreateConversation, ImportMessages
from ngx_agents.state.ids import Ids, shard_of
from ngx_agents.state.model import Message, Owner
from ngx_agents.state.sqlite import SqliteJournal

OWNER = Owner("default", "bench")
AT_ONCE = 256
QUESTION = "How much protein is there in a cup of cooked lentils, and is that enough for lunch?"
ANSWER = "A cup of cooked lentils has about eighteen grams of protein, which is a good part of a lunch."


class Sample(msgspec.Struct, kw_only=True):
    """CPU of the server process in the sample, by thread too; `by_thread_ms` and `cpu_ms` are per turn."""

    turns: int
    seconds: float
    cpu_ms: float
    by_thread_ms: dict[str, float]
    p50_ms: float
    p99_ms: float
    events_per_turn: float
    cores_used: float


def sample(process: Process, order: Order, *, cores: Sequence[int] = ()) -> Sample:
    """Runs `order` from a process on `cores`. Raises BenchmarkError when any answer was not a model's whole one."""
    with spawned([sys.executable, "-m", "benchmarks.load"], cores=cores, stdin=subprocess.PIPE) as generator:
        told, tells = generator.popen.stdin, generator.popen.stdout
        assert told is not None
        assert tells is not None
        print(msgspec.json.encode(order).decode(), file=told, flush=True)
        if tells.readline() != "ready\n":
            raise BenchmarkError("the load generator could not connect")
        cpu_s, threads = process.cpu_s(), process.cpu_by_thread_s()
        print("go", file=told, flush=True)
        line = tells.readline()
        cpu_s = process.cpu_s() - cpu_s
        threads = {name: used - threads.get(name, 0.0) for name, used in process.cpu_by_thread_s().items()}
    if not line:
        raise BenchmarkError("the load generator ended without a report")
    return _sample(msgspec.json.decode(line, type=Report), cpu_s, threads)


def _sample(report: Report, cpu_s: float, threads: dict[str, float]) -> Sample:
    if report.error or not report.turns:
        raise BenchmarkError(f"the run failed after {report.turns} turns: {report.error or 'nothing was answered'}")
    per_turn = 1000 / report.turns
    return Sample(
        turns=report.turns,
        seconds=report.seconds,
        cpu_ms=cpu_s * per_turn,
        by_thread_ms={name: used * per_turn for name, used in sorted(threads.items()) if used * per_turn > 0.0005},
        p50_ms=report.p50_ms,
        p99_ms=report.p99_ms,
        events_per_turn=report.events / report.turns,
        cores_used=cpu_s / report.seconds,
    )


def control(model: Process) -> dict[str, Any]:
    """What the emulator has seen: number of calls, last path and request."""
    with urlopen(f"{model.url}/_control", timeout=10) as answer:
        seen: dict[str, Any] = json.load(answer)
    return seen


def stored_conversations(server: Server, count: int, *, messages: int = 0) -> list[str]:
    """Makes `count` conversations of the benchmark's user in the server's journal, each with earlier `messages`."""
    return asyncio.run(_store(server.data_dir / "journal.db", count, messages))


async def _store(path: Path, count: int, messages: int) -> list[str]:
    clock = SystemClock()
    ids = Ids(clock)
    shard = shard_of(OWNER.user)
    names = [ids.new("c", shard) for _ in range(count)]
    journal = SqliteJournal(path, exclusive=False)
    await journal.open()
    try:
        for start in range(0, count, AT_ONCE):
            commands: list[Command] = []
            for name in names[start : start + AT_ONCE]:
                commands.append(CreateConversation(id=name, owner=OWNER, title="", now=clock.now_s()))
                if messages:
                    past = tuple(_past(ids, shard, clock.now_s(), messages))
                    commands.append(ImportMessages(conversation_id=name, owner=OWNER, messages=past, now=clock.now_s()))
            for result in await journal.transact(commands):
                if isinstance(result, Exception):
                    raise result
    finally:
        await journal.close()
    return names


def _past(ids: Ids, shard: int, now: float, count: int) -> Iterable[Message]:
    for number in range(count):
        is_user = number % 2 == 0
        yield Message(
            id=ids.new("m", shard), seq=0, role="user" if is_user else "assistant", turn_id="",
            text=QUESTION if is_user else ANSWER, created_at=now, source=None if is_user else "model",
        )  # fmt: skip
