"""How one instance asks another about a turn that runs there. What it is made of is the edge's business."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import msgspec

from ngx_agents.state.model import Owner


class PeerEvent(msgspec.Struct, frozen=True):
    """An event of a turn as its owner tells it. `id` is (epoch, sequence), None for what is sent again at a resume."""

    name: str
    data: Any
    id: tuple[int, int] | None


class Peers(Protocol):
    """Both raise Unavailable when the other instance cannot be reached, or does not run the turn (any more)."""

    def events(
        self, address: str, turn_id: str, owner: Owner, *, after: str | None
    ) -> AbstractAsyncContextManager[AsyncIterator[PeerEvent]]:
        """The turn's events after the id `after`, until its owner ends the stream."""
        ...

    async def stop(self, address: str, turn_id: str, owner: Owner, *, code: str) -> None:
        """Has the turn end there: `cancelled`, `interrupted`, or `unwatched` unless somebody else watches it."""
        ...
