"""The carrier between servers of one process: several teams in a program, and tests.

All carriers made with the same `Exchange` reach one another. Everything is bounded by the capacity of each agent, and
nothing outlives the process. Delivered in class order; a carrier that closes hands back what it had not answered.
"""

from __future__ import annotations

import asyncio

import msgspec

from ngx_agents.a2a.carrier import (
    LOOK_AGAIN_S,
    MAX_ATTEMPTS,
    Delivery,
    Frame,
    Parcel,
    Patience,
    Receiver,
    Room,
    patience_left_s,
)
from ngx_agents.a2a.mailbox import Mailbox
from ngx_agents.a2a.refusals import AgentAbsent, AgentBusy, AgentFailed
from ngx_agents.a2a.wire import fault_of
from ngx_agents.clock import Clock, SystemClock
from ngx_agents.coordination.tasks import Tasks
from ngx_agents.errors import SharedUnavailable

RETRY_AFTER_S = 0.5


class _Lying:
    """A parcel that is not answered yet."""

    __slots__ = ("attempt", "holder", "parcel", "posted_s", "receipt")

    def __init__(self, receipt: str, parcel: Parcel, posted_s: float) -> None:
        self.receipt = receipt
        self.parcel = parcel
        self.posted_s = posted_s
        self.attempt = 0
        self.holder: MemoryCarrier | None = None


class _Line:
    """What lies for one agent: waiting, or held by a carrier."""

    def __init__(self) -> None:
        self.waiting: Mailbox[str] = Mailbox(2**31, max_wait_s=float("inf"))
        self.lying: dict[str, _Lying] = {}
        self.servers = 0
        self.has_news = asyncio.Event()

    def wait(self, one: _Lying, now_s: float) -> None:
        one.holder = None
        self.lying[one.receipt] = one
        self.waiting.put(one.receipt, one.parcel.turn_class, now_s)
        self.has_news.set()

    async def next(self, now_s: float) -> _Lying:
        while (receipt := self.waiting.take(now_s)) is None:
            self.has_news.clear()
            await self.has_news.wait()
        return self.lying[receipt]


class Exchange:
    """Where the carriers of one process meet."""

    def __init__(self) -> None:
        self._lines: dict[str, _Line] = {}
        self._inboxes: dict[str, MemoryCarrier] = {}
        self._opened = 0
        self._receipts = 0

    def join(self, carrier: MemoryCarrier) -> str:
        """The address of its inbox."""
        self._opened += 1
        address = f"memory-{self._opened}"
        self._inboxes[address] = carrier
        return address

    def new_receipt(self) -> str:
        self._receipts += 1
        return str(self._receipts)

    def leave(self, address: str) -> None:
        self._inboxes.pop(address, None)

    def line(self, agent: str) -> _Line:
        return self._lines.setdefault(agent, _Line())

    def find_line(self, agent: str) -> _Line | None:
        return self._lines.get(agent)

    def answer(self, address: str, frame: Frame) -> None:
        carrier = self._inboxes.get(address)
        if carrier is not None:
            carrier.replied(frame)


class MemoryCarrier:
    """Without an `exchange` it reaches only itself."""

    def __init__(self, exchange: Exchange | None = None, *, clock: Clock | None = None) -> None:
        self._exchange = exchange or Exchange()
        self._now_s = (clock or SystemClock()).monotonic_s
        self._tasks = Tasks()
        self._address = ""
        self._capacity = 0
        self._served: list[str] = []
        self._posted: dict[str, _Lying] = {}
        self.receiver: Receiver

    async def open(self, receiver: Receiver, *, capacity: int) -> None:
        self.receiver = receiver
        self._capacity = capacity
        await self._tasks.open()
        self._address = self._exchange.join(self)

    async def close(self) -> None:
        self._exchange.leave(self._address)
        await self._tasks.close()
        for agent in self._served:
            line = self._exchange.line(agent)
            line.servers -= 1
            for one in [one for one in line.lying.values() if one.holder is self]:
                self._hand_back(line, one)
        self._served.clear()

    async def serve(self, agent: str, room: Room) -> None:
        self._exchange.line(agent).servers += 1
        self._served.append(agent)
        self._tasks.spawn(self._take(agent, room))

    async def post(self, parcel: Parcel) -> None:
        if not self._address:
            raise SharedUnavailable("the carrier is not open")
        line = self._exchange.find_line(parcel.agent)
        if line is None or not line.servers:
            raise AgentAbsent(parcel.agent)
        if len(line.lying) >= self._capacity:
            self._displace(line, parcel)
        addressed = msgspec.structs.replace(parcel, reply_to=self._address if parcel.wants_reply else "")
        one = _Lying(self._exchange.new_receipt(), addressed, self._now_s())
        if parcel.wants_reply:
            self._posted[parcel.id] = one
        line.wait(one, self._now_s())

    async def reply(self, delivery: Delivery, frame: Frame) -> None:
        parcel = delivery.parcel
        if frame.kind != "piece":
            line = self._exchange.line(parcel.agent)
            one = line.lying.get(delivery.receipt)
            if one is None or one.holder is not self:
                return
            del line.lying[one.receipt]
        if not delivery.is_mute:
            self._exchange.answer(parcel.reply_to, frame)

    async def cancel(self, parcel_id: str, *, patience: Patience | None = None) -> float:
        one = self._posted.get(parcel_id)
        if one is None:
            return LOOK_AGAIN_S
        line = self._exchange.line(one.parcel.agent)
        if patience is not None:
            left_s = self._left_s(line, one, patience)
            if left_s > 0.0:
                return left_s
        is_waiting = line.waiting.remove(one.receipt, one.parcel.turn_class)
        if is_waiting:
            del line.lying[one.receipt]
        elif one.holder is not None and one.receipt in line.lying:
            one.holder.receiver.cancelled(parcel_id)
        self._posted.pop(parcel_id, None)
        return 0.0 if is_waiting else LOOK_AGAIN_S

    def _left_s(self, line: _Line, one: _Lying, patience: Patience) -> float:
        """How long it may still wait; a holder of this process does not fall silent."""
        if one.holder is not None:
            return LOOK_AGAIN_S
        return patience_left_s(patience, standing_s=line.waiting.standing_s(self._now_s()))

    def _displace(self, line: _Line, parcel: Parcel) -> None:
        """Raises AgentBusy when nothing less urgent waits."""
        receipt = line.waiting.displace(parcel.turn_class)
        if receipt is None:
            raise AgentBusy(parcel.agent, "mailbox", retry_after_s=RETRY_AFTER_S)
        gone = line.lying.pop(receipt).parcel
        fault = fault_of(AgentBusy(gone.agent, "displaced", retry_after_s=RETRY_AFTER_S))
        self._exchange.answer(gone.reply_to, Frame(id=gone.id, kind="error", attempt=1, seq=0, fault=fault))

    def replied(self, frame: Frame) -> None:
        if frame.kind != "piece":
            self._posted.pop(frame.id, None)
        self.receiver.replied(frame)

    async def _take(self, agent: str, room: Room) -> None:
        line = self._exchange.line(agent)
        while True:
            await room.free()
            one = await line.next(self._now_s())
            one.holder = self
            one.attempt += 1
            age_s = self._now_s() - one.posted_s
            self.receiver.deliver(Delivery(parcel=one.parcel, receipt=one.receipt, attempt=one.attempt, age_s=age_s))

    def _hand_back(self, line: _Line, one: _Lying) -> None:
        if one.attempt < MAX_ATTEMPTS:
            line.wait(one, self._now_s())
            return
        parcel = one.parcel
        del line.lying[one.receipt]
        fault = fault_of(AgentFailed(parcel.agent))
        self._exchange.answer(
            parcel.reply_to, Frame(id=parcel.id, kind="error", attempt=one.attempt, seq=0, fault=fault)
        )
