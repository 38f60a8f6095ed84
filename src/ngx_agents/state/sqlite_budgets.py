"""Budget meters on SQLite."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from typing import Any

from ngx_agents.state import budget_commands as b

Connection = sqlite3.Connection


def _take(db: Connection, command: b.TakeBudget) -> b.Slice:
    row = db.execute("SELECT leased, cap FROM budget_meter WHERE name = ?", (command.meter,)).fetchone()
    leased, former_cap = row or (0, None)
    granted, cap = b.slice_granted(command, leased), b.cap_of(command)
    if granted or row is None or cap != former_cap:
        db.execute(
            "INSERT INTO budget_meter (name, leased, spent, ends_at, cap, is_spent)"
            " VALUES (?1, ?2, 0, ?3, ?5, coalesce(?2 >= ?5, 0))"
            " ON CONFLICT (name) DO UPDATE SET leased = min(leased + ?2, ?4), ends_at = ?3, cap = ?5,"
            " is_spent = coalesce(leased + ?2 >= ?5, 0)",
            (command.meter, granted, command.ends_at, b.MAX_AMOUNT, cap),
        )
    return b.Slice(granted=granted, leased=leased + granted)


def _give(db: Connection, command: b.GiveBudget) -> None:
    db.execute(
        "UPDATE budget_meter SET spent = min(spent + ?2, ?4), leased = max(0, min(leased - ?3, ?4)),"
        " is_spent = coalesce(leased - ?3 >= cap, 0) WHERE name = ?1",
        (command.meter, command.spent, command.unused, b.MAX_AMOUNT),
    )


def _forget(db: Connection, command: b.ForgetBudgets) -> int:
    return db.execute(
        "DELETE FROM budget_meter WHERE name IN (SELECT name FROM budget_meter WHERE ends_at < ? LIMIT ?)",
        (command.before, command.limit),
    ).rowcount


def _list(db: Connection, question: b.ListMeters) -> tuple[b.Meter, ...]:
    rows = db.execute(
        "SELECT name, leased, spent, ends_at FROM budget_meter WHERE substr(name, 1, length(?1)) = ?1"
        " ORDER BY name LIMIT ?2",
        (question.prefix, question.limit),
    ).fetchall()
    return tuple(b.Meter(name=row[0], leased=row[1], spent=row[2], ends_at=row[3]) for row in rows)


def _spent(db: Connection, question: b.SpentMeters) -> tuple[b.Meter, ...]:
    rows = db.execute(
        "SELECT name, leased, spent, ends_at FROM budget_meter JOIN json_each(?1) AS prefix"
        " ON substr(name, 1, length(prefix.value)) = prefix.value WHERE is_spent ORDER BY name LIMIT ?2",
        (json.dumps(question.prefixes), question.limit),
    ).fetchall()
    return tuple(b.Meter(name=row[0], leased=row[1], spent=row[2], ends_at=row[3]) for row in rows)


APPLY: dict[type, Callable[[Connection, Any], Any]] = {
    b.TakeBudget: _take,
    b.GiveBudget: _give,
    b.ForgetBudgets: _forget,
}
ANSWER: dict[type, Callable[[Connection, Any], Any]] = {b.ListMeters: _list, b.SpentMeters: _spent}
