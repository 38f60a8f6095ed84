"""Token bucket arithmetic, pure. The script `reserve` in `scripts.py` is this in Lua, step by step in the same order,
so that both give the same numbers to the last bit (proved by `tests/coordination/test_buckets.py`)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from ngx_agents.coordination.bounds import MAX_TTL_S
from ngx_agents.coordination.commands import Bucket


class Level(NamedTuple):
    """What a bucket held at a moment, in microseconds of whoever keeps it. No Level is a full bucket."""

    tokens: float
    at_us: int


def refilled(level: Level | None, bucket: Bucket, now_us: int) -> float:
    """The tokens now. A clock that went back refills nothing."""
    if level is None:
        return bucket.capacity
    passed_s = max(0, now_us - level.at_us) / 1e6
    return min(bucket.capacity, level.tokens + passed_s * bucket.refill_per_s)


def reserve(levels: Sequence[Level | None], buckets: Sequence[Bucket], now_us: int) -> tuple[float, list[Level]]:
    """(seconds to wait, 0 when taken; the levels afterwards)."""
    tokens = [refilled(level, bucket, now_us) for level, bucket in zip(levels, buckets, strict=True)]
    wait_s = 0.0
    for held, bucket in zip(tokens, buckets, strict=True):
        if held < bucket.amount:
            wait_s = max(wait_s, (bucket.amount - held) / bucket.refill_per_s)
    if wait_s <= 0:
        tokens = [held - bucket.amount for held, bucket in zip(tokens, buckets, strict=True)]
    return wait_s, [Level(held, now_us) for held in tokens]


def settle(level: Level | None, bucket: Bucket, delta: float, now_us: int) -> Level:
    """The level after `delta` more (below 0: less) was used."""
    return Level(min(bucket.capacity, refilled(level, bucket, now_us) - delta), now_us)


def keep_s(level: Level, bucket: Bucket) -> float:
    """How long the level must be remembered: afterwards the bucket is full anyway."""
    return math.ceil(min(MAX_TTL_S, (bucket.capacity - level.tokens) / bucket.refill_per_s)) + 1
