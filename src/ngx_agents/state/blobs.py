"""What may be attached: images, PDF and plain text up to 5 MB, and only if the bytes are what they are said to be."""

from __future__ import annotations

import hashlib

from ngx_agents.errors import BodyTooLarge, InvalidRequest, UnsupportedMediaType
from ngx_agents.state.blob_commands import Blob, BlobInfo
from ngx_agents.state.ids import derived, shard_of
from ngx_agents.state.model import Owner

MAX_BLOB_BYTES = 5 * 2**20
MAX_NAME_CHARS = 200
_RIFF_FORM = slice(8, 12)


def _is_webp(data: bytes) -> bool:
    return data.startswith(b"RIFF") and data[_RIFF_FORM] == b"WEBP"


def _is_heif(data: bytes) -> bool:
    return data[4:8] == b"ftyp" and data[8:12] in (b"heic", b"heix", b"mif1", b"msf1")


def _is_text(data: bytes) -> bool:
    try:
        return "\0" not in data.decode()
    except UnicodeDecodeError:
        return False


_LOOKS_RIGHT = {
    "image/jpeg": lambda data: data.startswith(b"\xff\xd8\xff"),
    "image/png": lambda data: data.startswith(b"\x89PNG\r\n\x1a\n"),
    "image/webp": _is_webp,
    "image/heic": _is_heif,
    "application/pdf": lambda data: data.startswith(b"%PDF-"),
    "text/plain": _is_text,
    "text/csv": _is_text,
}
_TEXTS = frozenset({"text/plain", "text/csv"})
MEDIA_TYPES = frozenset(_LOOKS_RIGHT)


def media_type_of(data: bytes) -> str | None:
    """The type that the first bytes tell, where they tell one: text looks like anything."""
    return next((name for name, looks_right in _LOOKS_RIGHT.items() if name not in _TEXTS and looks_right(data)), None)


def new_blob(
    owner: Owner,
    data: bytes,
    media_type: str,
    *,
    now: float,
    conversation_id: str | None = None,
    name: str | None = None,
) -> Blob:
    """The attachment, its id derived from owner, place and content: the same twice is kept once.

    Raises InvalidRequest (empty, not of its type, a name that is none), BodyTooLarge, UnsupportedMediaType.
    """
    if len(data) > MAX_BLOB_BYTES:
        raise BodyTooLarge(MAX_BLOB_BYTES)
    looks_right = _LOOKS_RIGHT.get(media_type)
    if looks_right is None:
        raise UnsupportedMediaType(f"attachments are of {', '.join(sorted(MEDIA_TYPES))}")
    if not data or not looks_right(data):
        raise InvalidRequest(f"the attachment is not {media_type}", field="data")
    if name is not None and not _is_name(name):
        raise InvalidRequest(f"a name has 1 to {MAX_NAME_CHARS} printable characters, no / or \\", field="filename")
    digest = hashlib.sha256(data).hexdigest()
    parts = (owner.tenant, owner.user, conversation_id or "", media_type, digest)
    seed = "".join(f"{len(part)}:{part}" for part in parts)
    info = BlobInfo(
        id=derived("b", shard_of(owner.user), seed),
        media_type=media_type,
        size_bytes=len(data),
        sha256=digest,
        created_at=now,
        conversation_id=conversation_id,
        name=name,
    )
    return Blob(info=info, data=bytes(data))


def _is_name(name: str) -> bool:
    return 0 < len(name) <= MAX_NAME_CHARS and name.isprintable() and not name.isspace() and not set(name) & {"/", "\\"}
