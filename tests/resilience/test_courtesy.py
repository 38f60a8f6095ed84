"""The loop at 100 %, unpinned, in a process of its own: without the courtesy its threads starve, with it not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

LOAD = Path(__file__).parent / "saturated_loop.py"


def measured(tmp_path: Path, *, courtesy: bool) -> dict[str, float]:
    """p99 of accept and median added to a model call, in ms, from `saturated_loop.py`."""
    done = subprocess.run(
        [sys.executable, str(LOAD), str(tmp_path), "on" if courtesy else "off"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    values: dict[str, float] = json.loads(done.stdout)
    return values


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_loop_that_never_idles_does_not_starve_the_journal_or_the_model(tmp_path: Path) -> None:
    polite = measured(tmp_path / "on", courtesy=True)
    assert polite["accept_p99_ms"] <= 20
    assert polite["model_added_ms"] <= 20
    starved = measured(tmp_path / "off", courtesy=False)
    assert starved["accept_p99_ms"] > 20 or starved["model_added_ms"] > 20
