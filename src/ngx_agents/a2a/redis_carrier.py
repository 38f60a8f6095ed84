"""The carrier between processes: Redis Streams, standalone, behind Sentinels or in a cluster.

One stream per agent and class, read by one consumer group; an entry is acknowledged after its reply was sent, and its
holder renews it while it works. Replies and cancels come through one stream per process. All that lies in a stream is
sealed with the house's key (`seal.py`). Commands share the pipelined connections of the switchboard; every reader that
blocks has a connection of its own. Volatile by design: streams that nobody serves or reads expire. Tasks live
from `open` to `close`: a reader of the inbox, two per served agent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from ngx_agents.a2a.carrier import LOOK_AGAIN_S, MAX_ATTEMPTS, Delivery, Frame, Parcel, Patience, Receiver, Room
from ngx_agents.a2a.mailbox import STANDING_S, STANDING_WAIT_S
from ngx_agents.a2a.redis_inbox import RedisInbox
from ngx_agents.a2a.redis_intake import QUEUE_TTL_MS, RedisIntake
from ngx_agents.a2a.redis_keys import CANCEL, FRAME, GROUP, PARCEL, AgentKeys, agent_keys, inbox_key
from ngx_agents.a2a.redis_scripts import END, GIVE_UP, POST, WITHDRAW
from ngx_agents.a2a.refusals import AgentAbsent, AgentBusy
from ngx_agents.a2a.seal import Seal
from ngx_agents.a2a.wire import fault_of
from ngx_agents.clock import Clock, Rng
from ngx_agents.coordination.address import read_address
from ngx_agents.coordination.failures import Refusal
from ngx_agents.coordination.meters import Meters
from ngx_agents.coordination.scripts import Script
from ngx_agents.coordination.switchboard import Switchboard
from ngx_agents.coordination.tasks import Tasks
from ngx_agents.errors import SharedUnavailable
from ngx_agents.telemetry.log import event_log
from ngx_agents.telemetry.metrics import Metrics

TIMEOUT_S = 1.0
LEASE_S = 2.0
LEASES_UNTIL_GONE = 2.0  # another process would have taken it long before
RETRY_AFTER_S = 0.5
MAX_INBOX = 20_000
LEAST_LOOK_S = 0.01
log = event_log("a2a")
_encode = msgspec.msgpack.Encoder().encode


class RedisCarrier:
    """`keys` are the secrets that all processes have: what is not signed with one of them is never worked on.
    `timeout_s` is for each round trip; a process that is silent for `lease_s` loses what it holds. Raises ConfigError
    when the URL cannot be read, or without keys."""

    def __init__(  # noqa: PLR0913  # what it stands between
        self,
        url: str,
        *,
        keys: Sequence[bytes],
        clock: Clock,
        rng: Rng,
        metrics: Metrics,
        timeout_s: float = TIMEOUT_S,
        lease_s: float = LEASE_S,
    ) -> None:
        address = read_address(url)
        self._seal = Seal(keys)
        self._namespace = address.namespace
        self._clock = clock
        self._rng = rng
        self._lease_s = lease_s
        self._readers = Tasks()
        self._lines = Tasks()
        self._switchboard = Switchboard(
            address, self._lines, clock=clock, rng=rng, meters=Meters(metrics, use="agents"), timeout_s=timeout_s
        )
        self._dead = metrics.counter("ngx_a2a_dead_total", "Parcels given up, by reason.", "agent", "reason")
        self._forged = metrics.counter("ngx_a2a_forged_total", "Replies and cancels that no process of ours sent.")
        self._capacity = 0
        self._keys: dict[str, AgentKeys] = {}
        self._posted: dict[str, tuple[str, str]] = {}
        self._intakes: list[RedisIntake] = []
        self._inbox: RedisInbox | None = None
        self._receiver: Receiver

    async def open(self, receiver: Receiver, *, capacity: int) -> None:
        self._receiver = receiver
        self._capacity = capacity
        await self._lines.open()
        await self._readers.open()
        try:
            await self._switchboard.open()
            me = f"{self._rng.bits(96):024x}"
            self._inbox = RedisInbox(
                me, inbox_key(self._namespace, me), self._switchboard, self._seal,
                clock=self._clock, rng=self._rng, forged=self._forged,
            )  # fmt: skip
            await self._inbox.prepare()
            self._readers.spawn(self._inbox.run(self._replied, receiver.cancelled))
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        inbox, self._inbox = self._inbox, None
        await self._readers.close()
        for intake in self._intakes:
            await intake.release()
        self._intakes.clear()
        if inbox is not None:
            await inbox.remove()
        await self._lines.close()
        self._switchboard.close()
        await asyncio.sleep(0)  # what was aborted closes in the loop's next round

    async def serve(self, agent: str, room: Room) -> None:
        if self._inbox is None:
            raise SharedUnavailable("the carrier is not open")
        intake = RedisIntake(
            agent, self._keys_of(agent), self._inbox.me, room, self._switchboard, self._seal,
            receiver=self._receiver, clock=self._clock, rng=self._rng, lease_s=self._lease_s, end=self.reply,
            dead=self._dead,
        )  # fmt: skip
        self._intakes.append(intake)
        await intake.prepare()
        if self._inbox is None:  # closed meanwhile
            return
        self._readers.spawn(intake.read())
        self._readers.spawn(intake.keep())

    async def post(self, parcel: Parcel) -> None:
        inbox = self._inbox
        if inbox is None:
            raise SharedUnavailable("the carrier is not open")
        reply_to = inbox.me if parcel.wants_reply else ""
        parcel = msgspec.structs.replace(parcel, reply_to=reply_to, posted_at_s=self._clock.now_s())
        keys = self._keys_of(parcel.agent)
        queue = keys.queues[parcel.turn_class]
        if parcel.wants_reply:
            self._posted[parcel.id] = (queue, "")
        try:
            entry, displaced = await self._add(parcel, keys)
        except BaseException:
            self._posted.pop(parcel.id, None)
            raise
        if parcel.id in self._posted:
            self._posted[parcel.id] = (queue, entry.decode())
        if displaced is not None:
            await self._tell_displaced(displaced, keys)

    async def _add(self, parcel: Parcel, keys: AgentKeys) -> tuple[bytes, bytes | None]:
        """The entry's id, and the parcel that was given up for it."""
        packed = self._seal.closed(keys.queues[parcel.turn_class], PARCEL, _encode(parcel))
        posted = await self._run(
            POST, (*keys.queues, keys.served, keys.standing),
            GROUP, self._capacity, parcel.turn_class + 1, packed, QUEUE_TTL_MS,
        )  # fmt: skip
        if posted == -1:
            raise AgentAbsent(parcel.agent)
        if posted == -2:
            raise AgentBusy(parcel.agent, "mailbox", retry_after_s=RETRY_AFTER_S)
        entry, displaced = posted
        return entry, displaced

    async def reply(self, delivery: Delivery, frame: Frame) -> None:
        parcel = delivery.parcel
        if parcel.reply_to and not delivery.is_mute:
            await self._tell(parcel.reply_to, FRAME, _encode(frame))
        if frame.kind != "piece":
            for intake in self._intakes:
                intake.ended(delivery)
            queue = self._keys_of(parcel.agent).queues[parcel.turn_class]
            await self._run(END, (queue,), GROUP, self._me, delivery.receipt)

    async def cancel(self, parcel_id: str, *, patience: Patience | None = None) -> float:
        if patience is not None:
            return await self._give_up(parcel_id, patience)
        queue, entry = self._posted.pop(parcel_id, ("", ""))
        if not entry:
            return LOOK_AGAIN_S
        try:
            holder = await self._run(WITHDRAW, (queue,), GROUP, entry)
            if holder:
                await self._tell(holder.decode(), CANCEL, parcel_id.encode())
        except SharedUnavailable:
            return LOOK_AGAIN_S  # whoever works on it stops at its deadline
        return LOOK_AGAIN_S if holder else 0.0

    async def _give_up(self, parcel_id: str, patience: Patience) -> float:
        queue, entry = self._posted.get(parcel_id, ("", ""))
        if not entry:
            return LOOK_AGAIN_S
        usual_ms = round((patience.max_wait_s - patience.waited_s) * 1000)
        shortened_ms = round((min(patience.max_wait_s, STANDING_WAIT_S) - patience.waited_s) * 1000)
        limits = (round(LEASES_UNTIL_GONE * self._lease_s * 1000), usual_ms, shortened_ms, round(STANDING_S * 1000))
        standing = f"{queue[:-2]}standing"
        try:
            left_ms = await self._run(GIVE_UP, (queue, standing), GROUP, entry, *limits)
        except SharedUnavailable:
            return LOOK_AGAIN_S
        if not left_ms:
            self._posted.pop(parcel_id, None)
            return 0.0
        return LOOK_AGAIN_S if left_ms < 0 else max(LEAST_LOOK_S, left_ms / 1000.0)

    async def _tell(self, address: str, field: str, content: bytes) -> None:
        """Puts something into a process's inbox, if it is there."""
        inbox = inbox_key(self._namespace, address)
        sealed = self._seal.closed(inbox, field, content)
        await self._send(inbox, ("XADD", inbox, "NOMKSTREAM", "MAXLEN", "~", MAX_INBOX, "*", field, sealed))

    async def _tell_displaced(self, sealed: bytes, keys: AgentKeys) -> None:
        """Best effort: a caller that does not hear of it finds its parcel gone when its patience ends."""
        packed = next(filter(None, (self._seal.opened(queue, PARCEL, sealed) for queue in keys.queues)), None)
        if packed is None:  # nobody of ours waits for it
            return
        try:
            parcel = msgspec.msgpack.decode(packed, type=Parcel)
            fault = fault_of(AgentBusy(parcel.agent, "displaced", retry_after_s=RETRY_AFTER_S))
            if parcel.reply_to:
                frame = Frame(id=parcel.id, kind="error", attempt=MAX_ATTEMPTS, seq=0, fault=fault)
                await self._tell(parcel.reply_to, FRAME, _encode(frame))
        except (msgspec.MsgspecError, SharedUnavailable) as error:
            log.warning("a2a.displaced_not_told", reason=type(error).__name__)

    @property
    def _me(self) -> str:
        return "" if self._inbox is None else self._inbox.me

    def _replied(self, frame: Frame) -> None:
        if frame.kind != "piece":
            self._posted.pop(frame.id, None)
        self._receiver.replied(frame)

    def _keys_of(self, agent: str) -> AgentKeys:
        keys = self._keys.get(agent)
        if keys is None:
            keys = agent_keys(self._namespace, agent)
            if len(self._keys) < 1024:
                self._keys[agent] = keys
        return keys

    async def _run(self, script: Script, keys: tuple[str, ...], *args: bytes | str | int) -> Any:
        try:
            return await self._switchboard.run(script, keys, *args)
        except Refusal as refusal:
            raise SharedUnavailable("Redis does not accept the command now") from refusal

    async def _send(self, key: str, words: tuple[str | bytes | int, ...]) -> Any:
        try:
            return await self._switchboard.send(key, words)
        except Refusal as refusal:
            raise SharedUnavailable("Redis does not accept the command now") from refusal
