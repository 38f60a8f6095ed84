"""What a history read costs through `ReplicaJournal`: each way of being sure that it is new enough, and the primary.

Needs a primary and a streaming replica of the test suite's kind: `python -m benchmarks.journal_replicas`. JSON out.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time

from tests.postgres_process import PostgresServer

from ngx_agents.clock import SystemClock
from ngx_agents.state import commands as c
from ngx_agents.state.failover_late import LateJournal
from ngx_agents.state.journal import Journal
from ngx_agents.state.model import Owner, Profile
from ngx_agents.state.postgres import PostgresJournal
from ngx_agents.state.replicas import ReplicaJournal, ReplicaSettings
from ngx_agents.telemetry.metrics import Metrics

CALLERS = 16


async def measured(journal: Journal, *, reads: int, writes: bool) -> dict[str, float]:
    """Latency of a read, in milliseconds; with `writes` each caller writes before it reads."""
    taken: list[float] = []

    async def caller(number: int) -> None:
        owner = Owner("acme", f"user {number}")
        for round_ in range(reads // CALLERS):
            if writes or round_ == 0:
                await journal.transact([c.PutProfile(owner=owner, profile=Profile(age=round_ + 1), now=0.0)])
            began = time.perf_counter()
            found = await journal.query(c.GetProfile(owner=owner))
            taken.append((time.perf_counter() - began) * 1000)
            assert found.age == (round_ + 1 if writes else 1)

    began = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for number in range(CALLERS):
            tasks.create_task(caller(number))
    took_s = time.perf_counter() - began
    taken.sort()
    return {
        "reads_per_s": round(len(taken) / took_s),
        "p50_ms": round(taken[len(taken) // 2], 2),
        "p99_ms": round(taken[int(len(taken) * 0.99)], 2),
    }


async def run(primary: PostgresServer, replica: PostgresServer, reads: int) -> dict[str, dict[str, float]]:
    url = await primary.emptied_journal()
    there = replica.url(url.rsplit("/", 1)[1])
    found: dict[str, dict[str, float]] = {}
    for name in ("primary", "everywhere", "instance"):
        metrics = Metrics()
        journal: Journal = LateJournal(
            lambda: PostgresJournal(url, clock=SystemClock()), name="primary", clock=SystemClock()
        )
        if name != "primary":
            journal = ReplicaJournal(
                journal,
                {"near": lambda: PostgresJournal(there, clock=SystemClock())},
                clock=SystemClock(),
                metrics=metrics,
                settings=ReplicaSettings(freshness="instance" if name == "instance" else "everywhere"),
            )
        await journal.open()
        await asyncio.sleep(0.6)
        for writes in (False, True):
            row = await measured(journal, reads=reads, writes=writes)
            sources = metrics.counter("ngx_journal_reads_total", "", "source")
            row["by_replica"] = sources.labels("replica").value
            found[f"{name}, {'each after a write' if writes else 'reads alone'}"] = row
        await journal.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reads", type=int, default=4000)
    reads = parser.parse_args().reads
    with PostgresServer() as primary:
        asyncio.run(primary.emptied_journal())
        replica = primary.replica()
        try:
            print(json.dumps(asyncio.run(run(primary, replica, reads)), indent=2))
        finally:
            replica.remove()


if __name__ == "__main__":
    main()
