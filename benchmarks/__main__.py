"""`python -m benchmarks [names…]`: measures, prints a table, writes JSON into bench-results/."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

import msgspec

from benchmarks.answer_cache import answer_cache
from benchmarks.batches import batches
from benchmarks.crowd import crowd, registered
from benchmarks.effort import QUICK, Effort
from benchmarks.entrance import entrance
from benchmarks.governance import governance
from benchmarks.history import history
from benchmarks.model_client import model_client
from benchmarks.neighbours import neighbours
from benchmarks.open_streams import streams3000
from benchmarks.overload import overload
from benchmarks.processes import BenchmarkError
from benchmarks.report import Outcome, save, table
from benchmarks.stages import stages
from benchmarks.start import start
from benchmarks.subscriptions import subscriptions
from benchmarks.turns import stream50, unary
from ngx_agents.clock import SystemClock

BENCHMARKS: dict[str, Callable[[Effort], Outcome]] = {
    "start": start,
    "unary": unary,
    "stream50": stream50,
    "subscriptions": subscriptions,
    "streams3000": streams3000,
    "history": history,
    "model_client": model_client,
    "answer_cache": answer_cache,
    "stages": stages,
    "batches": batches,
    "governance": governance,
    "overload": overload,
    "entrance": entrance,
    "neighbours": neighbours,
    "crowd": crowd,
    "registered": registered,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(BENCHMARKS)}; all when none is given")
    parser.add_argument("--seconds", type=float, help="load in each sample (default: 5)")
    parser.add_argument("--quick", action="store_true", help="one short sample of each: shows that all works")
    args = parser.parse_args()
    unknown = set(args.names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"no benchmark is called {', '.join(sorted(unknown))}")
    effort = QUICK if args.quick else Effort()
    if args.seconds:
        effort = msgspec.structs.replace(effort, seconds=args.seconds)
    return _run(args.names or list(BENCHMARKS), effort)


def _run(names: list[str], effort: Effort) -> int:
    """1 when a benchmark could not be run; a budget that does not hold is a result, not a failure."""
    outcomes, failed = [], False
    for name in names:
        began_s = time.perf_counter()
        try:
            outcome = BENCHMARKS[name](effort)
        except BenchmarkError as exc:
            failed = True
            print(f"{name} failed: {exc}", file=sys.stderr)
            continue
        outcomes.append(outcome)
        path = save(outcome, SystemClock())
        print(f"{name}: {time.perf_counter() - began_s:.0f} s, {path}", file=sys.stderr)
    print(table(outcomes))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
