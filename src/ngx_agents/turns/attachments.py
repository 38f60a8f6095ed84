"""A turn's attachments: looked at before it is accepted, fetched when it runs.

The turn's row has their ids alone. What is fetched is held while the turn is answered, by a bounded number of turns at
once: others that have attachments wait, within their deadline.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ngx_agents.agents.turn import Attachment
from ngx_agents.errors import InvalidRequest
from ngx_agents.state.blob_commands import Blob, BlobInfo, FindBlobs, GetBlob
from ngx_agents.state.commands import Grant
from ngx_agents.state.journal import Journal
from ngx_agents.state.model import Owner

MAX_ATTACHMENTS = 8
MAX_TOGETHER_BYTES = 10 * 2**20
"""In base64 this stays below what a request to the model may have."""
MAX_TURNS_AT_ONCE = 16


class Attachments:
    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._places = asyncio.Semaphore(MAX_TURNS_AT_ONCE)

    async def check(self, ids: tuple[str, ...], *, owner: Owner, conversation_id: str) -> None:
        """Raises InvalidRequest: too many, too large together, absent or another's, or of another conversation."""
        if len(ids) > MAX_ATTACHMENTS or len(set(ids)) < len(ids):
            raise InvalidRequest(f"a message has at most {MAX_ATTACHMENTS} attachments, each once", field="attachments")
        found: tuple[BlobInfo, ...] = await self._journal.query(FindBlobs(ids=ids, owner=owner))
        if len(found) < len(ids):
            raise InvalidRequest("there is no such attachment", field="attachments")
        if any(info.conversation_id not in (None, conversation_id) for info in found):
            raise InvalidRequest("an attachment belongs to another conversation", field="attachments")
        if sum(info.size_bytes for info in found) > MAX_TOGETHER_BYTES:
            message = f"the attachments of a message have at most {MAX_TOGETHER_BYTES} bytes together"
            raise InvalidRequest(message, field="attachments")

    @asynccontextmanager
    async def fetched(self, grant: Grant) -> AsyncIterator[tuple[Attachment, ...]]:
        """The turn's own, in order; those that were deleted meanwhile are there without their bytes."""
        if not grant.attachments:
            yield ()
            return
        async with self._places:
            yield tuple([await self._one(blob_id, grant.owner) for blob_id in grant.attachments])

    async def _one(self, blob_id: str, owner: Owner) -> Attachment:
        blob: Blob | None = await self._journal.query(GetBlob(id=blob_id, owner=owner))
        if blob is None:
            return Attachment(media_type="", data=None)
        return Attachment(media_type=blob.info.media_type, data=blob.data, name=blob.info.name)
