"""The micro-benchmark of plans, budgets, flags and keys runs, and measures something on every line."""

from __future__ import annotations

import msgspec
from benchmarks.effort import QUICK
from benchmarks.governance import governance


def test_every_line_measures_something() -> None:
    lines = governance(msgspec.structs.replace(QUICK, scale=0.02)).lines
    assert len(lines) == 9
    assert all(line.measured > 0.0 for line in lines)
