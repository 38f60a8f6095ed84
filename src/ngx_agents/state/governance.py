"""What operators decide, and the log of who decided it. Part of `commands`.

A control is one JSON document of a kind: a plan, a tenant, an account, a flag, a budget, a stop, the operators' mode,
a revocation.
All of them are few (`MAX_CONTROLS`), so that every instance holds them all and follows their changes by `number`, which
grows with every change in the order of the commits.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

ControlKind = Literal["plan", "tenant", "account", "flag", "budget", "stop", "mode", "revocation"]
MAX_CONTROLS = 100_000
MAX_REVOCATIONS = 50_000
"""Counted apart: however many users sign out everywhere, operators can go on deciding."""
MAX_CONTROL_BYTES = 16_384
REMOVED_KEPT_S = 86_400.0
"""How long the row of a removed control stays at least: every instance has followed it by then."""


class Control(msgspec.Struct, frozen=True, kw_only=True):
    """`body` is JSON, empty when the control was removed."""

    kind: ControlKind
    id: str
    body: bytes
    number: int
    changed_at: float


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One change. `actor` is who made it, `action` a stable word such as `flag.put`, `target` what was changed.

    `before` and `after` are JSON objects with secrets masked; None where there was, or is, nothing.
    """

    id: str
    at: float
    actor: str
    action: str
    target: str
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None


# Commands


class PutControl(msgspec.Struct, frozen=True, kw_only=True):
    """→ Control | None: what was there before. An empty `body` removes it.

    Raises InvalidRequest (too large), Overloaded when there are `MAX_CONTROLS` already (`MAX_REVOCATIONS` of those).
    """

    kind: ControlKind
    id: str
    body: bytes
    now: float


class ForgetRevocations(msgspec.Struct, frozen=True, kw_only=True):
    """→ int: how many revocations went that hold no more, at most `limit`. Nobody is told: each instance knows when."""

    now: float
    limit: int = 1000


class WriteAudit(msgspec.Struct, frozen=True, kw_only=True):
    """→ None. For a change that is no command of the journal's."""

    entry: AuditEntry


class Audited(msgspec.Struct, frozen=True, kw_only=True):
    """→ the command's result. Does it and logs it in one transaction; what is refused is not logged.

    `before` of the entry is filled in from the result when that is a Control. Only for commands that are not about
    turns and of which no tier keeps a copy: controls, API keys, a dead turn's replay.
    """

    command: Any
    entry: AuditEntry


def most_of(kind: ControlKind) -> int:
    """How many there may be, of revocations or of all the others."""
    return MAX_REVOCATIONS if kind == "revocation" else MAX_CONTROLS


def completed(entry: AuditEntry, result: Any) -> AuditEntry:
    """The entry with what was there before, where the result tells it."""
    if entry.before is None and isinstance(result, Control):
        return msgspec.structs.replace(entry, before=msgspec.json.decode(result.body))
    return entry


# Questions


class ListControls(msgspec.Struct, frozen=True, kw_only=True):
    """→ tuple[Control, ...] with a number above `after`, lowest first, at most `limit`."""

    after: int = 0
    limit: int = 1000


class ListAudit(msgspec.Struct, frozen=True, kw_only=True):
    """→ Page of AuditEntry, newest first. `target` narrows to one. Raises InvalidRequest for a cursor not ours."""

    limit: int = 50
    cursor: str | None = None
    target: str | None = None
