"""What SECURITY.md names as held by tests is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def _named(cell: str) -> list[Path]:
    """The files and folders of one cell; a name alone is in the folder of the one before."""
    found: list[Path] = []
    for name in re.findall(r"`([^`]+)`", cell):
        folder = found[-1].parent if found and "/" not in name else ROOT
        found.append(folder / name.rstrip("/"))
    return found


def test_every_defence_names_tests_that_exist() -> None:
    rows = [line.split("|") for line in (ROOT / "SECURITY.md").read_text().splitlines() if re.match(r"\| \d \|", line)]
    assert len(rows) > 15
    named = [path for row in rows for path in _named(row[4])]
    assert len(named) >= len(rows)
    assert [str(path) for path in named if not path.exists()] == []
