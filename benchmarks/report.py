"""What a benchmark found: lines with budgets, a table for people, JSON for comparison over time."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from ngx_agents.clock import Clock

FOLDER = Path("bench-results")


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One number. `budget` is its upper bound, inclusive; None where there is none. `note` says how it spreads."""

    what: str
    measured: float
    unit: str
    budget: float | None = None
    note: str = ""

    @property
    def holds(self) -> bool | None:
        return None if self.budget is None else self.measured <= self.budget


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """`data` is everything that was read, for whoever doubts the lines."""

    name: str
    lines: list[Line]
    data: Any = None


def table(outcomes: Iterable[Outcome]) -> str:
    """All lines as a Markdown table."""
    rows: list[tuple[str, ...]] = [("benchmark", "what", "measured", "budget", "", "spread")]
    for outcome in outcomes:
        rows.extend((outcome.name, *_cells(line)) for line in outcome.lines)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    rows.insert(1, tuple("-" * width for width in widths))
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    )


def save(outcome: Outcome, clock: Clock, folder: Path = FOLDER) -> Path:
    """Writes `<name>-<UTC time>.json`; the path."""
    at = datetime.fromtimestamp(clock.now_s(), UTC)
    path = folder / f"{outcome.name}-{at:%Y%m%dT%H%M%SZ}.json"
    folder.mkdir(parents=True, exist_ok=True)
    document = {
        "benchmark": outcome.name,
        "at": at.isoformat(timespec="seconds"),
        "machine": {"cores": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version()},
        "lines": [{**msgspec.structs.asdict(line), "holds": line.holds} for line in outcome.lines],
        "data": outcome.data,
    }
    path.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")
    return path


def _cells(line: Line) -> tuple[str, ...]:
    verdict = {None: "", True: "holds", False: "**does not hold**"}[line.holds]
    budget = "" if line.budget is None else f"≤ {_number(line.budget)} {line.unit}"
    return line.what, f"{_number(line.measured)} {line.unit}", budget, verdict, line.note


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"
