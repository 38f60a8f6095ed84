"""What the journal is told and asked about attachments. Part of `commands`.

What an attachment is stays in the journal; its bytes are there too, or with an object store (`place`), whose tier
(`object_tier`) fetches them: above it, nobody knows the difference.
"""

from __future__ import annotations

import msgspec

from ngx_agents.state.model import Owner


class BlobInfo(msgspec.Struct, frozen=True, kw_only=True):
    """An attachment without its bytes. `sha256` is hexadecimal; `name` is what its owner calls it.

    `place` says where the bytes are: `journal`, or `objects/` and a key.
    """

    id: str
    media_type: str
    size_bytes: int
    sha256: str
    created_at: float
    conversation_id: str | None = None
    name: str | None = None
    place: str = "journal"


class Blob(msgspec.Struct, frozen=True, kw_only=True):
    """`data` is empty where the bytes are in another place and were not asked of it."""

    info: BlobInfo
    data: bytes


class PutBlob(msgspec.Struct, frozen=True, kw_only=True):
    """→ None. The same id again changes nothing. Raises NotFound when the conversation is not theirs, StorageFull when
    the owner's attachments would have more than `most_bytes` together (None: whatever they have)."""

    owner: Owner
    blob: Blob
    most_bytes: int | None = None


class DeleteBlob(msgspec.Struct, frozen=True, kw_only=True):
    """→ bool: whether it was there."""

    id: str
    owner: Owner


class GetBlob(msgspec.Struct, frozen=True, kw_only=True):
    """→ Blob | None."""

    id: str
    owner: Owner


class FindBlobs(msgspec.Struct, frozen=True, kw_only=True):
    """→ tuple[BlobInfo, ...]: those of the ids that are the owner's, in the order of the ids."""

    ids: tuple[str, ...]
    owner: Owner


class ListBlobs(msgspec.Struct, frozen=True, kw_only=True):
    """→ Page of BlobInfo, newest first. Raises InvalidRequest for a cursor that is not ours."""

    owner: Owner
    limit: int = 50
    cursor: str | None = None


class KnownBlobs(msgspec.Struct, frozen=True, kw_only=True):
    """→ tuple[str, ...]: the places of those of the ids that are anybody's. For what looks after the object store."""

    ids: tuple[str, ...]


def in_order(ids: tuple[str, ...], found: dict[str, BlobInfo]) -> tuple[BlobInfo, ...]:
    return tuple(found[one] for one in ids if one in found)
