"""Ids that carry kind and shard: `c_7f01J…` is a conversation in shard 0x7f.

The rest is a ULID: 48 bits of milliseconds, 80 bits of chance, Crockford base 32, so ids of one shard sort by time.
Source: github.com/ulid/spec.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import zlib
from collections.abc import Callable
from typing import Literal

from ngx_agents.clock import Clock

Kind = Literal["c", "t", "m", "a", "l", "k", "b", "e", "u", "j", "s", "w"]
SHARDS = 256
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [high + low for high in _ALPHABET for low in _ALPHABET]
_PATTERN = re.compile(r"[ctmalkbeujsw]_[0-9a-f]{2}[0-9A-HJKMNP-TV-Z]{26}")


def shard_of(user: str) -> int:
    """The logical shard of a user, 0..255: CRC-32 of the UTF-8 bytes."""
    return zlib.crc32(user.encode("utf-8", "surrogatepass")) % SHARDS


def is_id(kind: Kind, value: str) -> bool:
    return value[:1] == kind and _PATTERN.fullmatch(value) is not None


class _Drawn:
    """The system's chance, one system call for 400 ids."""

    def __init__(self) -> None:
        self._pool = b""
        self._at = 0

    def __call__(self, bits: int) -> int:
        size = bits // 8
        if self._at + size > len(self._pool):
            self._pool, self._at = secrets.token_bytes(4000), 0
        self._at += size
        return int.from_bytes(self._pool[self._at - size : self._at], "big")


class Ids:
    """Makes ids. `random_bits(80)` is the source of chance; the default is the system's, drawn in advance."""

    def __init__(self, clock: Clock, random_bits: Callable[[int], int] | None = None) -> None:
        self._clock = clock
        self._random_bits = random_bits or _Drawn()

    def new(self, kind: Kind, shard: int) -> str:
        return _format(kind, shard, (int(self._clock.now_s() * 1000) & (2**48 - 1)) << 80 | self._random_bits(80))


def derived(kind: Kind, shard: int, seed: str) -> str:
    """Always the same id for the same seed: for things that must be made once, however often that is tried."""
    return _format(kind, shard, int.from_bytes(hashlib.sha256(seed.encode()).digest()[:16], "big"))


def shard_in(any_id: str) -> int:
    """The shard an id carries; the id must be one of ours."""
    return int(any_id[2:4], 16)


def _format(kind: Kind, shard: int, value: int) -> str:
    pairs = [_PAIRS[value >> shift & 1023] for shift in range(120, -1, -10)]
    return f"{kind}_{shard:02x}{''.join(pairs)}"
