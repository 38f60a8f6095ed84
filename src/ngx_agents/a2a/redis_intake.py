"""What one process takes from one agent's queues.

Two tasks: `read` takes new parcels while there is room, on a connection of its own; `keep` renews what is held, says
that the agent is served, and claims what others did not renew. A holding that was lost is told as a cancel: whoever has
it now answers. Parcels that are not ours, cannot be read, or were tried too often become dead letters: `forged` (not
sealed for this queue by a process of ours), `stale` (older than it may be: put in again), `unreadable`, `attempts`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from ngx_agents.a2a.blocking_line import BlockingLine
from ngx_agents.a2a.carrier import MAX_ATTEMPTS, Delivery, Frame, Parcel, Receiver, Room
from ngx_agents.a2a.redis_keys import GROUP, PARCEL, AgentKeys
from ngx_agents.a2a.redis_scripts import BURY, CLAIM, PREPARE, RENEW
from ngx_agents.a2a.refusals import AgentFailed
from ngx_agents.a2a.seal import Seal
from ngx_agents.a2a.wire import fault_of
from ngx_agents.clock import Clock, Rng
from ngx_agents.coordination.failures import Refusal
from ngx_agents.coordination.switchboard import Switchboard
from ngx_agents.errors import SharedUnavailable
from ngx_agents.resilience.backoff import next_delay_s
from ngx_agents.telemetry.log import event_log
from ngx_agents.telemetry.metrics import Counter

BLOCK_MS = 1000
ANSWER_S = 3.0
SERVED_MS = 6000
QUEUE_TTL_MS = 600_000
CONSUMER_TTL_MS = 3_600_000
MAX_DEAD = 1000
DEAD_TTL_MS = 7 * 86_400_000
MAX_TAKEN = 256
RELEASED_MS = 3_600_000
BEATS_PER_LEASE = 4
CLOCKS_APART_S = 30.0
NEW = (">",) * 4
log = event_log("a2a")


class RedisIntake:
    """`end(delivery, frame)` sends a last frame and acknowledges."""

    def __init__(  # noqa: PLR0913  # what it stands between
        self,
        agent: str,
        keys: AgentKeys,
        me: str,
        room: Room,
        switchboard: Switchboard,
        seal: Seal,
        *,
        receiver: Receiver,
        clock: Clock,
        rng: Rng,
        lease_s: float,
        end: Callable[[Delivery, Frame], Awaitable[None]],
        dead: Counter,
    ) -> None:
        self._agent = agent
        self._keys = keys
        self._me = me
        self._room = room
        self._switchboard = switchboard
        self._seal = seal
        self._receiver = receiver
        self._clock = clock
        self._rng = rng
        self._lease_s = lease_s
        self._end = end
        self._dead = dead
        self._line = BlockingLine(switchboard.servers, keys.served)
        self._decoder = msgspec.msgpack.Decoder(Parcel)
        self._held: tuple[dict[str, str], ...] = tuple({} for _ in keys.queues)  # entry -> parcel id, by class
        self._redis_ahead_ms = clock.now_s() * 1000.0 - clock.monotonic_s() * 1000.0

    async def prepare(self) -> None:
        """Makes what is missing. A server that is not there yet is met later."""
        try:
            await self._prepare()
        except (SharedUnavailable, Refusal) as error:
            log.warning("a2a.intake_absent", agent=self._agent, reason=type(error).__name__)

    async def read(self) -> None:
        failures = 0
        while True:
            free = await self._room.free()
            count = min(MAX_TAKEN, free)
            words = ("XREADGROUP", "GROUP", GROUP, self._me, "COUNT", count, "BLOCK", BLOCK_MS, "STREAMS")
            try:
                rows = await self._line.ask((*words, *self._keys.queues, *NEW), within_s=ANSWER_S)
                failures = 0
            except (SharedUnavailable, Refusal) as error:
                log.warning("a2a.intake_lost", agent=self._agent, reason=type(error).__name__)
                await self._clock.sleep(next_delay_s(failures, base_s=0.05, cap_s=1.0, rng=self._rng))
                failures += 1
                await self.prepare()
                continue
            for queue, entries in rows or ():
                turn_class = self._keys.queues.index(queue.decode())
                for entry, fields in entries:
                    await self._take(turn_class, entry.decode(), 1, fields[1] if fields else b"")

    async def keep(self) -> None:
        while True:
            await self._clock.sleep(self._lease_s / BEATS_PER_LEASE * self._rng.uniform(0.9, 1.0))
            try:
                await self._prepare()
                await self._renew()
                await self._claim()
            except (SharedUnavailable, Refusal) as error:
                log.warning("a2a.lease_not_renewed", agent=self._agent, reason=type(error).__name__)

    async def release(self) -> None:
        """What is held is free for others at once."""
        self._line.close()
        for queue, held in zip(self._keys.queues, self._held, strict=True):
            if held:
                try:
                    await self._switchboard.run(RENEW, (queue,), GROUP, self._me, RELEASED_MS, *held)
                except (SharedUnavailable, Refusal):
                    return  # the lease runs out
        for held in self._held:
            held.clear()

    def ended(self, delivery: Delivery) -> None:
        """Its reply was sent: it need not be renewed any more."""
        if delivery.parcel.agent == self._agent:
            self._held[delivery.parcel.turn_class].pop(delivery.receipt, None)

    async def _prepare(self) -> None:
        send = self._switchboard.send
        for queue in self._keys.queues:
            await self._switchboard.run(PREPARE, (queue,), GROUP, QUEUE_TTL_MS, CONSUMER_TTL_MS)
        if self._room.is_open:
            await send(self._keys.served, ("SET", self._keys.served, "1", "PX", SERVED_MS))
        seconds, micros = await send(self._keys.served, ("TIME",))
        self._redis_ahead_ms = int(seconds) * 1000.0 + int(micros) / 1000.0 - self._clock.monotonic_s() * 1000.0

    async def _renew(self) -> None:
        for queue, held in zip(self._keys.queues, self._held, strict=True):
            if not held:
                continue
            lost = await self._switchboard.run(RENEW, (queue,), GROUP, self._me, 0, *tuple(held))
            for entry in lost:
                parcel_id = held.pop(entry.decode(), None)
                if parcel_id is not None:
                    log.warning("a2a.lease_lost", agent=self._agent, message_id=parcel_id)
                    self._receiver.cancelled(parcel_id)

    async def _claim(self) -> None:
        lease_ms = int(self._lease_s * 1000)
        for turn_class, queue in enumerate(self._keys.queues):
            free = min(MAX_TAKEN, self._room.count())
            if free <= 0:
                return
            keys, limits = (queue, self._keys.dead), (MAX_ATTEMPTS, MAX_DEAD, DEAD_TTL_MS)
            found = await self._switchboard.run(CLAIM, keys, GROUP, self._me, lease_ms, free, *limits)
            for entry, attempt, parcel in found:
                await self._take(turn_class, entry.decode(), attempt, parcel)

    async def _take(self, turn_class: int, entry: str, attempt: int, packed: bytes) -> None:
        parcel, reason = self._opened(turn_class, packed)
        if parcel is None:
            if attempt:
                await self._bury(turn_class, entry, packed, reason)
            return
        now_ms = self._clock.monotonic_s() * 1000.0 + self._redis_ahead_ms
        age_s = max(0.0, (now_ms - int(entry.partition("-")[0])) / 1000.0)
        delivery = Delivery(parcel=parcel, receipt=entry, attempt=attempt, age_s=age_s)
        if attempt:
            self._held[turn_class][entry] = parcel.id
            self._receiver.deliver(delivery)
            return
        self._dead.labels(self._agent, "attempts").inc()
        log.warning("a2a.given_up", agent=self._agent, message_id=parcel.id)
        await self._tell_given_up(delivery)

    def _opened(self, turn_class: int, sealed: bytes) -> tuple[Parcel | None, str]:
        """The parcel, or why it is none."""
        packed = self._seal.opened(self._keys.queues[turn_class], PARCEL, sealed)
        if packed is None:
            return None, "forged"
        try:
            parcel = self._decoder.decode(packed)
        except msgspec.MsgspecError:
            return None, "unreadable"
        posted_s = self._clock.now_s() - parcel.posted_at_s
        if not -CLOCKS_APART_S <= posted_s <= parcel.remaining_s + CLOCKS_APART_S:
            return None, "stale"
        return parcel, ""

    async def _tell_given_up(self, delivery: Delivery) -> None:
        fault = fault_of(AgentFailed(self._agent))
        last = Frame(id=delivery.parcel.id, kind="error", attempt=MAX_ATTEMPTS + 1, seq=0, fault=fault)
        try:
            await self._end(delivery, last)
        except SharedUnavailable:
            return  # its time runs out

    async def _bury(self, turn_class: int, entry: str, packed: Any, reason: str) -> None:
        self._dead.labels(self._agent, reason).inc()
        log.warning("a2a.parcel_buried", agent=self._agent, reason=reason, size_bytes=len(packed))
        keys = (self._keys.queues[turn_class], self._keys.dead)
        try:
            await self._switchboard.run(BURY, keys, GROUP, self._me, entry, MAX_DEAD, DEAD_TTL_MS, reason, packed)
        except (SharedUnavailable, Refusal):
            return  # it is claimed again
