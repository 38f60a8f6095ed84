"""What the journal is told and asked about batches: many inputs handed in at once. Part of `commands`.

A batch is `arriving` while its inputs are stored, then `running` until each has ended. Its inputs stay rows without
turns until an instance takes some of them: `TakeItems` makes conversation, turn and grant in the transaction that moves
the batch on, so that each input becomes a turn once, whoever takes it and whatever is killed. What became of an input
is what became of its turn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from ngx_agents.state.model import Answer, Owner, TurnStatus
from ngx_agents.state.task_commands import PushConfig

if TYPE_CHECKING:
    from ngx_agents.state.commands import Grant

BatchStatus = Literal["arriving", "running", "cancelling", "completed", "cancelled", "expired"]
ItemStatus = Literal["queued", "running", "completed", "failed", "cancelled", "expired", "gone"]
BATCH_CLASS = 3
MAX_BATCH_ITEMS = 10_000
ARRIVES_WITHIN_S = 3600.0
"""What has not arrived by then never will, and counts as open no longer."""


class BatchItem(msgspec.Struct, frozen=True, kw_only=True):
    """One input. `number` counts from 0. `is_own`: its conversation is made for it, and unlisted."""

    number: int
    turn_id: str
    conversation_id: str
    is_own: bool
    text: str
    custom_id: str | None = None
    agent: str | None = None
    locale: str | None = None


class BatchCounts(msgspec.Struct, frozen=True, kw_only=True):
    """How many inputs stand where. `gone`: taken, and their conversation has been deleted since."""

    total: int
    queued: int = 0
    running: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    expired: int = 0
    gone: int = 0


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """`expires_at`: inputs that no turn was made of by then are given up. Times are Unix seconds."""

    id: str
    owner: Owner
    status: BatchStatus
    created_at: float
    expires_at: float
    counts: BatchCounts
    finished_at: float | None = None


class BatchResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one input. `answer` is None until its turn has ended."""

    number: int
    status: ItemStatus
    turn_id: str
    conversation_id: str
    custom_id: str | None = None
    answer: Answer | None = None


class OpenBatch(msgspec.Struct, frozen=True, kw_only=True):
    """`waiting` inputs have no turn yet and may still get one; 0: nothing but its end is left to wait for."""

    id: str
    owner: Owner
    waiting: int


# Commands


class CreateBatch(msgspec.Struct, frozen=True, kw_only=True):
    """→ None. A batch whose inputs arrive. Raises QuotaExceeded when the owner has `max_open` that have not ended."""

    id: str
    owner: Owner
    now: float
    expires_at: float
    max_open: int


class AddBatchItems(msgspec.Struct, frozen=True, kw_only=True):
    """→ None. Raises NotFound unless the batch is arriving, and InvalidRequest when a conversation is not theirs."""

    batch_id: str
    owner: Owner
    items: tuple[BatchItem, ...]


class StartBatch(msgspec.Struct, frozen=True, kw_only=True):
    """→ Batch, running; or the one that was started with the same key and body, this one being dropped.

    `size` is how many inputs arrived; `webhook` is told when the batch has ended.
    Raises NotFound unless it is arriving, IdempotencyConflict.
    """

    batch_id: str
    owner: Owner
    size: int
    key: str | None = None
    hash: bytes = b""
    webhook: PushConfig | None = None


class DropBatch(msgspec.Struct, frozen=True, kw_only=True):
    """→ bool: whether there was one that was arriving; it is gone."""

    batch_id: str
    owner: Owner


class TakeItems(msgspec.Struct, frozen=True, kw_only=True):
    """→ Taken. Makes turns of the batch's next inputs, at most `limit`, each granted to `instance`.

    Stops before an input whose conversation is busy: a batch never has more than one turn open in a conversation. Gives
    none when the batch does not run, has expired, or is being taken from by another instance right now.
    """

    batch_id: str
    owner: Owner
    instance: str
    limit: int
    now: float
    timeout_s: float


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """`moved` inputs were passed: those granted, and those that could not become turns."""

    grants: tuple[Grant, ...] = ()
    moved: int = 0


class CancelBatch(msgspec.Struct, frozen=True, kw_only=True):
    """→ tuple[str, ...]: its turns that have not ended, for the caller to cancel. No more are made.

    Raises NotFound. One that has ended stays as it is.
    """

    batch_id: str
    owner: Owner


class SettleBatch(msgspec.Struct, frozen=True, kw_only=True):
    """→ Batch | None: the batch if it has ended with this. Asked by whoever sees that nothing more may come of it."""

    batch_id: str
    owner: Owner
    now: float


# Questions


class GetBatch(msgspec.Struct, frozen=True, kw_only=True):
    """→ Batch | None."""

    id: str
    owner: Owner


class KeyedBatch(msgspec.Struct, frozen=True, kw_only=True):
    """→ (Batch, hash) | None: what was started with this key."""

    owner: Owner
    key: str


class ListBatches(msgspec.Struct, frozen=True, kw_only=True):
    """→ Page of Batch, newest first. Raises InvalidRequest for a cursor that is not ours."""

    owner: Owner
    limit: int = 50
    cursor: str | None = None


class ListBatchResults(msgspec.Struct, frozen=True, kw_only=True):
    """→ Page of BatchResult in the order of the inputs. The cursor is the number of the next one.

    Raises NotFound, InvalidRequest.
    """

    batch_id: str
    owner: Owner
    limit: int = 100
    cursor: str | None = None


class OpenBatches(msgspec.Struct, frozen=True, kw_only=True):
    """→ tuple[OpenBatch, ...] of any owner, those that were not taken from for longest first."""

    now: float
    limit: int = 16


def status_of_item(turn: TurnStatus | None, *, is_taken: bool, code: str | None, batch: BatchStatus) -> ItemStatus:
    """Where an input stands: `turn` is its turn's status if there is one, `code` why none could be made of it."""
    if turn is not None:
        return "failed" if turn == "dead" else turn
    if is_taken:
        return "failed" if code is not None else "gone"
    if batch == "expired":
        return "expired"
    return "cancelled" if batch in ("cancelling", "cancelled") else "queued"
