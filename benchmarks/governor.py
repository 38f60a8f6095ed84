"""`python -m benchmarks.governor`: governed lanes and retries against the emulator's shared pool, whose capacity moves.

It gives 100, then 40, then 100 requests/s. Load is open (Poisson). A caller is what one process would be: a lane, a
breaker, a retry budget. A request waits for a permit within its deadline; a refused one (429, no headers) is repeated
with full jitter, at most twice, within the budget. Goodput is measured from ten seconds after each step on; attempts
are counted over requests that were sent.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import sys
import urllib.request
from collections.abc import Iterator
from statistics import quantiles

import msgspec

from benchmarks.processes import REST_CORES, emulator
from benchmarks.report import Line, Outcome, save, table
from ngx_agents.clock import Rng, SystemClock
from ngx_agents.errors import ModelError, ModelThrottled
from ngx_agents.resilience.backoff import next_delay_s
from ngx_agents.resilience.breaker import Breaker, BreakerRules
from ngx_agents.resilience.courtesy import Courtesy
from ngx_agents.resilience.governor import GovernorRules
from ngx_agents.resilience.retry_budget import RetryBudget, RetryRules
from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.vertex.governors import Governors, Lane
from ngx_agents.vertex.refusal import error_of_status
from ngx_agents.vertex.transport import PostCall, Transport
from ngx_agents.vertex.transport_pyreqwest import PyreqwestTransport

CAPACITIES = (100.0, 40.0, 100.0)
SETTLE_S = 10.0
DEADLINE_S = 5.0
RETRIES = 2
RETRY_BASE_S = 1.0
PATH = "/v1/projects/p/locations/global/publishers/google/models/gemini-3.8-flash:generateContent"
BODY = b'{"contents":[{"role":"user","parts":[{"text":"hola"}]}],"generationConfig":{"maxOutputTokens":16}}'
HEADERS = {"content-type": "application/json", "x-goog-api-key": "any"}
CLOCK = SystemClock()


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """`offered` requests/s over all callers; `phase_s` at each capacity."""

    offered: float
    callers: int
    phase_s: float
    ttft_ms: float


class Seen(msgspec.Struct):
    """Times are seconds since the load began."""

    sent: int = 0
    attempts: list[float] = []
    answered: list[float] = []
    unserved: int = 0
    delays_s: list[float] = []
    opened: int = 0
    other_errors: int = 0


class Caller:
    """One process's way to the model."""

    def __init__(self, lane: Lane, transport: Transport, origin: str, *, seed: int, seen: Seen) -> None:
        self._lane = lane
        self._transport = transport
        self._origin = origin
        self._rng = Rng(seed)
        self._seen = seen
        self._budget = RetryBudget(RetryRules(), clock=CLOCK)
        self._breaker = Breaker(BreakerRules(), clock=CLOCK, rng=self._rng, on_change=self._changed)
        self._began_s = CLOCK.monotonic_s()

    async def load(self, rate: float, until_s: float) -> None:
        """Requests at `rate` per second until `until_s`; ends when all have ended."""
        next_s = CLOCK.monotonic_s()
        async with asyncio.TaskGroup() as tasks:
            while next_s < until_s:
                await CLOCK.sleep(max(0.0, next_s - CLOCK.monotonic_s()))
                tasks.create_task(self._request())
                next_s -= math.log(1.0 - self._rng.random()) / rate

    async def _request(self) -> None:
        deadline_s = CLOCK.monotonic_s() + DEADLINE_S
        for tried in range(RETRIES + 1):
            try:
                await self._attempt(deadline_s, is_first=tried == 0)
                return
            except ModelThrottled as exc:
                delay_s = next_delay_s(tried, base_s=RETRY_BASE_S, rng=self._rng)
                fits = CLOCK.monotonic_s() + delay_s < deadline_s
                if exc.status is None or tried == RETRIES or not fits or not self._budget.try_retry(throttled=True):
                    break
                await CLOCK.sleep(delay_s)
            except ModelError:
                self._seen.other_errors += 1
                break
        self._seen.unserved += 1

    async def _attempt(self, deadline_s: float, *, is_first: bool) -> None:
        ticket = self._breaker.admit()
        if ticket is None:
            raise ModelThrottled("the breaker is open")
        asked_s = CLOCK.monotonic_s()
        try:
            permit = self._lane.try_permit(1) or await self._lane.permit(1, deadline_s)
        except ModelThrottled:
            ticket.ignored()
            raise
        if is_first:
            self._seen.sent += 1
            self._budget.called()
            self._seen.delays_s.append(CLOCK.monotonic_s() - asked_s)
        try:
            await self._post(deadline_s)
        except ModelThrottled as exc:
            permit.throttled(exc)
            ticket.ignored()
            raise
        except ModelError:
            permit.failed()
            ticket.failed()
            raise
        permit.answered()
        ticket.succeeded()
        self._budget.succeeded()
        self._seen.answered.append(CLOCK.monotonic_s() - self._began_s)

    async def _post(self, deadline_s: float) -> None:
        self._seen.attempts.append(CLOCK.monotonic_s() - self._began_s)
        posted = await self._transport.post(PostCall(self._origin, PATH, HEADERS, BODY, deadline_s + DEADLINE_S))
        if posted.status != 200:
            retry_after = posted.header("retry-after")
            raise error_of_status(posted.status, posted.body, retry_after=retry_after, now_s=CLOCK.now_s())

    def _changed(self, state: str, _reason: str) -> None:
        self._seen.opened += state == "open"


def governor(case: Case) -> Outcome:
    """One run of all three phases."""
    with emulator(ttft_ms=case.ttft_ms, cores=REST_CORES) as model:
        seen = asyncio.run(_run(case, model.url))
    name = f"governor-{case.offered:.0f}-by-{case.callers}"
    return Outcome(name=name, lines=list(_lines(case, seen)), data={"case": case, "per_second": _per_second(seen)})


async def _run(case: Case, origin: str) -> Seen:
    seen = Seen()
    transport = PyreqwestTransport(
        connection_pool_size=50, http2="off", clock=CLOCK, courtesy=Courtesy(), on_wait=lambda _wait_s: None
    )
    async with transport:
        callers = [Caller(_lane(), transport, origin, seed=number, seen=seen) for number in range(1, case.callers + 1)]
        await asyncio.to_thread(_order, origin, case.phase_s)
        until_s = CLOCK.monotonic_s() + len(CAPACITIES) * case.phase_s
        async with asyncio.TaskGroup() as tasks:
            for caller in callers:
                tasks.create_task(caller.load(case.offered / case.callers, until_s))
    return seen


def _lane() -> Lane:
    return Governors(GovernorRules(), clock=CLOCK, metrics=Metrics()).lane("p", "global", "flash", "shared")


def _order(origin: str, phase_s: float) -> None:
    steps = [{"after_s": n * phase_s, "requests_per_s": rate} for n, rate in enumerate(CAPACITIES) if n]
    pool = {"requests_per_s": CAPACITIES[0], "steps": steps}
    body = msgspec.json.encode({"pools": [pool]})
    with urllib.request.urlopen(urllib.request.Request(f"{origin}/_control", data=body, method="POST"), timeout=5) as _:
        pass


def _lines(case: Case, seen: Seen) -> Iterator[Line]:
    for number, capacity in enumerate(CAPACITIES):
        from_s, to_s = number * case.phase_s + SETTLE_S, (number + 1) * case.phase_s
        given = sum(1 for when in seen.answered if from_s <= when < to_s) / (to_s - from_s)
        best = min(capacity, case.offered)
        yield Line(
            what=f"goodput at {capacity:.0f}/s, missing", measured=100 * (1 - given / best), unit="%", budget=10.0
        )
    yield Line(what="attempts per request sent", measured=len(seen.attempts) / seen.sent, unit="x", budget=1.15)
    yield Line(what="attempts per answer", measured=len(seen.attempts) / len(seen.answered), unit="x", budget=1.15)
    yield Line(what="breakers opened", measured=seen.opened, unit="", budget=0)
    yield Line(what="failures other than 429", measured=seen.other_errors, unit="", budget=0)
    cuts = quantiles(seen.delays_s, n=100)
    note = f"p50 {1000 * cuts[49]:.1f}, {seen.unserved} of {seen.unserved + len(seen.answered)} unserved"
    yield Line(what="wait for a permit, p99", measured=1000 * cuts[98], unit="ms", note=note)


def _per_second(seen: Seen) -> list[tuple[int, int]]:
    """(attempts, answers) of each second."""
    last = int(max(seen.attempts)) + 1
    rows = [[0, 0] for _ in range(last + 10)]
    for column, times in enumerate((seen.attempts, seen.answered)):
        for when in times:
            rows[min(int(when), len(rows) - 1)][column] += 1
    return [(row[0], row[1]) for row in rows]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.governor", description=__doc__)
    parser.add_argument("--offered", type=float, nargs="+", default=[30.0, 150.0], help="requests/s, one run each")
    parser.add_argument(
        "--callers", type=int, default=1, help="lanes that share the pool and know nothing of each other"
    )
    parser.add_argument("--phase-s", type=float, default=30.0)
    parser.add_argument("--ttft-ms", type=float, default=100.0)
    args = parser.parse_args()
    outcomes = []
    for offered in args.offered:
        case = Case(offered=offered, callers=args.callers, phase_s=args.phase_s, ttft_ms=args.ttft_ms)
        outcomes.append(governor(case))
        print(save(outcomes[-1], CLOCK), file=sys.stderr)
    print(table(outcomes))
    return 0


if __name__ == "__main__":
    sys.exit(main())
