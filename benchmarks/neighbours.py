"""`neighbours`: one tenant floods, another asks once a second. Server, model and clients are as in `overload`."""

from __future__ import annotations

import threading
import time

import msgspec

from benchmarks.effort import Effort
from benchmarks.load import percentile
from benchmarks.overload import (
    CHUNKS,
    GAP_MS,
    GATE,
    PER_S,
    SEATS,
    SIGMA,
    TEXT,
    conversations,
    jwt_server,
    measured,
    token,
)
from benchmarks.overload_clients import Load, Order, Phase
from benchmarks.processes import REST_CORES, Server, emulator
from benchmarks.report import Line, Outcome

LOUD_USERS, QUIET_USERS = 4000, 150


def neighbours(effort: Effort) -> Outcome:
    """Raises BenchmarkError."""
    seconds = 100.0 * max(0.25, min(1.0, effort.seconds / 5.0))
    with (
        emulator(
            cores=REST_CORES, chunks=CHUNKS, chunk_gap_ms=GAP_MS, ttft_ms=GAP_MS, sigma=SIGMA, seats=SEATS
        ) as model,
        jwt_server(model.url, GATE) as server,
    ):
        quiet = _order(server, "quiet", QUIET_USERS, [Load(name="quiet", rate_per_s=1.0, seconds=seconds)])
        loud = _order(server, "loud", LOUD_USERS, [Load(name="loud", rate_per_s=10 * PER_S, seconds=seconds + 25.0)])
        alone = measured(server, quiet)[0]["quiet"]
        flood = threading.Thread(target=measured, args=(server, loud))
        flood.start()
        time.sleep(15.0)
        beside = measured(server, quiet)[0]["quiet"]
        flood.join()
    answered = 100 * sum(beside.served) / max(1, sum(beside.offered))
    lines = [
        Line(what="quiet tenant alone, p95", measured=_p95(alone), unit="s"),
        Line(
            what="the same beside a flood of ten times the capacity", measured=_p95(beside), unit="s",
            budget=1.5 * _p95(alone), note=f"{answered:.0f} % answered, of {sum(beside.offered)}",
        ),
    ]  # fmt: skip
    data = [msgspec.structs.asdict(each) for each in (alone, beside)]
    return Outcome(name="neighbours", lines=lines, data=data)


def _order(server: Server, tenant: str, users: int, phases: list[Load]) -> Order:
    tokens = [token(tenant, f"u{number}") for number in range(users)]
    made = conversations(server, tokens)
    return Order(
        url=server.url, tokens=tokens, conversations=made, text=TEXT, phases=phases, shares=(0.0, 1.0)
    )  # fmt: skip


def _p95(phase: Phase) -> float:
    return percentile(sorted(phase.latencies_s), 0.95)
