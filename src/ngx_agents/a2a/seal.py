"""Proof that what lies in a stream of Redis was put there by a process of this house, for that stream, as it is.

An HMAC-SHA256 with the house's key over the stream's name, the field and the content stands before the content: who can
write to Redis alone can neither make an entry, nor alter one, nor move one to another agent, class or process. Several
keys may be known while one is being changed; the first signs. The hash states that depend on key and stream alone are
kept: copied, they cost half of what a whole HMAC does. Source: RFC 2104.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from typing import Any, TypeAlias

from ngx_agents.errors import ConfigError

CONTEXT = b"ngx message between agents 1"
MAC_BYTES = 32
BLOCK_BYTES = 64
MAX_PLACES = 1024
Begun: TypeAlias = tuple[Any, Any]
"""The inner and the outer hash, the stream's name and the field already in the inner one."""


class Seal:
    """`keys` are secrets of at least 32 bytes. Raises ConfigError without one."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not keys:
            raise ConfigError("messages between processes need a secret key that all of them have")
        self._keys = [hmac.digest(key, CONTEXT, "sha256") for key in keys]
        self._begun: dict[tuple[str, str], list[Begun]] = {}

    def closed(self, stream: str, field: str, content: bytes) -> bytes:
        """The content as it is to be stored."""
        begun = self._begun.get((stream, field)) or self._begin(stream, field)
        return _mac(begun[0], content) + content

    def opened(self, stream: str, field: str, stored: bytes) -> bytes | None:
        """The content; None when it was not stored there by this house."""
        mac, content = stored[:MAC_BYTES], stored[MAC_BYTES:]
        for begun in self._begun.get((stream, field)) or self._begin(stream, field):
            if hmac.compare_digest(_mac(begun, content), mac):
                return content
        return None

    def _begin(self, stream: str, field: str) -> list[Begun]:
        begun = [_begin(key, f"{stream}\0{field}\0".encode()) for key in self._keys]
        if len(self._begun) >= MAX_PLACES:
            del self._begun[next(iter(self._begun))]
        self._begun[stream, field] = begun
        return begun


def _begin(key: bytes, place: bytes) -> Begun:
    padded = key.ljust(BLOCK_BYTES, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in padded) + place)
    return inner, hashlib.sha256(bytes(byte ^ 0x5C for byte in padded))


def _mac(begun: Begun, content: bytes) -> bytes:
    inner, outer = begun[0].copy(), begun[1].copy()
    inner.update(content)
    outer.update(inner.digest())
    mac: bytes = outer.digest()
    return mac
