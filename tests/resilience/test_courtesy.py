"""The loop at 100 %, unpinned, in a process of its own: without the courtesy its threads starve, with it not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from math import inf
from pathlib import Path

import pytest

LOAD = Path(__file__).parent / "saturated_loop.py"
ROOT = Path(__file__).parents[2]
LIMIT_MS = 20


def measured(tmp_path: Path, *, courtesy: bool) -> dict[str, float]:
    """p99 of accept and median added to a model call, in ms, from `saturated_loop.py`."""
    done = subprocess.run(
        [sys.executable, str(LOAD), str(tmp_path), "on" if courtesy else "off"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=120,
        check=True,
    )
    values: dict[str, float] = json.loads(done.stdout)
    return values


def _folder(parent: Path, name: str) -> Path:
    folder = parent / name
    folder.mkdir()
    return folder


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(240)
def test_a_loop_that_never_idles_does_not_starve_the_journal_or_the_model(tmp_path: Path) -> None:
    # what else the machine does only adds: the best of some runs is nearest to what the program itself costs
    accept_p99_ms, model_added_ms = inf, inf
    for number in range(5):
        run = measured(_folder(tmp_path, f"on{number}"), courtesy=True)
        accept_p99_ms, model_added_ms = (
            min(accept_p99_ms, run["accept_p99_ms"]),
            min(model_added_ms, run["model_added_ms"]),
        )
        if max(accept_p99_ms, model_added_ms) <= LIMIT_MS:
            break
    assert accept_p99_ms <= LIMIT_MS
    assert model_added_ms <= LIMIT_MS
    starved = [measured(_folder(tmp_path, f"off{number}"), courtesy=False) for number in range(3)]
    assert min(run["accept_p99_ms"] for run in starved) > LIMIT_MS
