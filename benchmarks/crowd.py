"""`crowd`: ever more long answers at once on one core, and some who do not read. `registered`: ten thousand users.

The server has a core, and the emulator and the clients share the other: how busy that one was is told too, because
where it was full it was the bound.
"""

from __future__ import annotations

import sys
import time
from subprocess import PIPE

import msgspec

from benchmarks.crowd_clients import Order, Phase, Told
from benchmarks.effort import Effort
from benchmarks.overload import TEXT, conversations, jwt_server, token
from benchmarks.processes import REST_CORES, BenchmarkError, Process, Server, emulator, spawned
from benchmarks.report import Line, Outcome

ANSWER = {"chunks": 50, "chunk_gap_ms": 160.0, "ttft_ms": 200.0}
ANSWER_S = 8.04
SETTINGS = {
    "NGX_TURNS_MAX_RUNNING": "100000",
    "NGX_ADMISSION_CAPACITY": "1000",  # what a core of the machine in docs/benchmarks.md serves well
    "NGX_ADMISSION_TOKEN_TARGET_S": "60",  # the model is no bound here
}
RATES_PER_S = (5.0, 60.0, 100.0, 125.0, 250.0)
STALLED = 20
CROWD_USERS = 6000
USERS, EACH_S, MINUTES = 10_000, 30.0, 10.0


class Run(msgspec.Struct, kw_only=True):
    """A phase, and what it took: CPU in parts of a core, RSS of the server at its end."""

    told: Told
    server_cpu: float
    rest_cpu: float
    server_rss_mb: float


def crowd(effort: Effort) -> Outcome:
    """Answers of 50 chunks in 8 s, so eight times as many are open as come in a second. Raises BenchmarkError."""
    seconds = 15.0 + 30.0 * max(0.2, min(1.0, effort.seconds / 5.0))
    phases = [
        Phase(name=f"{ANSWER_S * rate:.0f} streams open", rate_per_s=rate, seconds=seconds, settle_s=15.0)
        for rate in RATES_PER_S
    ]
    last = phases[-1]
    phases.append(msgspec.structs.replace(last, name=f"{last.name}, {STALLED} of them not read", stalled=STALLED))
    runs = _run(phases, CROWD_USERS)
    few, full = runs[0].told, runs[-2].told
    lines = []
    for run in runs:
        told = run.told
        late_ms = 1000 * (told.first_p95_s - few.first_p95_s)
        lines += [
            Line(what=f"{told.name}: p95 of the first text, later than with {few.name}", measured=late_ms, unit="ms",
                 budget=100.0, note=f"the clients woke {1000 * told.late_s:.1f} ms late"),
            *_took(run),
        ]  # fmt: skip
    moved = Line(
        what="p99 of the first text, with and without those who do not read", unit="x",
        measured=runs[-1].told.first_p99_s / full.first_p99_s, budget=1.1,
    )  # fmt: skip
    return Outcome(name="crowd", lines=[*lines, moved], data=[msgspec.structs.asdict(run) for run in runs])


def registered(effort: Effort) -> Outcome:
    """Ten thousand users, each with a turn every 30 s, for ten minutes at the usual effort. Raises BenchmarkError."""
    seconds = 60.0 * MINUTES * min(1.0, effort.seconds / 5.0)
    phase = Phase(name=f"{USERS} users", rate_per_s=USERS / EACH_S, seconds=seconds)
    (run,) = _run([phase], USERS)
    told = run.told
    lines = [
        Line(what=f"turns not answered whole by the model, of {told.asked}", measured=told.asked - told.answered,
             unit="turns", budget=0.0, note=f"{told.refused} refused, {told.lost} lost"),
        Line(what="turns a second", measured=told.asked / seconds, unit=""),
        Line(what="streams open at most", measured=told.most_open, unit=""),
        Line(what="p95 of the first text", measured=told.first_p95_s, unit="s",
             note=f"the clients woke {1000 * told.late_s:.1f} ms late"),
        Line(what="p95 of a whole turn", measured=told.whole_p95_s, unit="s", note=f"the model takes {ANSWER_S} s"),
        *_took(run),
    ]  # fmt: skip
    return Outcome(name="registered", lines=lines, data=[msgspec.structs.asdict(run)])


def _took(run: Run) -> list[Line]:
    told = run.told
    return [
        Line(what=f"{told.name}: server CPU", measured=100 * run.server_cpu, unit="% of a core",
             note=f"{told.refused} refused, {told.lost} lost of {told.asked}; {run.server_rss_mb:.0f} MB"),
        Line(what=f"{told.name}: model and clients", measured=100 * run.rest_cpu, unit="% of a core"),
    ]  # fmt: skip


def _run(phases: list[Phase], users: int) -> list[Run]:
    with emulator(cores=REST_CORES, **ANSWER) as model, jwt_server(model.url, SETTINGS) as server:
        tokens = [token("acme", f"u{number}") for number in range(users)]
        made = conversations(server, tokens)
        order = Order(url=server.url, tokens=tokens, conversations=made, text=TEXT, phases=phases)
        return _measured(server, model, order)


def _measured(server: Server, model: Process, order: Order) -> list[Run]:
    command = [sys.executable, "-m", "benchmarks.crowd_clients"]
    with spawned(command, cores=REST_CORES, stdin=PIPE) as clients:
        assert clients.popen.stdin is not None
        assert clients.popen.stdout is not None
        clients.popen.stdin.write(msgspec.json.encode(order).decode() + "\n")
        clients.popen.stdin.flush()
        took = []
        for phase in order.phases:
            server_s, model_s, began_s = server.cpu_s(), model.cpu_s(), time.perf_counter()
            time.sleep(phase.seconds)
            passed_s = time.perf_counter() - began_s
            took.append(
                ((server.cpu_s() - server_s) / passed_s, (model.cpu_s() - model_s) / passed_s, server.rss_kb() / 1024)
            )
        line = clients.popen.stdout.readline()
    if not line:
        raise BenchmarkError("the clients broke")
    told = msgspec.json.decode(line, type=list[Told])
    return [
        Run(told=each, server_cpu=ours, rest_cpu=others + each.cpu_s / phase.seconds, server_rss_mb=rss_mb)
        for phase, each, (ours, others, rss_mb) in zip(order.phases, told, took, strict=True)
    ]
