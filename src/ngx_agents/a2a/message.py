"""A message from one agent to another, and the context in which it is worked on.

Deadline, class, depth, budget and trace are inherited by every call made in the context and only shrink: a child ends
no later, is no less urgent, stands one deeper, and may spend no more than what is left. What a child spends is spent
for all above it, also when it ran in another process. Contexts belong to one loop; nothing here waits.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from ngx_agents.a2a.refusals import BudgetSpent, CallsUnbounded
from ngx_agents.errors import NgxError

if TYPE_CHECKING:
    from ngx_agents.a2a.seat import Seat
    from ngx_agents.a2a.server import A2AServer

MAX_DEPTH = 8
MAX_FAN_OUT = 32
MAX_CALLS = 256
INTERACTIVE = 1
LEAST_URGENT = 3

Handler: TypeAlias = "Callable[[A2AMessage], Awaitable[object] | AsyncIterator[object]]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What may be spent below one message; None is not limited. `calls` counts all calls to agents beneath it."""

    tokens: int | None = None
    cost_usd: float | None = None
    calls: int = MAX_CALLS


UNLIMITED = Budget()


class A2AContext:
    """`deadline_s` is absolute on the server's monotonic clock, None at the root when nothing bounds it yet.
    `agent` is who works in it, empty at the root; `depth` there is what the servers before this one add."""

    __slots__ = ("_fan_out", "_parent", "_server", "agent", "calls_left", "calls_made", "cost_usd_left",
                 "cost_usd_spent", "deadline_s", "depth", "tokens_left", "tokens_spent", "traceparent",
                 "turn_class")  # fmt: skip

    def __init__(
        self,
        server: A2AServer,
        *,
        deadline_s: float | None = None,
        turn_class: int = INTERACTIVE,
        budget: Budget = UNLIMITED,
        traceparent: str | None = None,
        depth: int = 0,
    ) -> None:
        self._server = server
        self._parent: A2AContext | None = None
        self._fan_out = 0
        self.agent = ""
        self.deadline_s = deadline_s
        self.turn_class = turn_class
        self.depth = depth
        self.traceparent = traceparent
        self.tokens_left = budget.tokens
        self.cost_usd_left = budget.cost_usd
        self.calls_left = budget.calls
        self.tokens_spent = 0
        self.cost_usd_spent = 0.0
        self.calls_made = 0

    async def request(
        self,
        agent: str,
        payload: object,
        *,
        deadline_s: float | None = None,
        turn_class: int | None = None,
        message_id: str | None = None,
    ) -> object:
        """The reply of another agent, asked within what is left here. Raises what `A2AServer.request` does."""
        wanted = self.turn_class if turn_class is None else turn_class
        return await self._server.request(
            agent, payload, deadline_s=deadline_s, turn_class=wanted, context=self, message_id=message_id
        )

    def stream(
        self, agent: str, payload: object, *, deadline_s: float | None = None, turn_class: int | None = None
    ) -> AsyncGenerator[object]:
        """The reply of another agent, piece by piece. Raises what `A2AServer.stream` does."""
        wanted = self.turn_class if turn_class is None else turn_class
        return self._server.stream(agent, payload, deadline_s=deadline_s, turn_class=wanted, context=self)

    def seat(self, agent: str) -> Seat | None:
        """A free worker's place of another agent of this process, to do its work here. See `A2AServer.seat`."""
        return self._server.seat(agent, context=self)

    async def send(
        self, agent: str, payload: object, *, deadline_s: float | None = None, turn_class: int | None = None
    ) -> str:
        """One way; returns the message's id once it is accepted."""
        wanted = self.turn_class if turn_class is None else turn_class
        return await self._server.send(agent, payload, deadline_s=deadline_s, turn_class=wanted, context=self)

    async def broadcast(
        self, payload: object, *, agents: Sequence[str] | None = None, deadline_s: float | None = None
    ) -> dict[str, object | NgxError]:
        """What each of `agents` replied, or why it did not."""
        return await self._server.broadcast(
            payload, agents=agents, deadline_s=deadline_s, turn_class=self.turn_class, context=self
        )

    def spend(self, *, tokens: int = 0, cost_usd: float = 0.0) -> None:
        """Takes from what is left here and above. Never raises: the next call finds out."""
        at: A2AContext | None = self
        while at is not None:
            at.tokens_spent += tokens
            at.cost_usd_spent += cost_usd
            if at.tokens_left is not None:
                at.tokens_left = max(0, at.tokens_left - tokens)
            if at.cost_usd_left is not None:
                at.cost_usd_left = max(0.0, at.cost_usd_left - cost_usd)
            at = at._parent

    def count_calls(self, calls: int) -> None:
        """Calls made here or, as told afterwards, below in another process."""
        at: A2AContext | None = self
        while at is not None:
            at.calls_left = max(0, at.calls_left - calls)
            at.calls_made += calls
            at = at._parent

    def hand_on(self) -> int:
        """How many calls a server elsewhere may make for this message: half of what is left, counted as made, since
        nobody tells how many it made."""
        calls = self.calls_left // 2
        self.count_calls(calls)
        return calls

    def child(self, agent: str, deadline_s: float | None, turn_class: int) -> A2AContext:
        """The context of a call made here. Raises CallsUnbounded, BudgetSpent."""
        if self.depth >= MAX_DEPTH:
            raise CallsUnbounded(agent, "depth", MAX_DEPTH)
        if self.agent and self._fan_out >= MAX_FAN_OUT:
            raise CallsUnbounded(agent, "fan_out", MAX_FAN_OUT)
        self._require_budget()
        self._fan_out += 1
        self.count_calls(1)
        made = A2AContext.__new__(A2AContext)
        made._server = self._server
        made._parent = self
        made._fan_out = 0
        made.agent = agent
        made.deadline_s = _earlier(self.deadline_s, deadline_s)
        made.turn_class = min(self.turn_class, turn_class)
        made.depth = self.depth + 1
        made.traceparent = self.traceparent
        made.tokens_left, made.cost_usd_left, made.calls_left = self.tokens_left, self.cost_usd_left, self.calls_left
        made.tokens_spent = made.calls_made = 0
        made.cost_usd_spent = 0.0
        return made

    def _require_budget(self) -> None:
        if self.tokens_left is not None and self.tokens_left <= 0:
            raise BudgetSpent("tokens")
        if self.cost_usd_left is not None and self.cost_usd_left <= 0.0:
            raise BudgetSpent("cost")
        if self.calls_left <= 0:
            raise BudgetSpent("calls")


class A2AMessage:
    """What a handler gets. `payload` is the sender's own object in process (not to be changed), decoded otherwise."""

    __slots__ = ("agent", "context", "id", "payload")

    def __init__(self, message_id: str, agent: str, payload: object, context: A2AContext) -> None:
        self.id = message_id
        self.agent = agent
        self.payload = payload
        self.context = context

    @property
    def deadline_s(self) -> float:
        assert self.context.deadline_s is not None
        return self.context.deadline_s

    @property
    def turn_class(self) -> int:
        return self.context.turn_class

    @property
    def depth(self) -> int:
        """1 for a message from outside, one more for each agent above, also in servers that it came through."""
        return self.context.depth


def _earlier(one_s: float | None, other_s: float | None) -> float | None:
    if one_s is None or other_s is None:
        return other_s if one_s is None else one_s
    return min(one_s, other_s)
