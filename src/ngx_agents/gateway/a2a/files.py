"""Files inside a message: kept as attachments of its conversation, as those of `/v1/me/attachments` are, and given to
the turn. In what is stored of the message a link stands for their bytes. Files that are links are named, never fetched.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from a2a.types import Message, Part

from ngx_agents.errors import JournalError, NgxError
from ngx_agents.gateway.a2a.parts import BYTES, media_type_of
from ngx_agents.gateway.a2a.refusals import invalid
from ngx_agents.gateway.deps import GatewayDeps
from ngx_agents.state.blob_commands import Blob, PutBlob
from ngx_agents.state.blobs import MEDIA_TYPES, new_blob
from ngx_agents.state.blobs import media_type_of as told_by_bytes
from ngx_agents.state.model import Owner
from ngx_agents.turns.attachments import MAX_ATTACHMENTS
from ngx_agents.turns.model import TurnRequest

FILE_MODES = tuple(sorted(MEDIA_TYPES))


def name_types(message: Message) -> None:
    """Gives files that are of no named type the one that their first bytes tell, where they tell one."""
    for part in message.parts:
        if part.WhichOneof("content") == "raw" and part.media_type in ("", BYTES):
            part.media_type = told_by_bytes(part.raw) or part.media_type


async def taken_out(message: Message, owner: Owner, conversation_id: str, *, url: str, now: float) -> tuple[Blob, ...]:
    """The files of the message, each once; in the message links below `url` come in their place.

    Raises InvalidRequest (too many, not of their type, a name that is none), BodyTooLarge.
    """
    files = [
        part for part in message.parts if part.WhichOneof("content") == "raw" and media_type_of(part) in MEDIA_TYPES
    ]
    if len(files) > MAX_ATTACHMENTS:
        raise invalid(f"a message has {MAX_ATTACHMENTS} files at most", "message.parts")
    found: dict[str, Blob] = {}
    for part in files:
        blob = await asyncio.to_thread(_blob, part, owner, conversation_id, now)
        found[blob.info.id] = blob
        part.url = f"{url}/v1/me/attachments/{blob.info.id}"
    return tuple(found.values())


def _blob(part: Part, owner: Owner, conversation_id: str, now: float) -> Blob:
    return new_blob(
        owner, part.raw, media_type_of(part), now=now, conversation_id=conversation_id, name=part.filename or None
    )


async def store(deps: GatewayDeps, request: TurnRequest, files: Sequence[Blob], *, most_bytes: int | None) -> None:
    """Keeps the files of a message that was let in, in the conversation, which begins with them if it has not yet.

    Raises NotFound (the conversation), StorageFull, ObjectsUnavailable.
    """
    if files and request.begins is not None:
        (begun,) = await deps.journal.transact([request.begins])
        if isinstance(begun, NgxError) and not isinstance(begun, JournalError):  # a JournalError: it is there
            raise begun
    for blob in files:
        await deps.tell(PutBlob(owner=request.owner, blob=blob, most_bytes=most_bytes))
