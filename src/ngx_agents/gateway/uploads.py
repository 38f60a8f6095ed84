"""Places for bodies that are large: so many are held in memory at once, and so many of one user's, that who
sends slowly holds up themselves alone.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ngx_agents.errors import InvalidRequest, Overloaded
from ngx_agents.gateway.exchange import Exchange
from ngx_agents.state.model import Owner

MAX_UPLOADS = 16
MAX_UPLOADS_OF_USER = 3
UPLOAD_S = 60.0


class UploadPlaces:
    def __init__(self) -> None:
        self._taken: Counter[Owner] = Counter()

    @asynccontextmanager
    async def place(self, owner: Owner) -> AsyncIterator[None]:
        """One of the bodies that may be held in memory. Raises Overloaded."""
        if self._taken[owner] >= MAX_UPLOADS_OF_USER:
            raise Overloaded(f"{MAX_UPLOADS_OF_USER} uploads of yours are under way", retry_after_s=2.0)
        if self._taken.total() >= MAX_UPLOADS:
            raise Overloaded("too many uploads are under way", retry_after_s=2.0)
        self._taken[owner] += 1
        try:
            yield
        finally:
            self._taken[owner] -= 1
            if not self._taken[owner]:
                del self._taken[owner]

    async def body(self, exchange: Exchange, limit_bytes: int) -> bytes:
        """All of it, within UPLOAD_S. Raises BodyTooLarge, InvalidRequest."""
        try:
            async with asyncio.timeout(UPLOAD_S):
                return await exchange.raw_body(limit_bytes)
        except TimeoutError:
            raise InvalidRequest(f"the body did not come within {UPLOAD_S:.0f} seconds", field="body") from None
