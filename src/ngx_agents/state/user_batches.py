"""What both journals decide alike about users' batches; nothing here does I/O."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from ngx_agents.errors import InvalidRequest
from ngx_agents.state import batch_commands as b
from ngx_agents.state import commands as c
from ngx_agents.state.model import Answer, Page

_decode_answer = msgspec.json.Decoder(Answer).decode
_LACKING = Answer(code="not_found", message="the conversation was deleted before its turn")


def acceptance(command: b.TakeItems, item: b.BatchItem) -> c.AcceptTurn:
    """The item as a turn that runs at once or not at all. Its message has the turn's id but for the kind."""
    return c.AcceptTurn(
        conversation_id=item.conversation_id, owner=command.owner, turn_id=item.turn_id,
        message_id=f"m{item.turn_id[1:]}", text=item.text, turn_class=b.BATCH_CLASS, when_busy="enqueue",
        now=command.now, deadline_at=command.now + command.timeout_s, grant_to=command.instance, agent=item.agent,
        locale=item.locale, max_waiting=0,
    )  # fmt: skip


def grant_of(told: c.AcceptTurn, accepted: c.Accepted) -> c.Grant:
    """What was granted with an acceptance of a free lane."""
    assert accepted.epoch is not None
    return c.Grant(
        conversation_id=told.conversation_id, owner=told.owner, turn_id=told.turn_id, epoch=accepted.epoch,
        attempts=1, text=told.text, turn_class=told.turn_class, accepted_at=told.now, deadline_at=told.deadline_at,
        user_seq=accepted.user_seq, cancel_requested=False, agent=told.agent, locale=told.locale,
        profile_version=accepted.profile_version,
    )  # fmt: skip


def post_of(batch: b.Batch, url: str, body: bytes) -> c.AddPost:
    """What its one webhook is told of a batch that has ended. `body` is its record."""
    return c.AddPost(
        owner=batch.owner, kind="batch", subject=batch.id, webhook_id="done", url=url, body=body,
        content=msgspec.json.encode(told_of_batch(batch)), now=batch.finished_at or 0.0,
    )  # fmt: skip


def told_of_batch(batch: b.Batch) -> dict[str, object]:
    return {"batch_id": batch.id, "status": batch.status, "counts": batch.counts}


def end_of(batch: b.Batch, *, taken: int, now: float) -> b.BatchStatus | None:
    """How the batch ends once no turn of it is open; None while more may come of it."""
    if batch.status == "cancelling":
        return "cancelled"
    if taken >= batch.counts.total:
        return "completed"
    return "expired" if batch.expires_at <= now else None


def item_count(size: int, batch: b.BatchStatus, rows: Iterable[Any]) -> b.BatchCounts:
    """`rows` are (turn's status or None, whether taken, code, how many)."""
    counts = {"total": size}
    for turn, is_taken, code, many in rows:
        status = b.status_of_item(turn, is_taken=bool(is_taken), code=code, batch=batch)
        counts[status] = counts.get(status, 0) + many
    return b.BatchCounts(**counts)


def next_number(cursor: str | None) -> int:
    """The number of the first item that is asked for. Raises InvalidRequest."""
    if cursor is None:
        return 0
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= 5):
        raise InvalidRequest("not a cursor of this list", field="cursor")
    return int(cursor)


def results_page(rows: list[Any], limit: int, *, status: b.BatchStatus, taken: int) -> Page:
    """`rows` are (number, turn id, conversation id, custom id, code, turn's status, stored answer, its text)."""
    items = tuple(_result(row, status=status, taken=taken) for row in rows[:limit])
    return Page(items, str(rows[limit][0]) if len(rows) > limit else None)


def _result(row: Any, *, status: b.BatchStatus, taken: int) -> b.BatchResult:
    number, turn_id, conversation_id, custom_id, code, turn, stored, text = row
    answer = _LACKING if code is not None else None
    if stored is not None:
        answer = _decode_answer(stored)
        answer = answer if text is None else msgspec.structs.replace(answer, text=text)
    return b.BatchResult(
        number=number, turn_id=turn_id, conversation_id=conversation_id, custom_id=custom_id, answer=answer,
        status=b.status_of_item(turn, is_taken=number < taken, code=code, batch=status),
    )  # fmt: skip


def batch_place(batch: b.Batch) -> tuple[float, str]:
    """Its place in a list."""
    return batch.created_at, batch.id
