"""`unary` and `stream50`: what a turn costs, pinned and unpinned, beside the bare handler."""

from __future__ import annotations

from statistics import median

from benchmarks.comparison import Comparison, Load, compare
from benchmarks.effort import Effort
from benchmarks.report import Line, Outcome

UNARY_BUDGET_MS = 0.4
UNARY_BUDGET_RATIO = 4.0
STREAM_BUDGET_MS = 1.8
PACED_GAP_MS = 10.0


def unary(effort: Effort) -> Outcome:
    """A durable turn answered as JSON, 32 at a time in 64 conversations."""
    load = Load(seconds=effort.seconds, pairs=effort.pairs)
    found = [compare("unary", load, pinned=pinned) for pinned in (True, False)]
    lines = [line for one in found for line in _lines(one, UNARY_BUDGET_MS, UNARY_BUDGET_RATIO)]
    return Outcome(name="unary", lines=lines, data=found)


def stream50(effort: Effort) -> Outcome:
    """A streamed turn of 50 chunks: all at once (the machine at full load), and 10 ms apart (as a model sends them)."""
    burst = Load(streams=True, seconds=effort.seconds, pairs=effort.pairs)
    paced = Load(
        streams=True, seconds=max(2.0, effort.seconds), pairs=effort.pairs,
        concurrency=128, conversations=128, chunk_gap_ms=PACED_GAP_MS,
    )  # fmt: skip
    found = [
        compare(name, load, pinned=pinned)
        for pinned in (True, False)
        for name, load in (("50 chunks at once", burst), ("50 chunks 10 ms apart", paced))
    ]
    lines = [line for one in found for line in _lines(one, STREAM_BUDGET_MS, None)]
    return Outcome(name="stream50", lines=lines, data=found)


def _lines(found: Comparison, budget_ms: float, budget_ratio: float | None) -> list[Line]:
    where = f"{found.name}, {'pinned' if found.pinned else 'unpinned'}"
    rates = [one.turns / one.seconds for one in found.server]
    return [
        Line(
            what=f"CPU of a turn, {where}", measured=found.cpu_ms, unit="ms", budget=budget_ms,
            note=_spread([one.cpu_ms for one in found.server]) + f" at {min(rates):.0f} turns/s",
        ),
        Line(
            what=f"CPU of the bare handler, {where}", measured=found.bare_cpu_ms, unit="ms",
            note=_spread([one.cpu_ms for one in found.bare]),
        ),
        Line(
            what=f"turn ÷ bare, {where}", measured=found.ratio, unit="x", budget=budget_ratio,
            note=_spread(found.ratios),
        ),
        *(
            Line(what=f"of the turn: {thread}, {where}", measured=used, unit="ms")
            for thread, used in by_thread(found).items()
        ),
        Line(what=f"model calls a turn, {where}", measured=found.model_calls_per_turn, unit="", note=found.upstream),
    ]  # fmt: skip


def by_thread(found: Comparison) -> dict[str, float]:
    """Median CPU of a turn by thread, in ms; threads below a hundredth of the turn are left out."""
    names = {name for one in found.server for name in one.by_thread_ms}
    medians = {name: median(one.by_thread_ms.get(name, 0.0) for one in found.server) for name in sorted(names)}
    return {name: used for name, used in medians.items() if used > 0.01 * found.cpu_ms}


def _spread(values: list[float]) -> str:
    return f"{min(values):.3g} to {max(values):.3g}"
