"""Telling the journal what was accepted without it: one owner at a time, in order, each thing exactly once.

A turn that ended here is accepted and ended by a living instance of its own, so that nobody runs it again; what the
journal has already (a reply was lost, the process died in the middle of a replay) is recognised by the turn itself.
What the journal refuses is kept aside with the reason. `tell` and `ask` reach the journal; they raise
JournalUnavailable, which leaves the rest where it is. The owner's lock is held.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

import msgspec

from ngx_agents.clock import Clock
from ngx_agents.errors import ConversationBusy, JournalUnavailable, LeaseLost, NgxError
from ngx_agents.state import commands as c
from ngx_agents.state.local_acceptance import LocalAcceptance
from ngx_agents.state.local_acceptance_entries import LocalCommand
from ngx_agents.state.model import TERMINAL, Owner, Turn
from ngx_agents.telemetry.log import event_log
from ngx_agents.telemetry.metrics import Metrics

log = event_log("state")
Tell: TypeAlias = Callable[[Sequence[c.Command]], Awaitable[list[Any]]]
Ask: TypeAlias = Callable[[c.Question], Awaitable[Any]]
LEASE_S = 30.0
NO_LIMIT = 10**6
BUSY_PAUSE_S = 1.0


class Granted(msgspec.Struct, frozen=True, kw_only=True):
    """What the journal gave a turn that was granted here before."""

    epoch: int
    user_seq: int


class Replay:
    """`granted` tells of turns that still run here what the journal calls them now."""

    def __init__(  # noqa: PLR0913  # what it stands between
        self,
        acceptance: LocalAcceptance,
        *,
        tell: Tell,
        ask: Ask,
        clock: Clock,
        metrics: Metrics,
        instance: str,
        busy_s: float = 75.0,
    ) -> None:
        self.granted: dict[str, Granted] = {}
        self._acceptance = acceptance
        self._tell = tell
        self._ask = ask
        self._clock = clock
        self._busy_s = busy_s
        self._instance = instance
        self._beat_again_s = float("-inf")
        told = metrics.counter("ngx_local_replayed_total", "Local commands told to the journal.", "outcome")
        self._stored, self._aside = told.labels("stored"), told.labels("aside")

    async def replay(self, owner: Owner) -> None:
        """All of the owner's. Raises JournalUnavailable; what was told by then is not told again."""
        overlay = self._acceptance.overlay
        commands = [entry.command for entry in overlay.entries.get(owner, ())]
        ends = {command.turn_id: command for command in commands if isinstance(command, c.FinishTurn)}
        begun = {command.turn_id for command in commands if isinstance(command, c.AcceptTurn)}
        for command in commands:
            match command:
                case c.CreateConversation():
                    await self._create(command)
                case c.AcceptTurn():
                    await self._turn(command, ends.get(command.turn_id))
                case c.FinishTurn() if command.turn_id not in begun:
                    await self._end(command)
                case _:
                    pass  # told with its beginning
        overlay.forget(owner)

    async def _create(self, command: c.CreateConversation) -> None:
        [result] = await self._tell([command])
        if isinstance(result, NgxError):
            found = await self._ask(c.GetConversation(id=command.id, owner=command.owner))
            if found is None:
                await self._set_aside(result, command)
                return
        self._stored.inc()

    async def _turn(self, accept: c.AcceptTurn, finish: c.FinishTurn | None) -> None:
        turn: Turn | None = await self._ask(c.GetTurn(id=accept.turn_id, owner=accept.owner))
        if turn is None:
            await (self._open_turn(accept) if finish is None else self._ended_turn(accept, finish))
        elif finish is None:
            self._remember(accept.turn_id, turn.epoch, turn.seq)
        elif turn.status in TERMINAL:
            await self._compare(finish, turn)
        elif turn.status == "running" and turn.attempts <= 1:
            await self._finish(finish, turn.epoch, turn.seq)
        else:
            await self._set_aside(LeaseLost("the journal gave the turn to another instance"), finish)

    async def _ended_turn(self, accept: c.AcceptTurn, finish: c.FinishTurn) -> None:
        """Accepted and ended at once, in a lane that is free: nobody may run it again."""
        begin = msgspec.structs.replace(accept, when_busy="reject", grant_to=self._instance, max_waiting=NO_LIMIT)
        accepted = await self._until_free(begin)
        if isinstance(accepted, NgxError):
            await self._set_aside(accepted, accept, finish)
        elif accepted.turn_id != accept.turn_id:
            same = NgxError(f"the same request is turn {accepted.turn_id} in the journal")
            await self._set_aside(same, accept, finish)
        else:
            self._stored.inc()
            await self._finish(finish, accepted.epoch or 0, accepted.user_seq)

    async def _until_free(self, begin: c.AcceptTurn) -> Any:
        until_s = self._clock.monotonic_s() + self._busy_s
        while True:
            await self._stay_alive()
            [result] = await self._tell([begin])
            if not isinstance(result, ConversationBusy) or self._clock.monotonic_s() >= until_s:
                return result
            await self._clock.sleep(BUSY_PAUSE_S)

    async def _stay_alive(self) -> None:
        """Nobody may take a lane between the two halves of a turn: it is held by an instance that lives."""
        now_s = self._clock.monotonic_s()
        if now_s >= self._beat_again_s:
            [result] = await self._tell([c.Beat(instance=self._instance, lease_s=LEASE_S)])
            if isinstance(result, NgxError):
                raise JournalUnavailable("the replay cannot hold lanes", retry_after_s=2.0)
            self._beat_again_s = now_s + LEASE_S / 4

    async def _open_turn(self, accept: c.AcceptTurn) -> None:
        """One that has not ended: it goes on here with the journal's grant, or waits there for anybody."""
        lane = self._acceptance.overlay.lanes[accept.conversation_id]
        runs_here = lane.running == accept.turn_id
        grant_to = lane.lane_owner if runs_here else None
        [result] = await self._tell(
            [msgspec.structs.replace(accept, when_busy="enqueue", grant_to=grant_to, max_waiting=NO_LIMIT)]
        )
        if isinstance(result, NgxError):
            await self._set_aside(result, accept)
            return
        self._stored.inc()
        if runs_here and result.epoch is not None:
            self._remember(accept.turn_id, result.epoch, result.user_seq)

    async def _end(self, finish: c.FinishTurn) -> None:
        """The end of a turn that the journal had granted before it was away."""
        turn: Turn | None = await self._ask(c.GetTurn(id=finish.turn_id, owner=finish.owner))
        if turn is not None and turn.status in TERMINAL:
            await self._compare(finish, turn)
        else:
            await self._finish(finish, finish.epoch, finish.user_seq)

    async def _finish(self, finish: c.FinishTurn, epoch: int, user_seq: int) -> None:
        [result] = await self._tell([msgspec.structs.replace(finish, epoch=epoch, user_seq=user_seq, grant_to=None)])
        if isinstance(result, NgxError):
            await self._set_aside(result, finish)
        else:
            self._stored.inc()

    async def _compare(self, finish: c.FinishTurn, turn: Turn) -> None:
        if (turn.status, turn.finished_at, turn.last_seq) == (finish.status, finish.now, finish.last_seq):
            self._stored.inc()
        else:
            await self._set_aside(LeaseLost("the turn was ended by another instance"), finish)

    def _remember(self, turn_id: str, epoch: int, user_seq: int) -> None:
        self.granted[turn_id] = Granted(epoch=epoch, user_seq=user_seq)

    async def _set_aside(self, error: NgxError, *commands: LocalCommand) -> None:
        if isinstance(error, JournalUnavailable):
            raise error
        for command in commands:
            await self._acceptance.aside.keep(command, reason=str(error), code=error.code)
            self._aside.inc()
            log.error("local_log.set_aside", kind=type(command).__name__, code=error.code)
