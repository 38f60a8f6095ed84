"""Places for bodies that are large: so many are held in memory at once, and so many of one user's, that who
sends slowly holds up themselves alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ngx_agents.errors import InvalidRequest, Overloaded
from ngx_agents.gateway.exchange import Exchange
from ngx_agents.gateway.owner_counts import OwnerCounts
from ngx_agents.state.model import Owner

MAX_UPLOADS = 16
MAX_UPLOADS_OF_USER = 3
UPLOAD_S = 60.0
RETRY_AFTER_S = 2.0


class UploadPlaces:
    def __init__(self) -> None:
        self._taken = OwnerCounts(MAX_UPLOADS_OF_USER, "uploads of yours are under way", retry_after_s=RETRY_AFTER_S)

    @asynccontextmanager
    async def place(self, owner: Owner) -> AsyncIterator[None]:
        """One of the bodies that may be held in memory. Raises Overloaded."""
        with self._taken.one_of(owner):
            if self._taken.total > MAX_UPLOADS:
                raise Overloaded("too many uploads are under way", retry_after_s=RETRY_AFTER_S)
            yield

    async def body(self, exchange: Exchange, limit_bytes: int) -> bytes:
        """All of it, within UPLOAD_S. Raises BodyTooLarge, InvalidRequest."""
        try:
            async with asyncio.timeout(UPLOAD_S):
                return await exchange.raw_body(limit_bytes)
        except TimeoutError:
            raise InvalidRequest(f"the body did not come within {UPLOAD_S:.0f} seconds", field="body") from None
