"""Between a server and its carrier: calls that leave this process, and messages that come into it.

Outgoing: a `Call` whose reply comes as frames; it has a breaker per agent, like a local one. Frames of an earlier
attempt, and those that come twice, are dropped; a stream whose agent begins again after pieces were read is broken, and
says so. Incoming: a parcel becomes a message of the local agent; one that is worked on already is not begun again.
The last frame is sent by a task of its own, with a few tries. Cancels travel both ways.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
from typing_extensions import override

from ngx_agents.a2a.call import Call, ChannelSink, Sink
from ngx_agents.a2a.carrier import Carrier, Delivery, Frame, Parcel, Patience, Receiver
from ngx_agents.a2a.mailbox import STANDING_WAIT_S
from ngx_agents.a2a.meters import AgentMeters, Meters
from ngx_agents.a2a.post_sinks import AwaySink, ReplySink
from ngx_agents.a2a.refusals import AgentBusy, AgentFailed, AgentSuspended, AgentUnknown, StreamBroken, is_fault
from ngx_agents.a2a.wire import Travelling, error_of, pack, unpack
from ngx_agents.clock import Clock, Rng
from ngx_agents.errors import InvalidRequest, NgxError, SharedUnavailable, TurnCancelled
from ngx_agents.resilience.backoff import next_delay_s
from ngx_agents.resilience.breaker import Breaker, BreakerRules
from ngx_agents.telemetry.log import event_log

REPLY_TRIES = 3
RETRY_BASE_S = 0.1
MAX_UNREAD_PIECES = 4096
MAX_KEPT_FRAMES = 512
KEPT_S = 120.0
MAX_KEPT_BYTES = 16_384
MAX_PEERS = 1024
log = event_log("a2a")


class _Peer:
    """An agent that other processes serve."""

    def __init__(self, meters: AgentMeters, breaker: Breaker) -> None:
        self.meters = meters
        self.breaker = breaker


class _Sent:
    """A call that has left, and how much of its reply has come."""

    __slots__ = ("attempt", "call", "next_seq", "parcel", "patience", "pieces")

    def __init__(self, call: Call, parcel: Parcel) -> None:
        self.call = call
        self.parcel = parcel
        self.attempt = 1
        self.next_seq = 0
        self.pieces: ChannelSink | None = None
        self.patience: asyncio.TimerHandle | None = None


class PostOffice(Receiver):
    """`admit_parcel(delivery, sink)` gives a parcel to its local agent and returns the call, or raises. `spawn` starts
    a task that may not raise; `on_ended` hears of every outgoing call once."""

    def __init__(  # noqa: PLR0913  # what it stands between
        self,
        carrier: Carrier,
        *,
        clock: Clock,
        rng: Rng,
        meters: Meters,
        rules: BreakerRules,
        max_wait_s: float,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        admit_parcel: Callable[[Delivery, Sink], Call],
        on_ended: Callable[[Call], None],
    ) -> None:
        self.carrier = carrier
        self._clock = clock
        self._rng = rng
        self._meters = meters
        self._rules = rules
        self._max_wait_s = max_wait_s
        self._spawn = spawn
        self._admit_parcel = admit_parcel
        self._on_ended = on_ended
        self._peers: dict[str, _Peer] = {}
        self._sent: dict[str, _Sent] = {}
        self._working: dict[str, ReplySink] = {}
        self._has_closed = asyncio.Event()
        self._is_closed = False
        self._kept: OrderedDict[str, tuple[float, Frame]] = OrderedDict()

    def peer(self, agent: str) -> _Peer:
        """The breaker and meters of an agent elsewhere. Raises AgentUnknown beyond `MAX_PEERS` names."""
        found = self._peers.get(agent)
        if found is None:
            if len(self._peers) >= MAX_PEERS:
                raise AgentUnknown(agent)
            meters = self._meters.of(agent)
            breaker = Breaker(self._rules, clock=self._clock, rng=self._rng, on_change=meters.breaker)
            found = self._peers[agent] = _Peer(meters, breaker)
        return found

    async def post(self, call: Call, *, remaining_s: float, wants_reply: bool) -> None:
        """Sends a call away. Raises AgentSuspended and what `Carrier.post` does; then nothing has been kept."""
        peer, now_s = self.peer(call.agent), self._clock.monotonic_s()
        payload = call.message.payload
        if isinstance(payload, Travelling):
            payload = await payload.away()
        parcel = _parcel(call, payload, remaining_s, wants_reply=wants_reply)
        ticket = peer.breaker.admit()
        if ticket is None:
            peer.meters.refused("suspended", call.turn_class, now_s)
            raise AgentSuspended(call.agent, retry_after_s=max(0.05, peer.breaker.retry_after_s))
        call.entered_s, call.ticket, call.stop = now_s, ticket, self._withdraw
        sent = self._sent[parcel.id] = _Sent(call, parcel)
        sink = call.sink
        if isinstance(sink, ChannelSink):
            sent.pieces = sink
        call.sink = AwaySink(sink, call, self._settled)
        try:
            await self.carrier.post(parcel)
        except BaseException as error:
            self._sent.pop(parcel.id, None)
            ticket.ignored()
            if isinstance(error, AgentBusy):
                peer.meters.refused(error.reason, call.turn_class, now_s)
            raise
        if call.is_settled:  # its time was over meanwhile
            self._withdraw(call)
        elif not wants_reply:
            call.finish(None)
        else:
            self._look_in(sent, min(self._max_wait_s, STANDING_WAIT_S))

    async def open(self, capacity: int) -> None:
        self._is_closed = False
        await self.carrier.open(self, capacity=capacity)

    def cancel_all(self) -> None:
        """Outgoing calls fail; what came in is left to others, unanswered, and so is what still comes."""
        self._is_closed = True
        for sent in list(self._sent.values()):
            sent.call.fail(TurnCancelled("the server is stopping"))
        for sink in self._working.values():
            sink.is_abandoned = sink.call is not None and not sink.call.is_settled

    async def flushed(self) -> None:
        """Until every last frame of what was not abandoned is sent or given up."""
        self._abandon()
        while self._working:
            self._has_closed.clear()
            await self._has_closed.wait()

    def _abandon(self) -> None:
        self._working = {key: sink for key, sink in self._working.items() if not sink.is_abandoned}

    @override
    def replied(self, frame: Frame) -> None:
        sent = self._sent.get(frame.id)
        if (
            sent is None
            or frame.attempt < sent.attempt
            or (frame.attempt == sent.attempt and frame.seq < sent.next_seq)
        ):
            self._meters.duplicates.inc()
            return
        if frame.attempt > sent.attempt:
            if sent.pieces is not None and sent.pieces.has_pieces:
                self._break(sent)
                return
            sent.attempt, sent.next_seq = frame.attempt, 0
        if frame.seq != sent.next_seq:
            self._break(sent)
            return
        sent.next_seq += 1
        self._take(sent, frame)

    @override
    def deliver(self, delivery: Delivery) -> None:
        if self._is_closed:
            return
        parcel_id = delivery.parcel.id
        working = self._working.get(parcel_id)
        if working is not None:
            self._meters.duplicates.inc()
            working.join(delivery)
            return
        sink = ReplySink(delivery, send=self.carrier.reply, answer=self._answer)
        until_s, kept = self._kept.get(parcel_id, (0.0, None))
        if kept is not None and until_s > self._clock.monotonic_s():
            self._meters.duplicates.inc()
            self._spawn(self._close(sink, msgspec.structs.replace(kept, attempt=delivery.attempt)))
            return
        self._working[parcel_id] = sink
        try:
            sink.call = self._admit_parcel(delivery, sink)
        except NgxError as error:
            sink.fail(error)

    @override
    def cancelled(self, parcel_id: str) -> None:
        sink = self._working.get(parcel_id)
        if sink is not None:
            sink.is_mute = True
            if sink.call is not None:
                sink.call.cancel()

    def _take(self, sent: _Sent, frame: Frame) -> None:
        call = sent.call
        try:
            if frame.kind == "piece":
                self._push(sent, unpack(frame.payload))
                return
            context = call.message.context
            context.spend(tokens=frame.tokens_spent, cost_usd=frame.cost_usd_spent)
            context.count_calls(frame.calls_made)
            if frame.fault is not None:
                call.fail(error_of(frame.fault, call.agent))
            else:
                call.finish(unpack(frame.payload))
        except InvalidRequest:
            call.fail(AgentFailed(call.agent))

    def _push(self, sent: _Sent, value: object) -> None:
        if sent.pieces is None:
            return
        if sent.pieces.unread >= MAX_UNREAD_PIECES:
            self._break(sent)
        else:
            sent.pieces.push(value)

    def _break(self, sent: _Sent) -> None:
        sent.call.fail(StreamBroken(sent.call.agent))
        self._spawn(self._cancel(sent.parcel.id))

    def _withdraw(self, call: Call) -> None:
        self._spawn(self._cancel(_parcel_id(call)))

    async def _cancel(self, parcel_id: str) -> None:
        await self.carrier.cancel(parcel_id)

    def _look_in(self, sent: _Sent, seconds: float) -> None:
        sent.patience = asyncio.get_running_loop().call_later(seconds, self._impatient, sent)

    def _impatient(self, sent: _Sent) -> None:
        self._spawn(self._withdraw_waiting(sent))

    async def _withdraw_waiting(self, sent: _Sent) -> None:
        """Nobody may have taken it yet: as in a mailbox, a message does not wait longer than that. Whoever has taken it
        may have fallen silent: looked at again and again."""
        call = sent.call
        patience = Patience(waited_s=self._clock.monotonic_s() - call.entered_s, max_wait_s=self._max_wait_s)
        again_s = await self.carrier.cancel(sent.parcel.id, patience=patience)
        if not again_s:
            if sent.next_seq:
                call.fail(StreamBroken(call.agent))
                return
            peer = self.peer(call.agent)
            peer.meters.refused("waited", call.turn_class, self._clock.monotonic_s())
            call.fail(AgentBusy(call.agent, "waited", retry_after_s=self._max_wait_s))
        elif not call.is_settled:
            self._look_in(sent, again_s)

    def _settled(self, call: Call, error: NgxError | None) -> None:
        sent = self._sent.pop(_parcel_id(call), None)
        if sent is not None and sent.patience is not None:
            sent.patience.cancel()
        peer = self.peer(call.agent)
        took_s = self._clock.monotonic_s() - call.entered_s
        if call.ticket is not None:
            has_hung = call.stopped_by == "deadline" and took_s >= self._max_wait_s
            if error is None:
                call.ticket.succeeded()
            elif has_hung or is_fault(error):
                call.ticket.failed()
            else:
                call.ticket.ignored()
        peer.meters.ended(call.stopped_by or ("completed" if error is None else "failed"))
        self._on_ended(call)

    def _answer(self, sink: ReplySink, frame: Frame) -> None:
        """The last frame: it is kept for a while, in case the parcel comes again."""
        if sink.is_abandoned:
            return
        parcel_id = frame.id
        if not sink.is_mute and frame.kind == "done" and not sink.wants_chunks and len(frame.payload) <= MAX_KEPT_BYTES:
            self._kept[parcel_id] = (self._clock.monotonic_s() + KEPT_S, frame)
            if len(self._kept) > MAX_KEPT_FRAMES:
                self._kept.popitem(last=False)
        self._spawn(self._close(sink, frame))

    async def _close(self, sink: ReplySink, frame: Frame) -> None:
        try:
            for delivery in sink.deliveries:  # grows while others join
                await self._say_last(delivery, frame, is_mute=sink.is_mute)
        finally:
            if self._working.get(frame.id) is sink:
                del self._working[frame.id]
                self._has_closed.set()

    async def _say_last(self, delivery: Delivery, frame: Frame, *, is_mute: bool) -> None:
        if is_mute or not delivery.parcel.wants_reply:
            delivery = msgspec.structs.replace(delivery, is_mute=True)
        for tried in range(REPLY_TRIES):
            try:
                await self.carrier.reply(delivery, frame)
                return
            except SharedUnavailable:
                await self._clock.sleep(next_delay_s(tried, base_s=RETRY_BASE_S, rng=self._rng))
        log.warning("a2a.reply_lost", agent=delivery.parcel.agent, message_id=frame.id)


def _parcel_id(call: Call) -> str:
    return f"{call.agent}:{call.message.id}"


def _parcel(call: Call, payload: object, remaining_s: float, *, wants_reply: bool) -> Parcel:
    context = call.message.context
    return Parcel(
        id=_parcel_id(call), agent=call.agent, turn_class=call.turn_class, depth=context.depth, remaining_s=remaining_s,
        payload=pack(payload), wants_reply=wants_reply, wants_pieces=call.sink.wants_chunks,
        traceparent=context.traceparent, tokens_left=context.tokens_left, cost_usd_left=context.cost_usd_left,
        calls_left=context.calls_left,
    )  # fmt: skip
