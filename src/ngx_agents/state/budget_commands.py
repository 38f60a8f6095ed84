"""What the journal is told and asked about money and tokens. Part of `commands`.

A meter counts one thing (tokens, or millionths of a USD) of one budget, subject and period. Instances take slices from
it before they spend, and give back what they did not: `leased` is all that was taken, `spent` what is known to be spent
of it. A slice of an instance that died stays taken.
"""

from __future__ import annotations

import msgspec

MAX_AMOUNT = 2**60


class TakeBudget(msgspec.Struct, frozen=True, kw_only=True):
    """→ Slice. While less than `limit` is taken, at least `amount` is granted, whole: so what goes beyond the limit is
    less than one `amount`. More, up to `slice_size`, is granted of what is left by then.

    `is_forced`: it is granted beyond the limit, too, to be counted. `blocks`: once the limit is taken the meter is
    spent (SpentMeters). `ends_at` is when the meter may be forgotten.
    """

    meter: str
    amount: int
    slice_size: int
    limit: int
    ends_at: float
    is_forced: bool = False
    blocks: bool = False


class Slice(msgspec.Struct, frozen=True, kw_only=True):
    """`granted` is 0 when the limit was reached. `leased` is what is taken now, by all."""

    granted: int
    leased: int


class GiveBudget(msgspec.Struct, frozen=True, kw_only=True):
    """→ None. `spent` was spent since the last time; `unused` is given back (below 0: more was spent than taken)."""

    meter: str
    spent: int
    unused: int


class ForgetBudgets(msgspec.Struct, frozen=True, kw_only=True):
    """→ int: how many meters went that ended before, at most `limit`."""

    before: float
    limit: int = 1000


# Questions


class ListMeters(msgspec.Struct, frozen=True, kw_only=True):
    """→ tuple[Meter, ...]: those whose name begins with `prefix`, by name, at most `limit`."""

    prefix: str = ""
    limit: int = 1000


class SpentMeters(msgspec.Struct, frozen=True, kw_only=True):
    """→ tuple[Meter, ...]: those that block, are taken up to their limit and have a name that begins with one of
    `prefixes`, by name, at most `limit`."""

    prefixes: tuple[str, ...]
    limit: int = 10_000


class Meter(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    leased: int
    spent: int
    ends_at: float


def cap_of(command: TakeBudget) -> int | None:
    """What a meter keeps turns out at; None where it only counts."""
    return command.limit if command.blocks else None


def slice_granted(command: TakeBudget, leased: int) -> int:
    """What is granted when so much is taken already."""
    left = command.limit - leased
    if left <= 0:
        return max(command.amount, command.slice_size) if command.is_forced else 0
    return max(command.amount, min(command.slice_size, left // 8))
