"""`overload`: more turns than the model can answer, with the gate and without it; and one tenant against another.

The capacity is the model's: an emulator whose `SEATS` streams go at full speed, answers of about `ANSWER_S`. The server
is a process of its own on one core, the emulator and the clients share the other. Shorter than a day's rush in every
measure (seats, answers, phases), so that it fits into minutes; loads are in parts of the capacity.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from math import exp
from subprocess import PIPE
from urllib.parse import urlsplit

import jwt
import msgspec

from benchmarks.effort import Effort
from benchmarks.load import percentile
from benchmarks.overload_clients import Load, Order, Phase
from benchmarks.processes import REST_CORES, SERVER_CORES, BenchmarkError, Server, emulator, ngx_server, spawned
from benchmarks.report import Line, Outcome

SEATS = 50
CHUNKS = 20
GAP_MS = 200.0
SIGMA = 0.4
ANSWER_S = (CHUNKS * GAP_MS / 1000) * exp(SIGMA**2 / 2)  # the emulator's times are lognormal about their median
PER_S = SEATS / ANSWER_S
USERS = 2000
SECRET = "the benchmark's secret, of more than thirty-two bytes"
TEXT = "Dame consejos para dormir mejor, número"
TOKEN_TARGET_S = 0.125  # what nine of ten streams keep below at low load, less a tenth; goes with `CHUNKS` and `GAP_MS`
NO_GATE = {"NGX_TURNS_MAX_RUNNING": "100000", "NGX_ADMISSION_CAPACITY": "100000", "NGX_ADMISSION_TOKEN_TARGET_S": "60"}
GATE = {
    "NGX_TURNS_MAX_RUNNING": "1000",
    "NGX_ADMISSION_CAPACITY": str(SEATS),
    "NGX_ADMISSION_TOKEN_TARGET_S": str(TOKEN_TARGET_S),
}


def overload(effort: Effort) -> Outcome:
    """0.7, then 2 and 10 times the capacity, and back, with the gate; 2 times without it. Raises BenchmarkError."""
    scale = max(0.1, min(1.0, effort.seconds / 5.0))
    lines: list[Line] = []
    data = {}
    for name, rush, settings in (("2x", 2.0, GATE), ("10x", 10.0, GATE), ("2x without a gate", 2.0, NO_GATE)):
        loads = [
            ("0.7x", 0.7, 20.0),
            ("begin", rush, 15.0),
            ("rush", rush, 45.0),
            ("minute", 0.7, 60.0),
            ("after", 0.7, 30.0),
        ]
        phases, cpu = _run(loads, settings, scale=scale)
        data[name] = [msgspec.structs.asdict(each) for each in phases.values()]
        lines += _lines(name, phases, cpu, is_gated=settings is GATE)
    return Outcome(name="overload", lines=lines, data=data)


def _lines(name: str, phases: dict[str, Phase], cpu: dict[str, float], *, is_gated: bool) -> list[Line]:
    quiet, rush, after = phases["0.7x"], phases["rush"], phases["after"]
    begin = phases["begin"]
    critical = (begin.served[0] + rush.served[0]) / max(1, begin.offered[0] + rush.offered[0])
    made = [
        Line(what=f"{name}: answered in the rush", measured=_goodput(rush), unit="of capacity"),
        Line(what=f"{name}: critical answered", measured=100 * critical, unit="%"),
        Line(what=f"{name}: answered a minute after", measured=_goodput(after), unit="of capacity"),
        Line(
            what=f"{name}: p95 before / a minute after",
            measured=_p95(after),
            unit="s",
            note=f"before {_p95(quiet):.1f} s",
        ),
        Line(what=f"{name}: server CPU in the rush", measured=100 * cpu["rush"], unit="% of a core"),
    ]
    if is_gated:
        obeyed = sum(each.obeyed for each in phases.values())
        in_vain = sum(each.obeyed_in_vain for each in phases.values())
        made += [
            Line(what=f"{name}: refused at 0.7x", measured=quiet.refused, unit="turns", budget=0),
            Line(
                what=f"{name}: told times that came true",
                measured=100 * (1 - in_vain / max(1, obeyed)),
                unit="%",
                note=f"of {obeyed}",
            ),
            Line(what=f"{name}: refused in the rush", measured=rush.refused / rush.seconds, unit="a second"),
        ]
    return made


def _goodput(phase: Phase) -> float:
    return phase.ended_in / (phase.seconds * PER_S)


def _p95(phase: Phase) -> float:
    return percentile(sorted(phase.latencies_s), 0.95)


def _run(
    loads: Sequence[tuple[str, float, float]], settings: dict[str, str], *, scale: float
) -> tuple[dict[str, Phase], dict[str, float]]:
    """The phases by name, and the server's CPU in each in parts of a core."""
    with (
        emulator(
            cores=REST_CORES, chunks=CHUNKS, chunk_gap_ms=GAP_MS, ttft_ms=GAP_MS, sigma=SIGMA, seats=SEATS
        ) as model,
        jwt_server(model.url, settings) as server,
    ):
        order = Order(
            url=server.url,
            tokens=[token("acme", f"u{number}") for number in range(USERS)],
            conversations=[],
            text=TEXT,
            phases=[Load(name=name, rate_per_s=load * PER_S, seconds=seconds * scale) for name, load, seconds in loads],
        )
        order.conversations = conversations(server, order.tokens)
        return measured(server, order)


def measured(server: Server, order: Order) -> tuple[dict[str, Phase], dict[str, float]]:
    """The phases by name, and the server's CPU in each in parts of a core. Raises BenchmarkError."""
    command = [sys.executable, "-m", "benchmarks.overload_clients"]
    with spawned(command, cores=REST_CORES, stdin=PIPE) as clients:
        assert clients.popen.stdin is not None
        assert clients.popen.stdout is not None
        clients.popen.stdin.write(msgspec.json.encode(order).decode() + "\n")
        clients.popen.stdin.flush()
        cpu = {}
        for load in order.phases:
            before_s, began_s = server.cpu_s(), time.perf_counter()
            time.sleep(load.seconds)
            cpu[load.name] = (server.cpu_s() - before_s) / (time.perf_counter() - began_s)
        told = clients.popen.stdout.readline()
    if not told:
        raise BenchmarkError("the clients broke")
    return {each.name: each for each in msgspec.json.decode(told, type=list[Phase])}, cpu


@contextmanager
def jwt_server(model_url: str, settings: dict[str, str]) -> Iterator[Server]:
    more = {
        "NGX_AUTH": "jwt",
        "NGX_JWT_SECRET": SECRET,
        "NGX_VERTEX_CACHE_ENABLED": "false",
        "NGX_VERTEX_CONNECTION_POOL_SIZE": "1000",
        "NGX_SERVER_LOG_LEVEL": "error",
    }
    with ngx_server(model_url, cores=SERVER_CORES, settings={**more, **settings}) as server:
        yield server


def conversations(server: Server, tokens: Sequence[str]) -> list[str]:
    """One for each user, made one after the other."""
    parts = urlsplit(server.url)
    connection = HTTPConnection(parts.hostname or "", parts.port)
    made = []
    for token in tokens:
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        connection.request("POST", "/v1/conversations", b"{}", headers)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 201:
            raise BenchmarkError(f"no conversation: {body[:200].decode()}")
        made.append(msgspec.json.decode(body)["id"])
    connection.close()
    return made


def token(tenant: str, user: str) -> str:
    """Of an operator, so that a body may ask for the critical class."""
    claims = {"sub": user, "tenant": tenant, "roles": ["operator"], "exp": int(time.time()) + 7200}
    return jwt.encode(claims, SECRET, "HS256")
