"""For whom this task works: known to every queue on the way, without being handed through every call.

Set by the edge for a request and by the runner for a turn; tasks made meanwhile inherit it. What works for nobody
(sweepers, probes) has none.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Caller:
    """`turn_class`: nothing done for it is less urgent than that."""

    tenant: str
    user: str
    turn_class: int = 1


CALLER: ContextVar[Caller | None] = ContextVar("caller", default=None)


def tenant_now() -> str:
    """Empty for work that is nobody's."""
    caller = CALLER.get()
    return "" if caller is None else caller.tenant


def urgency_of(own: int) -> int:
    """A child's class, never below its parent's."""
    caller = CALLER.get()
    return own if caller is None else min(own, caller.turn_class)
