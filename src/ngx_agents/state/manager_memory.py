"""Conversations as a StateManager keeps them in memory: bounded in bytes, least recently used out first, with a TTL.

A copy is never changed, only replaced, and what a caller gets is made from it anew each time. Expiry counts from the
write; a hit does not extend it. One thread, the loop's.
"""

from __future__ import annotations

from collections import OrderedDict

import msgspec

from ngx_agents.clock import Clock
from ngx_agents.state.model import Message, Owner
from ngx_agents.state.state_commands import Stamp

MAX_BYTES = 64 * 2**20
KEPT_MESSAGES = 50
COPY_OVERHEAD_BYTES = 600
MESSAGE_OVERHEAD_BYTES = 400
_TURN_BITS = 21
_MOST_TURNS = (1 << _TURN_BITS) - 1


class Copy(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A conversation at one moment. `body` is the stored state, empty when there is none; `messages` the newest, oldest
    first; `is_whole`: there are no older ones."""

    owner: Owner
    stamp: Stamp
    body: bytes
    messages: tuple[Message, ...]
    is_whole: bool

    @property
    def size_bytes(self) -> int:
        size_bytes = COPY_OVERHEAD_BYTES + len(self.body)
        for message in self.messages:
            size_bytes += MESSAGE_OVERHEAD_BYTES + 2 * len(message.text)
        return size_bytes


def order_of(stamp: Stamp) -> int:
    """One number that grows with every change, up to 2^63-1; beyond 2^21 turns with those of the state alone."""
    turns = min(stamp.next_turn + stamp.epoch, _MOST_TURNS)
    return stamp.version << _TURN_BITS | turns


def order_of_version(version: int) -> int:
    """The least order that a conversation with this version of its state can have."""
    return version << _TURN_BITS


class _Entry:
    __slots__ = ("copy", "expires_at_s", "size_bytes")

    def __init__(self, copy: Copy, expires_at_s: float) -> None:
        self.copy = copy
        self.expires_at_s = expires_at_s
        self.size_bytes = copy.size_bytes


class Copies:
    """By conversation id. `ttl_s` is the life of a copy, `max_bytes` bounds all of them."""

    def __init__(self, clock: Clock, *, ttl_s: float, max_bytes: int = MAX_BYTES) -> None:
        self._now_s = clock.monotonic_s
        self._ttl_s = ttl_s
        self._max_bytes = max_bytes
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: str) -> Copy | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.expires_at_s <= self._now_s():
            self.forget(key)
            return None
        self._entries.move_to_end(key)
        return entry.copy

    def keep(self, key: str, copy: Copy) -> None:
        self.forget(key)
        entry = _Entry(copy, self._now_s() + self._ttl_s)
        if entry.size_bytes > self._max_bytes:
            return
        self._entries[key] = entry
        self.size_bytes += entry.size_bytes
        while self.size_bytes > self._max_bytes:
            self.forget(next(iter(self._entries)))

    def forget(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.size_bytes -= entry.size_bytes

    def forget_owner(self, owner: Owner) -> None:
        for key in [key for key, entry in self._entries.items() if entry.copy.owner == owner]:
            self.forget(key)

    def clear(self) -> None:
        self._entries.clear()
        self.size_bytes = 0

    def sweep(self) -> int:
        """Lets go of what has expired; how many."""
        now_s = self._now_s()
        expired = [key for key, entry in self._entries.items() if entry.expires_at_s <= now_s]
        for key in expired:
            self.forget(key)
        return len(expired)


class Floors:
    """The highest order this instance has met per conversation: nothing lower is taken from what instances share.

    Bounded: what falls out raises the floor of all that are not listed, so that forgetting makes it stricter.
    """

    def __init__(self, *, most: int = 65_536) -> None:
        self._most = most
        self._orders: OrderedDict[str, int] = OrderedDict()
        self._of_the_rest = 0

    def of(self, key: str) -> int:
        return self._orders.get(key, self._of_the_rest)

    def lift(self, key: str, order: int) -> None:
        if order > self._orders.get(key, 0):
            self._orders[key] = order
        if key in self._orders:
            self._orders.move_to_end(key)
        if len(self._orders) > self._most:
            _, gone = self._orders.popitem(last=False)
            self._of_the_rest = max(self._of_the_rest, gone)
