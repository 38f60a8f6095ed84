"""What can be asked of what instances share. A new need is a new Struct here, not a new method.

`Command[R]` says what its answer is: `await shared.ask(Get("k"))` is `bytes | None`. A key belongs to one kind: values
(Put, PutNewer), buckets (Reserve, Settle), counters (Count) or places (Hold). Keys are at most `bounds.MAX_KEY_BYTES`
long in UTF-8; a `{tag}` in them keeps keys that belong together in one place of a cluster. Every entry expires.
Values out of bounds raise `SharedRefused`, whatever they were meant for.
"""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

R = TypeVar("R", covariant=True)


class Command(msgspec.Struct, Generic[R], frozen=True):
    """Something to ask; `R` is the type of the answer."""


class Versioned(msgspec.Struct, frozen=True):
    """A value and the version it was put with; 0 when it was put without."""

    version: int
    value: bytes


class Reserved(msgspec.Struct, frozen=True):
    """`wait_s` is 0 when everything was taken; otherwise nothing was, and so long it takes at least until it fits."""

    wait_s: float

    @property
    def is_granted(self) -> bool:
        return self.wait_s <= 0


class Bucket(msgspec.Struct, frozen=True):
    """A token bucket and what is wanted of it.

    It holds `capacity` at most, fills by `refill_per_s`, starts full, and may owe (a negative level) after a `Settle`.
    `amount` is from 0 to `capacity`; the other two are above 0. None is beyond 10^15.
    """

    key: str
    capacity: float
    refill_per_s: float
    amount: float = 0.0


class Held(msgspec.Struct, frozen=True):
    """`count` places are the member's now; `others` are held by all the other members."""

    count: int
    others: int


class Get(Command[bytes | None], frozen=True):
    """The value at `key`; None when there is none, it has expired, or it cannot be trusted (corrupt)."""

    key: str


class GetMany(Command[list[bytes | None]], frozen=True):
    """One answer per key, in their order, each as by `Get`; at most `bounds.MAX_KEYS` keys."""

    keys: tuple[str, ...]


class GetVersioned(Command[Versioned | None], frozen=True):
    """The value with its version."""

    key: str


class Put(Command[None], frozen=True):
    """Stores `value` for `ttl_s` seconds, over what was there.

    `DropGroup(group)` will erase it. A key keeps to one group, or to none.
    """

    key: str
    value: bytes
    ttl_s: float
    group: str | None = None


class PutNewer(Command[bool], frozen=True):
    """Stores only over nothing, a corrupt entry or a smaller version; says whether it did. `version` is 1 to 2^63-1."""

    key: str
    value: bytes
    version: int
    ttl_s: float
    group: str | None = None


class Drop(Command[int], frozen=True):
    """Erases the keys; says how many were there. At most `bounds.MAX_KEYS` keys, of any kind."""

    keys: tuple[str, ...]


class DropGroup(Command[int], frozen=True):
    """Erases all values of the group that were put before this was asked; says how many were there.

    Repeatable: after an error it is asked again. What is put while it runs stays indexed, for the next DropGroup.
    """

    group: str


class Reserve(Command[Reserved], frozen=True):
    """Takes each bucket's `amount` from all of them, or from none. All keys share one `{tag}`, unless there is one key.

    At most `bounds.MAX_BUCKETS` buckets, no key twice.
    """

    buckets: tuple[Bucket, ...]


class Settle(Command[float], frozen=True):
    """Corrects a reservation: `delta` above 0 takes more (down into debt), below 0 gives back (up to full).

    The answer is the level afterwards. `bucket.amount` does not matter. A debt of more than 400 days is forgiven then.
    """

    bucket: Bucket
    delta: float


class Count(Command[int], frozen=True):
    """Adds `amount` to a counter that starts at 0 and expires `ttl_s` seconds after it started; says the sum."""

    key: str
    amount: int
    ttl_s: float


class Hold(Command[Held], frozen=True):
    """A member holds up to `wanted` of the `limit` places from now on, in place of what it held: no more than the
    others leave, and never fewer than the `least` that it uses already. Not asked again within `lease_s` it holds none.

    All three numbers are from 0; members are named like keys.
    """

    key: str
    member: str
    wanted: int
    least: int
    limit: int
    lease_s: float
