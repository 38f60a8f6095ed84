"""The local side of the failure ladder: which commands it may take, whose locks they need, and when it is told on."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import msgspec

from ngx_agents.clock import Clock
from ngx_agents.errors import JournalUnavailable, NgxError
from ngx_agents.state import commands as c
from ngx_agents.state.local_acceptance import LocalAcceptance
from ngx_agents.state.local_acceptance_replay import Ask, Replay, Tell
from ngx_agents.state.local_acceptance_views import answered
from ngx_agents.state.model import Owner
from ngx_agents.telemetry.metrics import Metrics

HISTORY = 200
"""Messages that a turn looks back on; a copy in memory is made of what is asked for, so no fewer are."""
AT_ONCE = 8
"""Owners replayed at the same time."""


class LocalSide:
    """`tell` and `ask` reach the journal behind."""

    def __init__(
        self, acceptance: LocalAcceptance, *, tell: Tell, ask: Ask, clock: Clock, metrics: Metrics, busy_s: float
    ) -> None:
        self._acceptance = acceptance
        self._ask = ask
        self._replay = Replay(
            acceptance, tell=tell, ask=ask, clock=clock, metrics=metrics, busy_s=busy_s,
            instance=f"replay-{secrets.token_hex(8)}",
        )  # fmt: skip
        self._taken = metrics.counter("ngx_local_accepted_total", "Commands taken on this disk.", "kind")
        self._pending = metrics.gauge("ngx_local_pending", "Commands on this disk alone.").labels()

    @property
    def is_empty(self) -> bool:
        return self._acceptance.is_empty

    @property
    def pending(self) -> int:
        return self._acceptance.pending

    @property
    def trouble(self) -> str:
        """Why nothing new can be taken; empty when it can."""
        return self._acceptance.trouble

    async def open(self) -> None:
        await self._acceptance.open()

    async def close(self) -> None:
        await self._acceptance.close()

    def learn(self, commands: Sequence[c.Command], results: Sequence[Any]) -> None:
        for command, result in zip(commands, results, strict=True):
            if isinstance(command, c.FinishTurn):
                self._replay.granted.pop(command.turn_id, None)
            if not isinstance(result, BaseException):
                self._acceptance.known.learn(command, result)

    def is_clear_of(self, commands: Sequence[c.Command]) -> bool:
        """Whether nothing of these commands' owners is here alone, and nothing of them is at work."""
        return not any(self._acceptance.concerns(owner) for owner in self._owners(commands))

    def _owners(self, commands: Sequence[c.Command]) -> list[Owner]:
        """Whose order the commands keep, if it is here, sorted: locks are taken in one order by everybody."""
        found = {owner for command in commands if (owner := self._owner_of(command)) is not None}
        return sorted(found, key=lambda owner: (owner.tenant, owner.user))

    def _owner_of(self, command: c.Command) -> Owner | None:
        lanes = self._acceptance.overlay.lanes
        if isinstance(command, c.SaveCheckpoint | c.RecordEffect | c.ReleaseLane):
            lane = lanes.get(command.conversation_id)
            return lane.owner if lane is not None else None
        owner: Owner | None = getattr(command, "owner", None)
        return owner

    @asynccontextmanager
    async def locked(self, commands: Sequence[c.Command]) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for owner in self._owners(commands):
                await stack.enter_async_context(self._acceptance.lock(owner))
            yield

    def translated(self, commands: Sequence[c.Command]) -> Sequence[c.Command]:
        """The same with the journal's epochs, for turns that were granted here before it was back."""
        if not self._replay.granted:
            return commands
        return [self._translated(command) for command in commands]

    def _translated(self, command: c.Command) -> c.Command:
        granted = self._replay.granted
        match command:
            case c.FinishTurn() if command.turn_id in granted:
                now = granted[command.turn_id]
                return msgspec.structs.replace(command, epoch=now.epoch, user_seq=now.user_seq)
            case c.SaveCheckpoint() | c.RecordEffect() if command.turn_id in granted:
                return msgspec.structs.replace(command, epoch=granted[command.turn_id].epoch)
            case c.AddLog() if command.lease is not None and command.lease[1] in granted:
                lane_id, turn_id, _ = command.lease
                return msgspec.structs.replace(command, lease=(lane_id, turn_id, granted[turn_id].epoch))
            case _:
                return command

    async def take(self, commands: Sequence[c.Command], refusal: JournalUnavailable) -> list[Any]:
        """A result or error for each; raises JournalUnavailable when the journal is needed for all of them."""
        results = [await self._taken_one(command, refusal) for command in commands]
        self._pending.set(self._acceptance.pending)
        first = next((one for one in results if isinstance(one, JournalUnavailable)), None)
        if first is not None and all(isinstance(one, JournalUnavailable) for one in results):
            raise first
        return results

    async def _taken_one(self, command: c.Command, refusal: JournalUnavailable) -> Any:
        try:
            match command:
                case c.CreateConversation() | c.FinishTurn():
                    result = await self._acceptance.take(command)
                case c.AcceptTurn():
                    await self._check_context(command)
                    result = await self._acceptance.take(command)
                case c.SaveCheckpoint():
                    return self._keep_checkpoint(command)
                case c.ReleaseLane() if command.conversation_id in self._acceptance.overlay.lanes:
                    return self._acceptance.overlay.release(command.conversation_id, command.epoch)
                case c.RequestCancel() if self._is_running_here(command):
                    return "running"
                case c.Beat():
                    return True  # what is taken locally is nobody else's to run
                case _:
                    return refusal
        except NgxError as error:
            return error
        self._taken.labels(type(command).__name__).inc()
        return result

    async def _check_context(self, command: c.AcceptTurn) -> None:
        """A turn that could not see its history or its user's profile is refused, not answered without them.

        Raises JournalUnavailable.
        """
        base = self._acceptance.base_of(command)
        if command.conversation_id not in self._acceptance.overlay.lanes:
            assert base is not None
            before = base.asked.seq if base.asked is not None else 2 * base.next_turn - 1
            await self._ask(
                c.RecentMessages(
                    conversation_id=command.conversation_id, owner=command.owner, before=before, limit=HISTORY
                )
            )
        await self._ask(c.GetProfile(owner=command.owner))

    def _keep_checkpoint(self, command: c.SaveCheckpoint) -> None:
        self._acceptance.overlay.checkpoints.setdefault(command.turn_id, {})[command.key] = command.value

    def _is_running_here(self, command: c.RequestCancel) -> bool:
        turn = self._acceptance.overlay.turns.get(command.turn_id)
        return turn is not None and turn.owner == command.owner and turn.status == "running"

    def claim(self, limit: int, instance: str) -> list[c.Grant]:
        def is_at_rest(owner: Owner) -> bool:
            return not self._acceptance.lock(owner).locked()

        return self._acceptance.overlay.claim(limit, instance, is_at_rest=is_at_rest)

    async def answer(self, question: c.Question) -> Any:
        return await answered(self._acceptance.overlay, question, self._ask)

    async def replay_of(self, commands: Sequence[c.Command]) -> None:
        """Everything of these commands' owners. Their locks are held. Raises JournalUnavailable."""
        for owner in self._owners(commands):
            await self._replay_owner(owner)

    async def replay_all(self) -> None:
        """Everything, owner by owner, then empties the log. Raises JournalUnavailable."""
        waiting = list(self._acceptance.overlay.entries)
        failures: list[JournalUnavailable] = []
        async with asyncio.TaskGroup() as tasks:
            owners = iter(waiting)
            for _ in range(min(AT_ONCE, len(waiting))):
                tasks.create_task(self._replay_some(owners, failures))
        if failures:
            raise failures[0]
        await self._acceptance.clear()
        self._pending.set(self._acceptance.pending)

    async def _replay_some(self, owners: Iterable[Owner], failures: list[JournalUnavailable]) -> None:
        for owner in owners:
            if failures:
                return
            try:
                async with self._acceptance.lock(owner):
                    await self._replay_owner(owner)
            except JournalUnavailable as error:
                failures.append(error)

    async def _replay_owner(self, owner: Owner) -> None:
        if owner in self._acceptance.overlay.entries:
            await self._replay.replay(owner)
