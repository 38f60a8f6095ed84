"""A place in a queue of small, equal things, fair between tenants: who asks for much waits behind who asks for little.

Each thing gets a tag: one more than its tenant's last, but never before what is served now. Served in the order of the
tags, tenants take turns however many things each has waiting. Pure; for queues whose entries are too small to be
charged to the virtual counters.

Source: "Start-time Fair Queuing", Goyal, Vin and Cheng, SIGCOMM 1996.
"""

from __future__ import annotations

MAX_TENANTS = 10_000


class FairOrder:
    """`tag` when a thing comes, `served` when it is taken."""

    __slots__ = ("_last", "_now")

    def __init__(self) -> None:
        self._now = 0
        self._last: dict[str, int] = {}

    def tag(self, tenant: str) -> int:
        last = self._last
        tag = max(self._now, last.get(tenant, -1) + 1)
        if len(last) >= MAX_TENANTS:
            last.clear()
        last[tenant] = tag
        return tag

    def served(self, tag: int) -> None:
        self._now = max(self._now, tag)
