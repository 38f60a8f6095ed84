"""How a value lies in Redis: `n1`, its version, a checksum of both, then the value. Pure.

What does not carry it was not written by us; what does not match its checksum was damaged. Neither is ever returned.
"""

from __future__ import annotations

import struct
import zlib

from ngx_agents.coordination.commands import Versioned

MAGIC = b"n1"
_HEAD = struct.Struct(">2sQI")
_VERSION = struct.Struct(">Q")
HEAD_BYTES = _HEAD.size


def seal(value: bytes, version: int = 0) -> bytes:
    return _HEAD.pack(MAGIC, version, zlib.crc32(value, zlib.crc32(_VERSION.pack(version)))) + value


def unseal(stored: bytes) -> Versioned | None:
    """None when it is foreign or damaged."""
    if len(stored) < HEAD_BYTES:
        return None
    magic, version, checksum = _HEAD.unpack_from(stored)
    value = stored[HEAD_BYTES:]
    if magic != MAGIC or checksum != zlib.crc32(value, zlib.crc32(_VERSION.pack(version))):
        return None
    return Versioned(version, value)


def is_damaged(stored: bytes) -> bool:
    """Ours, but broken: it may be erased. What is foreign is left alone."""
    return stored.startswith(MAGIC)
