"""The two ends of a call between processes: what the asking side settles, and what the answering side sends back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
from typing_extensions import override

from ngx_agents.a2a.call import Call, Sink
from ngx_agents.a2a.carrier import Delivery, Frame, FrameKind
from ngx_agents.a2a.wire import fault_of, pack
from ngx_agents.errors import InvalidRequest, NgxError

MAX_JOINED = 64
NOTHING = msgspec.Raw(b"\xc0")


class AwaySink(Sink):
    """The caller's sink; `on_settled(call, error)` hears first."""

    __slots__ = ("_inner", "_on_settled", "call", "wants_chunks")

    def __init__(self, inner: Sink, call: Call, on_settled: Callable[[Call, NgxError | None], None]) -> None:
        self._inner = inner
        self._on_settled = on_settled
        self.wants_chunks = inner.wants_chunks
        self.call = call

    @override
    async def chunk(self, value: object) -> None:
        await self._inner.chunk(value)

    @override
    def finish(self, value: object) -> None:
        self._on_settled(self.call, None)
        self._inner.finish(value)

    @override
    def fail(self, error: NgxError) -> None:
        self._on_settled(self.call, error)
        self._inner.fail(error)


class ReplySink(Sink):
    """Turns what a local agent replies into frames. `send` waits until a piece has left, `answer` takes the last one.

    `is_mute`: nobody waits, the end is only acknowledged. `is_abandoned`: it is left to another process, unanswered.
    """

    __slots__ = (
        "_answer",
        "_attempt",
        "_send",
        "_seq",
        "call",
        "deliveries",
        "is_abandoned",
        "is_mute",
        "wants_chunks",
    )

    def __init__(
        self,
        delivery: Delivery,
        *,
        send: Callable[[Delivery, Frame], Awaitable[None]],
        answer: Callable[[ReplySink, Frame], None],
    ) -> None:
        self._send = send
        self._answer = answer
        self._seq = 0
        self._attempt = delivery.attempt  # also when the parcel is handed to us again meanwhile
        self.deliveries = [delivery]
        self.wants_chunks = delivery.parcel.wants_pieces
        self.is_mute = False
        self.is_abandoned = False
        self.call: Call | None = None

    def join(self, delivery: Delivery) -> None:
        """The same parcel again: handed to us once more, or posted by another caller, who is answered too."""
        if all(one.receipt != delivery.receipt for one in self.deliveries) and len(self.deliveries) < MAX_JOINED:
            self.deliveries.append(delivery)

    @override
    async def chunk(self, value: object) -> None:
        await self._send(self.deliveries[0], self._frame("piece", pack(value)))

    @override
    def finish(self, value: object) -> None:
        try:
            last = self._frame("done", pack(value))
        except InvalidRequest as error:
            self.fail(error)
        else:
            self._answer(self, last)

    @override
    def fail(self, error: NgxError) -> None:
        self._answer(self, self._frame("error", NOTHING, error))

    def _frame(self, kind: FrameKind, payload: msgspec.Raw, error: NgxError | None = None) -> Frame:
        spent = self.call.message.context if self.call is not None else None
        seq, self._seq = self._seq, self._seq + 1
        return Frame(
            id=self.deliveries[0].parcel.id, kind=kind, attempt=self._attempt, seq=seq, payload=payload,
            fault=None if error is None else fault_of(error),
            tokens_spent=spent.tokens_spent if spent else 0,
            cost_usd_spent=spent.cost_usd_spent if spent else 0.0,
            calls_made=spent.calls_made if spent else 0,
        )  # fmt: skip
