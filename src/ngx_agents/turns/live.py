"""A turn that this engine knows and that has not ended: its stream, its deadline, and who waits for its end."""

from __future__ import annotations

import asyncio

from ngx_agents.state.model import Durability, Owner
from ngx_agents.turns.model import TurnTicket, TurnView
from ngx_agents.turns.stream import TurnStream


class LiveTurn:
    """`stop_code` is why it was told to stop (`cancelled`, `interrupted`); the runner reads it when it is cancelled.

    `started` here, or `runs_elsewhere`: then its events come from another instance. `is_posted`: a webhook is told of
    its end; `was_looked_at`: somebody asked how it stands.
    """

    __slots__ = (
        "_agents_at_work",
        "_waiters",
        "conversation_id",
        "deadline_s",
        "durability",
        "finishing",
        "id",
        "is_posted",
        "is_streamed",
        "owner",
        "runs_elsewhere",
        "started",
        "stop_code",
        "stream",
        "task",
        "ticket",
        "turn_class",
        "was_looked_at",
    )

    def __init__(
        self, turn_id: str, conversation_id: str, owner: Owner, *, deadline_s: float, stream: TurnStream
    ) -> None:
        self.id = turn_id
        self.conversation_id = conversation_id
        self.owner = owner
        self.deadline_s = deadline_s
        self.stream = stream
        self.started = False
        self.finishing = False
        self.runs_elsewhere = False
        self.is_streamed = True
        self.is_posted = False
        self.was_looked_at = False
        self.durability: Durability = "journal"
        self.task: asyncio.Task[None] | None = None
        self.stop_code: str | None = None
        self.turn_class = 1
        self.ticket: TurnTicket | None = None
        self._agents_at_work = 0
        self._waiters: list[asyncio.Future[TurnView | None]] = []

    @property
    def is_here(self) -> bool:
        """Whether its lane was granted to this instance: it runs here, or is about to."""
        return self.task is not None

    @property
    def is_awaited(self) -> bool:
        """Whether somebody here waits for its end as a whole."""
        return bool(self._waiters)

    @property
    def has_audience(self) -> bool:
        """Whether somebody here listens to it or waits for its end."""
        return self.stream.listeners > 0 or bool(self._waiters)

    def was_watched(self) -> bool:
        """Whether somebody watches it, or has looked at it since this was asked before."""
        was_looked_at, self.was_looked_at = self.was_looked_at, False
        return self.has_audience or self.is_posted or was_looked_at

    def stop(self, code: str) -> None:
        """Asks the turn to end; what it said is kept. Too late once its end is being stored.

        A task that has not begun must not be cancelled: it would end without a word. It reads `stop_code` first.
        """
        if self.stop_code is None and not self.finishing:
            self.stop_code = code
            if self.started and self.task is not None:
                self.task.cancel()

    def view(self) -> TurnView:
        """The turn while it has not ended."""
        return TurnView(
            turn_id=self.id,
            conversation_id=self.conversation_id,
            status="running" if self.started or self.runs_elsewhere else "queued",
            text=self.stream.text,
            artifacts=tuple(self.stream.artifacts),
            durability=self.durability,
        )

    async def wait(self) -> TurnView | None:
        """The ended turn; None when it goes on elsewhere. Any number may wait, and leave."""
        waiter: asyncio.Future[TurnView | None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            return await waiter
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    def end(self, name: str, data: object, view: TurnView) -> None:
        """The one terminal event, and the answer for those who wait."""
        if self.ticket is not None and view.usage:
            spent = view.usage
            self.ticket.spent(
                input_tokens=spent.get("input_tokens", 0),
                output_tokens=spent.get("output_tokens", 0) + spent.get("thought_tokens", 0),
            )
        self.stream.close(name, data)
        self._tell(view)

    def abandon(self) -> None:
        """The turn went elsewhere: nothing more comes from here."""
        self.stream.abandon()
        self._tell(None)

    def agent_began(self) -> None:
        """One more agent works at once; the turn weighs as much."""
        self._weigh(self._agents_at_work + 1)

    def agent_ended(self) -> None:
        self._weigh(max(0, self._agents_at_work - 1))

    def _weigh(self, agents: int) -> None:
        self._agents_at_work = agents
        if self.ticket is not None:
            self.ticket.weigh(max(1, agents))

    def give_back(self) -> None:
        """Nothing of it is at work here any more."""
        ticket, self.ticket = self.ticket, None
        if ticket is not None:
            ticket.release()

    def _tell(self, view: TurnView | None) -> None:
        self.give_back()
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(view)
        self._waiters.clear()
