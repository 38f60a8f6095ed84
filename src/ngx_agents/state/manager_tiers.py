"""The copies of conversations in front of the journal: this process's memory, then what instances share.

No copy is served that is older than what this instance has met: a write, a conflict or a hint replaces or removes the
copy in memory, spoils the reads that are under way (they may have read before it), and lifts the floor below which
nothing is taken from what is shared.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

import msgspec

from ngx_agents.clock import Clock
from ngx_agents.coordination.shared import Shared
from ngx_agents.state import state_commands as s
from ngx_agents.state.manager_memory import KEPT_MESSAGES, Copies, Copy, Floors, order_of, order_of_version
from ngx_agents.state.manager_shared import Hint, SharedCopies, bare
from ngx_agents.state.model import Message, Owner
from ngx_agents.telemetry.metrics import Metrics


class Reading:
    """A read under way. Once spoiled, what it brings is given to its caller and not kept."""

    __slots__ = ("_key", "_readings", "is_spoiled")

    def __init__(self, readings: dict[str, set[Reading]], key: str) -> None:
        self._readings = readings
        self._key = key
        self.is_spoiled = False

    def __enter__(self) -> Self:
        self._readings.setdefault(self._key, set()).add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        others = self._readings[self._key]
        others.discard(self)
        if not others:
            del self._readings[self._key]


class Tiers:
    """`shared` None: memory alone."""

    def __init__(self, clock: Clock, *, ttl_s: float) -> None:
        self.memory = Copies(clock, ttl_s=ttl_s)
        self.shared: SharedCopies | None = None
        self._floors = Floors()
        self._readings: dict[str, set[Reading]] = {}
        self._distrusted: dict[str, int] = {}

    def share(self, shared: Shared, *, instance: str, ttl_s: float, metrics: Metrics) -> None:
        """From `open` on, copies are also shared through `shared`."""
        self.shared = SharedCopies(shared, instance=instance, ttl_s=ttl_s, metrics=metrics, heard=self.heard)

    async def open(self) -> None:
        if self.shared is not None:
            await self.shared.open()

    async def close(self) -> None:
        if self.shared is not None:
            await self.shared.close()

    def get(self, key: str, owner: Owner) -> Copy | None:
        """The copy in memory, if it is this owner's."""
        copy = self.memory.get(key)
        return copy if copy is not None and copy.owner == owner else None

    async def get_shared(self, key: str, owner: Owner, *, at_least: int) -> Copy | None:
        """A shared copy whose state is no older than `at_least` and than all that was met here; kept in memory."""
        if self.shared is None or key in self._distrusted:
            return None
        with self.reading(key) as reading:
            copy = await self.shared.get(key, owner)
            if copy is None:
                return None
            order = order_of(copy.stamp)
            if copy.stamp.version < at_least or order < self._floors.of(key):
                self.shared.count_stale()
                return None
            self._floors.lift(key, order)
            if not reading.is_spoiled:
                self._remember(key, copy)
            return copy

    def reading(self, key: str) -> Reading:
        """Entered around a read that may be kept."""
        return Reading(self._readings, key)

    def read(self, key: str, copy: Copy, reading: Reading) -> None:
        """Takes in what the journal said."""
        self._floors.lift(key, order_of(copy.stamp))
        if not reading.is_spoiled:
            self._keep(key, copy)

    def saved(self, key: str, owner: Owner, *, stamp: s.Stamp, body: bytes) -> None:
        """A state was written: the copy follows when nothing else happened since it was made."""
        former = self.get(key, owner)
        self._spoil(key, order_of(stamp))
        if former is None and (stamp.next_turn, stamp.epoch) == (1, 0):
            begun = msgspec.structs.replace(stamp, version=0)
            former = Copy(owner=owner, stamp=begun, body=b"", messages=(), is_whole=True)
        if former is not None and _differs_in_version_alone(former.stamp, stamp):
            copy = Copy(owner=owner, stamp=stamp, body=body, messages=former.messages, is_whole=former.is_whole)
            self._keep(key, copy)
        self._tell(key, owner, stamp)

    def appended(self, key: str, owner: Owner, *, appended: s.Appended, messages: tuple[Message, ...]) -> None:
        stamp = appended.stamp
        former = self.get(key, owner)
        self._spoil(key, order_of(stamp))
        if former is None and stamp.next_turn == 1 + len(messages) and stamp.version == 0:
            begun = msgspec.structs.replace(stamp, next_turn=1)
            former = Copy(owner=owner, stamp=begun, body=b"", messages=(), is_whole=True)
        if former is not None and _differs_by_turns(former.stamp, stamp, len(messages)):
            said = former.messages + messages
            is_whole = former.is_whole and len(said) <= KEPT_MESSAGES
            said = said[-KEPT_MESSAGES:]
            self._remember(key, Copy(owner=owner, stamp=stamp, body=former.body, messages=said, is_whole=is_whole))
        self._tell(key, owner, stamp)

    def met(self, key: str, version: int) -> None:
        """Someone else has saved this version of the state."""
        self._spoil(key, order_of_version(version))

    def heard(self, hint: Hint) -> None:
        """What another instance says."""
        if not hint.key:
            self.forget_owner(Owner(hint.tenant, hint.user))
        elif hint.order == 0:
            self._spoil(hint.key, 0)
        else:
            copy = self.memory.get(hint.key)
            if copy is None or order_of(copy.stamp) < hint.order:
                self._spoil(hint.key, hint.order)

    def reject(self, key: str) -> None:
        """The shared copy cannot be read after all."""
        self._spoil(key, 0)
        if self.shared is not None:
            self.shared.count_corrupt()

    def distrust(self, key: str) -> None:
        """A write of unknown outcome may still be done: until `trust`, nothing of it is served or kept."""
        self._distrusted[key] = self._distrusted.get(key, 0) + 1
        self._spoil(key, 0)

    def trust(self, key: str) -> None:
        left = self._distrusted.pop(key) - 1
        if left:
            self._distrusted[key] = left

    async def forget(self, key: str, owner: Owner, *, order: int) -> None:
        """The conversation is gone."""
        self._spoil(key, order)
        if self.shared is not None:
            await self.shared.drop(owner, key)

    async def erase_owner(self, owner: Owner) -> None:
        """Everything of the owner is gone."""
        self.forget_owner(owner)
        if self.shared is not None:
            await self.shared.drop_owner(owner)

    def forget_owner(self, owner: Owner) -> None:
        self.memory.forget_owner(owner)
        self._spoil_all()

    def forget_all(self) -> int:
        """Conversations have expired, nobody says which; how many copies went."""
        gone = len(self.memory)
        self.memory.clear()
        self._spoil_all()
        return gone

    def _spoil_all(self) -> None:
        for readings in self._readings.values():
            for reading in readings:
                reading.is_spoiled = True

    def _remember(self, key: str, copy: Copy) -> None:
        if key not in self._distrusted:
            self.memory.keep(key, copy)

    def _keep(self, key: str, copy: Copy) -> None:
        self._remember(key, copy)
        if self.shared is not None and copy.stamp.version:
            self.shared.put(key, msgspec.structs.replace(copy, messages=bare(copy.messages)))

    def _spoil(self, key: str, order: int) -> None:
        self._floors.lift(key, order)
        self.memory.forget(key)
        for reading in self._readings.get(key, ()):
            reading.is_spoiled = True

    def _tell(self, key: str, owner: Owner, stamp: s.Stamp) -> None:
        if self.shared is not None:
            self.shared.tell(owner, key, order_of(stamp))


def _differs_in_version_alone(former: s.Stamp, stamp: s.Stamp) -> bool:
    is_next = former.is_idle and former.version < stamp.version  # results may come in another order than the writes
    return is_next and msgspec.structs.replace(former, version=stamp.version) == stamp


def _differs_by_turns(former: s.Stamp, stamp: s.Stamp, turns: int) -> bool:
    return former.is_idle and msgspec.structs.replace(former, next_turn=former.next_turn + turns) == stamp
