"""What the admin calls answer with, where no lower room has the record. Times are Unix seconds."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from ngx_agents.state.commands import AuditEntry, Instance, Meter


class Status(Struct, frozen=True, kw_only=True):
    """How the server stands. `schema` is the journal's version, `instances` are those with a valid heartbeat (none are
    known on SQLite). `instance` is the one that answered."""

    version: str
    instance: str
    mode: str
    reasons: tuple[str, ...]
    model: str
    is_ready: bool
    is_draining: bool
    schema: int
    instances: tuple[Instance, ...]


class AuditPage(Struct, frozen=True):
    """Newest first; `next` is the cursor of the next page, null on the last."""

    items: tuple[AuditEntry, ...]
    next: str | None = None


class ControlView(Struct, frozen=True, kw_only=True):
    """A plan, tenant, account, flag, budget or stop. Fields of `value` that are as by default are left out."""

    id: str
    value: dict[str, Any]


class ControlList(Struct, frozen=True):
    """All of a kind, by id."""

    items: tuple[ControlView, ...]


class MeterList(Struct, frozen=True):
    """What was taken of the budgets, by name: `budget/period/tokens or cost/whom`; cost in millionths of a USD.

    `leased` is what instances took to spend, `spent` what they told by now that they spent of it."""

    items: tuple[Meter, ...]
