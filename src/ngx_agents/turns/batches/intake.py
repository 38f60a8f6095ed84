"""How a batch comes in: stored some inputs at a time, so that its size is nobody's memory; and how it is called off."""

from __future__ import annotations

import asyncio
from typing import Any

from ngx_agents.clock import Clock
from ngx_agents.errors import InvalidRequest, NgxError, NotFound, TurnFinished
from ngx_agents.state.batch_commands import MAX_BATCH_ITEMS
from ngx_agents.state.commands import (
    AddBatchItems,
    Batch,
    BatchItem,
    CancelBatch,
    Command,
    CreateBatch,
    DropBatch,
    StartBatch,
)
from ngx_agents.state.ids import Ids, shard_in, shard_of
from ngx_agents.state.journal import Journal
from ngx_agents.state.model import Owner
from ngx_agents.state.task_commands import PushConfig
from ngx_agents.turns.batches.taker import BatchTaker
from ngx_agents.turns.engine import TurnEngine

STORED_AT_ONCE = 200


class BatchIntake:
    """One batch that arrives. `add` its inputs, then `start` it or `drop` it."""

    def __init__(self, desk: BatchDesk, owner: Owner, batch_id: str) -> None:
        self._desk = desk
        self._owner = owner
        self._id = batch_id
        self._waiting: list[BatchItem] = []
        self._custom_ids: set[str] = set()
        self.size = 0

    async def add(
        self,
        text: str,
        *,
        custom_id: str | None = None,
        agent: str | None = None,
        locale: str | None = None,
        conversation_id: str | None = None,
    ) -> None:
        """Raises InvalidRequest: too many inputs, a `custom_id` given twice, a conversation that is not theirs."""
        if self.size >= MAX_BATCH_ITEMS:
            raise InvalidRequest(f"a batch has at most {MAX_BATCH_ITEMS} inputs", field="items")
        if custom_id is not None and custom_id in self._custom_ids:
            raise InvalidRequest("this custom_id was given before", field=f"items[{self.size}].custom_id")
        if custom_id is not None:
            self._custom_ids.add(custom_id)
        lane = conversation_id or self._desk.ids.new("c", shard_of(self._owner.user))
        item = BatchItem(
            number=self.size, turn_id=self._desk.ids.new("t", shard_in(lane)), is_own=conversation_id is None,
            conversation_id=lane, text=text, custom_id=custom_id,
            agent=agent, locale=locale,
        )  # fmt: skip
        self._waiting.append(item)
        self.size += 1
        if len(self._waiting) >= STORED_AT_ONCE:
            await self._store()

    async def start(self, *, key: str | None, digest: bytes, webhook: PushConfig | None = None) -> Batch:
        """The batch, or the one that was started with the same key and body. Raises IdempotencyConflict."""
        if self.size == 0:
            raise InvalidRequest("a batch has at least one input", field="items")
        await self._store()
        started: Batch = await self._desk.tell(
            StartBatch(batch_id=self._id, owner=self._owner, size=self.size, key=key, hash=digest, webhook=webhook)
        )
        self._desk.wake()
        return started

    async def drop(self) -> None:
        """What has arrived is forgotten; if the journal is away, later."""
        try:
            await self._desk.tell(DropBatch(batch_id=self._id, owner=self._owner))
        except NgxError:
            return

    async def _store(self) -> None:
        if self._waiting:
            items, self._waiting = tuple(self._waiting), []
            await self._desk.tell(AddBatchItems(batch_id=self._id, owner=self._owner, items=items))


class BatchDesk:
    """`max_open` bounds a user's batches that have not ended."""

    def __init__(
        self, *, engine: TurnEngine, journal: Journal, taker: BatchTaker, ids: Ids, clock: Clock, max_open: int
    ) -> None:
        self.ids = ids
        self.wake = taker.wake
        self._engine = engine
        self._journal = journal
        self._clock = clock
        self._max_open = max_open

    async def begin(self, owner: Owner, *, expires_after_s: float) -> BatchIntake:
        """Raises QuotaExceeded, JournalUnavailable."""
        batch_id = self.ids.new("j", shard_of(owner.user))
        now_s = self._clock.now_s()
        expires_at = now_s + expires_after_s
        await self.tell(
            CreateBatch(id=batch_id, owner=owner, now=now_s, expires_at=expires_at, max_open=self._max_open)
        )
        return BatchIntake(self, owner, batch_id)

    async def cancel(self, batch_id: str, owner: Owner) -> None:
        """No more turns are made, and those that run are stopped. Raises NotFound."""
        open_turns = await self.tell(CancelBatch(batch_id=batch_id, owner=owner))
        await asyncio.gather(*(self._stop(turn_id, owner) for turn_id in open_turns))
        self.wake()

    async def _stop(self, turn_id: str, owner: Owner) -> None:
        try:
            await self._engine.cancel(turn_id, owner)
        except (NotFound, TurnFinished):
            return

    async def tell(self, command: Command) -> Any:
        """The command's result. Raises what the command names, or JournalUnavailable."""
        [result] = await self._journal.transact([command])
        if isinstance(result, BaseException):
            raise result
        return result
