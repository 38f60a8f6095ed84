"""Conversations that instances share, over `coordination.Shared`: copies by version, and hints that one has changed.

Nothing here is the truth. What is out of reach, damaged, foreign or older than asked for is a miss, and counted. Puts
and hints go out in tasks of their own, at most MAX_UNSENT at once; more are dropped, and counted. Hints only make
misses likelier to be noticed early: no reader depends on them.
Producer: the manager's writes; consumer: `_hear` of every other instance; `close` cancels both.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Literal

import msgspec

from ngx_agents.coordination.commands import Drop, DropGroup, GetVersioned, PutNewer
from ngx_agents.coordination.shared import Shared
from ngx_agents.coordination.tasks import Tasks
from ngx_agents.errors import NgxError, SharedRefused, SharedUnavailable
from ngx_agents.state.manager_memory import Copy, order_of
from ngx_agents.state.model import Message, Owner
from ngx_agents.telemetry.metrics import Metrics

CHANNEL = "state-hints"
MAX_UNSENT = 256
_FORMAT: Literal[1] = 1


class Hint(msgspec.Struct, frozen=True, array_like=True):
    """The conversation has come to `order`; an empty `key`: everything of the owner is gone."""

    sender: str
    tenant: str
    user: str
    key: str
    order: int


class _Envelope(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """A copy on its way; a reader of another format takes it for a miss."""

    format: Literal[1]
    key: str
    copy: Copy


def _without_derived(message: object) -> Any:
    raise TypeError(f"{type(message).__name__} is not shared")


_encode = msgspec.msgpack.Encoder(enc_hook=_without_derived).encode
_decode_copy = msgspec.msgpack.Decoder(_Envelope).decode
_decode_hint = msgspec.msgpack.Decoder(Hint).decode


class SharedCopies:
    """`heard` is told each hint of other instances. `open` and `close` frame everything else."""

    def __init__(
        self, shared: Shared, *, instance: str, ttl_s: float, metrics: Metrics, heard: Callable[[Hint], None]
    ) -> None:
        self._shared = shared
        self._instance = instance
        self._ttl_s = ttl_s
        self._heard = heard
        self._tasks = Tasks()
        self._unsent = 0
        self._failures = metrics.counter(
            "ngx_state_shared_failures_total", "Shared copies of states that could not be used or sent.", "reason"
        )

    async def open(self) -> None:
        await self._tasks.open()
        self._tasks.spawn(self._hear())

    async def close(self) -> None:
        await self._tasks.close()

    async def get(self, key: str, owner: Owner) -> Copy | None:
        """The shared copy, whatever its age; None is a miss."""
        try:
            found = await self._shared.ask(GetVersioned(_shared_key(key)))
        except (SharedUnavailable, SharedRefused):
            self._failures.labels("unavailable").inc()
            return None
        if found is None:
            return None
        copy = self._opened(key, found.value)
        if copy is None or copy.owner != owner or order_of(copy.stamp) != found.version:
            self._failures.labels("corrupt").inc()
            return None
        return copy

    def count_stale(self) -> None:
        self._failures.labels("stale").inc()

    def count_corrupt(self) -> None:
        self._failures.labels("corrupt").inc()

    def put(self, key: str, copy: Copy) -> None:
        value = _encode(_Envelope(format=_FORMAT, key=key, copy=copy))
        command = PutNewer(_shared_key(key), value, order_of(copy.stamp), self._ttl_s, _group(copy.owner))
        self._send(partial(self._asked, command))

    def tell(self, owner: Owner, key: str, order: int) -> None:
        """Hints to the others that the conversation has changed."""
        hint = Hint(self._instance, owner.tenant, owner.user, key, order)
        self._send(partial(self._published, _encode(hint)))

    async def drop(self, owner: Owner, key: str) -> None:
        await self._asked(Drop((_shared_key(key),)))
        self.tell(owner, key, 0)

    async def drop_owner(self, owner: Owner) -> None:
        await self._asked(DropGroup(_group(owner)))
        self.tell(owner, "", 0)

    def _opened(self, key: str, value: bytes) -> Copy | None:
        try:
            envelope = _decode_copy(value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        return envelope.copy if envelope.key == key else None

    def _send(self, sending: Callable[[], Awaitable[None]]) -> None:
        if self._unsent >= MAX_UNSENT:
            self._failures.labels("unsent").inc()
            return
        self._unsent += 1
        self._tasks.spawn(self._sent(sending))

    async def _sent(self, sending: Callable[[], Awaitable[None]]) -> None:
        try:
            await sending()
        finally:
            self._unsent -= 1

    async def _asked(self, command: PutNewer | Drop | DropGroup) -> None:
        try:
            await self._shared.ask(command)
        except SharedUnavailable:
            self._failures.labels("unavailable").inc()
        except SharedRefused:
            self._failures.labels("refused").inc()

    async def _published(self, payload: bytes) -> None:
        try:
            await self._shared.publish(CHANNEL, payload)
        except (SharedUnavailable, SharedRefused):
            self._failures.labels("unavailable").inc()

    async def _hear(self) -> None:
        try:
            async for payload in self._shared.listen(CHANNEL):
                self._take(payload)
        except NgxError:
            self._failures.labels("unavailable").inc()

    def _take(self, payload: bytes) -> None:
        try:
            hint = _decode_hint(payload)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self._failures.labels("corrupt").inc()
            return
        if hint.sender != self._instance:
            self._heard(hint)


def _shared_key(key: str) -> str:
    return f"state:{{{key}}}"


def _group(owner: Owner) -> str:
    digest = hashlib.sha256(f"{len(owner.tenant)}:{owner.tenant}{owner.user}".encode("utf-8", "surrogatepass"))
    return f"state-of:{digest.hexdigest()[:32]}"


def bare(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """The messages without what upper layers derived from them, which stays in their process."""
    return tuple(msgspec.structs.replace(m, derived=None) if m.derived is not None else m for m in messages)
