"""What may be sent as an image or a document, and how large: refused here, before anything is sent.

The data must begin as its type says, so that a mislabelled file is the sender's clear error and not the model's.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

import msgspec

from ngx_agents.errors import ModelRequestError
from ngx_agents.vertex.content import Media

MEBIBYTE = 1024 * 1024
MAX_URI_CHARS = 2048
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"})


class MediaLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds, all inclusive: one inline image or document before base64, and the whole request as it is sent."""

    max_inline_bytes: int = 7 * MEBIBYTE
    max_request_bytes: int = 20 * MEBIBYTE


def check(media: Media, limits: MediaLimits) -> None:
    """Raises ModelRequestError for a type, size, address or content that cannot be sent."""
    begins_well = BEGINNINGS.get(media.mime_type)
    if begins_well is None:
        raise ModelRequestError("images and documents of this type cannot be sent to the model")
    if (media.data is None) == (media.uri is None):
        raise ModelRequestError("an image or a document needs either its data or its address")
    if media.uri is not None:
        _check_uri(media.uri)
        return
    data = media.data or b""
    if len(data) > limits.max_inline_bytes:
        raise ModelRequestError(f"an image or a document is larger than {limits.max_inline_bytes} bytes")
    if not begins_well(data):
        raise ModelRequestError("an image or a document is not what its type says")


def check_size(body: bytes, limits: MediaLimits) -> bytes:
    """`body` itself. Raises ModelRequestError when it is larger than a request may be."""
    if len(body) > limits.max_request_bytes:
        raise ModelRequestError(f"the request is larger than {limits.max_request_bytes} bytes")
    return body


def is_image(media: Media) -> bool:
    return media.mime_type.startswith("image/")


def _check_uri(uri: str) -> None:
    try:
        parts = urlsplit(uri)
    except ValueError:
        raise ModelRequestError("the address of an image or a document cannot be understood") from None
    is_plain = uri.isascii() and uri.isprintable() and " " not in uri and len(uri) <= MAX_URI_CHARS
    if parts.scheme not in ("gs", "https") or not parts.netloc or "@" in parts.netloc or not is_plain:
        raise ModelRequestError("images and documents are fetched from gs:// and https:// addresses only")
    if parts.scheme == "gs" and len(parts.path) < 2:
        raise ModelRequestError("a gs:// address names a bucket and an object")


def _is_webp(data: bytes) -> bool:
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP"


def _is_heif(data: bytes) -> bool:
    return data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS


def _is_text(data: bytes) -> bool:
    try:
        return bool(data) and "\0" not in data.decode()
    except UnicodeDecodeError:
        return False


BEGINNINGS: dict[str, Callable[[bytes], bool]] = {
    "image/png": lambda data: data.startswith(b"\x89PNG\r\n\x1a\n"),
    "image/jpeg": lambda data: data.startswith(b"\xff\xd8\xff"),
    "image/webp": _is_webp,
    "image/heic": _is_heif,
    "image/heif": _is_heif,
    "application/pdf": lambda data: data.startswith(b"%PDF-"),
    "text/plain": _is_text,
}
