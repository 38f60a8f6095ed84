"""`neighbours`: one tenant floods, another asks once a second. `crowd`: ever more long answers at once on one core.

As in `overload` the server has a core, and the emulator and the clients share the other: where they are the bound, it
says so by its own CPU.
"""

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
    NO_GATE,
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

LOUD_USERS, QUIET_USERS, CROWD_USERS = 1500, 150, 2500
RATES_PER_S = (5.0, 30.0, 60.0, 90.0, 120.0)


def neighbours(effort: Effort) -> Outcome:
    """Raises BenchmarkError."""
    seconds = 40.0 * max(0.25, min(1.0, effort.seconds / 5.0))
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


def crowd(effort: Effort) -> Outcome:
    """Answers of 50 chunks in 8 s, so eight times as many are open as come in a second. Raises BenchmarkError."""
    seconds = 30.0 * max(0.3, min(1.0, effort.seconds / 5.0))
    loads = [Load(name=f"{rate:.0f}", rate_per_s=rate, seconds=seconds) for rate in RATES_PER_S]
    with (
        emulator(cores=REST_CORES, chunks=50, chunk_gap_ms=160.0, ttft_ms=200.0) as model,
        jwt_server(model.url, NO_GATE) as server,
    ):
        phases, cpu = measured(server, _order(server, "acme", CROWD_USERS, loads))
        emulated_s = model.cpu_s()
    first_s = percentile(sorted(phases["5"].firsts_s), 0.95)
    lines = []
    for rate in RATES_PER_S:
        phase, name = phases[f"{rate:.0f}"], f"{rate:.0f} turns a second, {8 * rate:.0f} streams open"
        lost = sum(phase.offered) - sum(phase.served)
        late_ms = 1000 * (percentile(sorted(phase.firsts_s), 0.95) - first_s)
        lines += [
            Line(what=f"{name}: p95 of the first text, later than at 5", measured=late_ms, unit="ms", budget=100.0),
            Line(
                what=f"{name}: server CPU",
                measured=100 * cpu[phase.name],
                unit="% of a core",
                note=f"{lost} not served",
            ),
        ]
    lines.append(Line(what="the emulator's CPU over all", measured=emulated_s, unit="s"))
    return Outcome(name="crowd", lines=lines, data=[msgspec.structs.asdict(each) for each in phases.values()])


def _order(server: Server, tenant: str, users: int, phases: list[Load]) -> Order:
    tokens = [token(tenant, f"u{number}") for number in range(users)]
    made = conversations(server, tokens)
    return Order(
        url=server.url, tokens=tokens, conversations=made, text=TEXT, phases=phases, shares=(0.0, 1.0)
    )  # fmt: skip


def _p95(phase: Phase) -> float:
    return percentile(sorted(phase.latencies_s), 0.95)
