"""Bodies of the batch calls, as callers send and get them. Strict; times are Unix seconds."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from ngx_agents.gateway.wire import AgentId, Locale, TurnText, WebhookBody
from ngx_agents.state.batch_commands import (
    MAX_BATCH_ITEMS,
    Batch,
    BatchCounts,
    BatchResult,
    BatchStatus,
    ItemStatus,
)
from ngx_agents.state.model import Answer, Source

CustomId = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[!-~]+$")]
ConversationId = Annotated[str, Meta(pattern=r"^c_[0-9a-f]{2}[0-9A-HJKMNP-TV-Z]{26}$")]


class BatchInput(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One message to be answered, in a conversation of its own unless one is named. `custom_id` is the caller's."""

    text: TurnText
    custom_id: CustomId | None = None
    agent: AgentId | None = None
    locale: Locale | None = None
    conversation_id: ConversationId | None = None


class BatchBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The inputs, in the order in which the results will be. `webhook` is told when the batch has ended."""

    items: Annotated[list[BatchInput], Meta(min_length=1, max_length=MAX_BATCH_ITEMS)]
    webhook: WebhookBody | None = None


class BatchOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the first of JSON lines may say instead of an input."""

    webhook: WebhookBody


class BatchView(Struct, frozen=True, kw_only=True):
    """A batch as it stands. After `expires_at` no more of its inputs are begun."""

    id: str
    status: BatchStatus
    created_at: float
    expires_at: float
    finished_at: float | None
    counts: BatchCounts


class BatchPage(Struct, frozen=True):
    items: tuple[BatchView, ...]
    next: str | None = None


class BatchResultView(Struct, frozen=True, kw_only=True):
    """What became of the input at `index`: what its turn tells. `artifacts` are ids."""

    index: int
    custom_id: str | None
    status: ItemStatus
    turn_id: str
    conversation_id: str
    text: str
    source: Source | None
    rung: str | None
    model: str | None
    location: str | None
    degraded: bool
    agents: tuple[str, ...]
    usage: dict[str, int]
    artifacts: tuple[str, ...]
    code: str | None
    message: str | None


class BatchResultPage(Struct, frozen=True):
    items: tuple[BatchResultView, ...]
    next: str | None = None


def batch_view(batch: Batch) -> BatchView:
    return BatchView(
        id=batch.id, status=batch.status, created_at=batch.created_at, expires_at=batch.expires_at,
        finished_at=batch.finished_at, counts=batch.counts,
    )  # fmt: skip


def result_view(result: BatchResult) -> BatchResultView:
    answer = result.answer or Answer()
    return BatchResultView(
        index=result.number, custom_id=result.custom_id, status=result.status, turn_id=result.turn_id,
        conversation_id=result.conversation_id, text=answer.text, source=answer.source, rung=answer.rung,
        model=answer.model, location=answer.location, degraded=answer.degraded, agents=answer.agents,
        usage=answer.usage, artifacts=answer.artifacts, code=answer.code, message=answer.message,
    )  # fmt: skip
