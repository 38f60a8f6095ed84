"""Versioned schema changes, forward only: `<dialect>_<version>_<name>.sql`, applied in order of version."""

from __future__ import annotations

from importlib import resources


def migrations(dialect: str) -> list[tuple[int, str]]:
    """(version, SQL) of every migration of a dialect, lowest version first."""
    found = []
    for entry in resources.files(__name__).iterdir():
        parts = entry.name.split("_", 2)
        if entry.name.endswith(".sql") and parts[0] == dialect:
            found.append((int(parts[1]), entry.read_text(encoding="utf-8")))
    return sorted(found)
