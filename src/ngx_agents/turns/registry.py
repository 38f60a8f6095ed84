"""The turns this engine knows that have not ended, and how a turn is looked at, live or from the journal.

Only the engine adds and removes. Every look-up carries the owner: another's turn looks absent.
"""

from __future__ import annotations

from collections.abc import Iterator

from ngx_agents.clock import Clock
from ngx_agents.errors import NotFound
from ngx_agents.state.commands import GetTurn, Grant, ListArtifacts
from ngx_agents.state.ids import is_id
from ngx_agents.state.journal import Journal
from ngx_agents.state.model import TERMINAL, Answer, Owner, Page, Turn
from ngx_agents.turns.live import LiveTurn
from ngx_agents.turns.model import TurnView, ended_view
from ngx_agents.turns.stream import TurnStream

MAX_ARTIFACTS = 100


class TurnRegistry:
    """`held_events` bounds each turn's stream."""

    def __init__(self, journal: Journal, clock: Clock, held_events: int) -> None:
        self.journal = journal
        self.clock = clock
        self._held_events = held_events
        self._live: dict[str, LiveTurn] = {}

    def __iter__(self) -> Iterator[LiveTurn]:
        return iter(list(self._live.values()))

    def __len__(self) -> int:
        return len(self._live)

    def get(self, turn_id: str) -> LiveTurn | None:
        return self._live.get(turn_id)

    def remove(self, turn_id: str) -> None:
        live = self._live.pop(turn_id, None)
        if live is not None:
            live.give_back()

    def take_in(self, turn_id: str, conversation_id: str, owner: Owner, *, deadline_s: float) -> LiveTurn:
        """The live turn of this id, made when it is not there yet."""
        live = self._live.get(turn_id)
        if live is None:
            stream = TurnStream(self._held_events)
            live = LiveTurn(turn_id, conversation_id, owner, deadline_s=deadline_s, stream=stream)
            self._live[turn_id] = live
        return live

    def of_grant(self, grant: Grant) -> LiveTurn:
        live = self.take_in(
            grant.turn_id, grant.conversation_id, grant.owner, deadline_s=self._monotonic(grant.deadline_at)
        )
        live.turn_class = grant.turn_class
        return live

    async def find(self, turn_id: str, owner: Owner) -> LiveTurn | None:
        """The live turn, taken in when it is still to be claimed; None when it has ended. Raises NotFound."""
        live = self._live.get(turn_id)
        if live is not None:
            if live.owner != owner:
                raise NotFound("no such turn")
            return live
        turn = await self.stored(turn_id, owner)
        if turn.status in TERMINAL:
            return None
        if turn_id not in self._live:
            self.take_in(turn_id, turn.conversation_id, owner, deadline_s=self._monotonic(turn.deadline_at))
            turn = await self.stored(turn_id, owner)
        live = self._live.get(turn_id)
        if live is not None and not live.started and turn.status in TERMINAL:
            live.abandon()
            self.remove(turn_id)
            return None
        return live

    async def stored(self, turn_id: str, owner: Owner) -> Turn:
        """The turn as the journal has it. Raises NotFound."""
        turn: Turn | None = await self.journal.query(GetTurn(id=turn_id, owner=owner)) if is_id("t", turn_id) else None
        if turn is None:
            raise NotFound("no such turn")
        return turn

    async def view_of(self, turn: Turn) -> TurnView:
        """A stored turn as its caller sees it."""
        answer = turn.answer or Answer()
        artifacts: Page = Page(())
        if answer.artifacts:
            artifacts = await self.journal.query(ListArtifacts(owner=turn.owner, turn_id=turn.id, limit=MAX_ARTIFACTS))
        return ended_view(
            turn.id,
            turn.conversation_id,
            status=turn.status,
            answer=answer,
            artifacts=tuple(reversed(artifacts.items)),
        )

    def beat(self) -> None:
        """A heartbeat for everybody who listens and has nothing else to read."""
        for live in self:
            live.stream.beat()

    def _monotonic(self, at: float) -> float:
        return self.clock.monotonic_s() + at - self.clock.now_s()
