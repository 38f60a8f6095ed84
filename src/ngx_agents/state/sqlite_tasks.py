"""Tasks of the open protocol on SQLite: what their turns say of them. Every look-up carries owner and agent."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from ngx_agents.errors import InvalidRequest, NotFound, TurnFinished
from ngx_agents.state import commands as c
from ngx_agents.state import task_commands as t
from ngx_agents.state.model import Answer, Artifact, Owner
from ngx_agents.state.task_cursor import cursor_of, place_of

Connection = sqlite3.Connection
_encode = msgspec.json.Encoder().encode
_decode_answer = msgspec.json.Decoder(Answer).decode
_decode_object = msgspec.json.Decoder(dict[str, Any]).decode
_TURN = """
SELECT t.id, t.status, CASE WHEN t.number >= ?5 THEN t.task_message ELSE x'' END, t.accepted_at, t.finished_at,
  t.answer, a.text, t.context_id, t.conversation_id
FROM turn t LEFT JOIN message a ON a.conversation_id = t.conversation_id AND a.seq = 2 * t.number
WHERE t.task_id = ?1 AND t.tenant = ?2 AND t.user = ?3 AND t.agent IS ?4 ORDER BY t.number
"""
# length() of a blob reads its header alone; the bare columns are those of the newest turn, as below
_SUM = """
SELECT count(*), sum(length(task_message)), sum(status IN ('queued', 'running')), conversation_id, id, status, answer,
  max(number)
FROM turn WHERE task_id = ? AND tenant = ? AND user = ? AND agent IS ?
"""
_ARTIFACTS = """
SELECT turn_id, id, agent, kind, title, data, created_at, conversation_id, version FROM artifact
WHERE turn_id IN (SELECT id FROM turn WHERE task_id = ?) ORDER BY created_at, id
"""
# a bare column of a grouped query with one max() is that of the row with the maximum (sqlite.org/lang_select.html)
_TASKS = """
WITH grouped AS (
  SELECT task_id, max(number) AS number, status, coalesce(finished_at, accepted_at) AS at,
    CASE WHEN status = 'completed' THEN json_extract(CAST(answer AS TEXT), '$.code') END AS code,
    sum(status IN ('queued', 'running')) AS open, sum(status <> 'queued') AS begun,
    sum(length(task_message)) AS size_bytes
  FROM turn WHERE tenant = :tenant AND user = :user AND task_id IS NOT NULL AND agent IS :agent
    AND (:context_id IS NULL OR context_id = :context_id)
  GROUP BY task_id
), task AS (
  SELECT task_id, at, size_bytes, CASE
    WHEN open > 0 THEN CASE WHEN begun = 0 THEN 'submitted' ELSE 'working' END
    WHEN status = 'cancelled' THEN 'canceled'
    WHEN status <> 'completed' THEN 'failed'
    WHEN code IN ('input_required', 'auth_required', 'rejected') THEN code ELSE 'completed' END AS state
  FROM grouped
), matching AS (
  SELECT task_id, at, size_bytes FROM task WHERE (:state IS NULL OR state = :state) AND (:since IS NULL OR at >= :since)
)
SELECT task_id, at, (SELECT count(*) FROM matching), size_bytes FROM matching WHERE (at, task_id) < (:at, :id)
ORDER BY at DESC, task_id DESC LIMIT :most
"""


def _since(db: Connection, task_id: str, messages: int | None) -> int:
    """The number from which on the messages of a task's turns are read."""
    if messages is None:
        return 0
    row = db.execute(
        "SELECT number FROM turn WHERE task_id = ? ORDER BY number DESC LIMIT 1 OFFSET ?",
        (task_id, max(messages - 1, 0)),
    ).fetchone()
    return 0 if row is None else int(row[0]) + (messages == 0)


def turns_of(rows: Sequence[Any], artifacts: dict[str, list[Artifact]]) -> tuple[t.TaskTurn, ...]:
    """From rows of id, status, message, accepted at, finished at, answer, the answer's text."""
    return tuple(
        t.TaskTurn(
            id=row[0],
            status=row[1],
            message=row[2],
            accepted_at=row[3],
            finished_at=row[4],
            answer=_answer(row[5], row[6]),
            artifacts=tuple(artifacts.get(row[0], ())),
        )
        for row in rows
    )


def _answer(stored: bytes | None, text: str | None) -> Answer | None:
    if stored is None:
        return None
    answer = _decode_answer(stored)
    return msgspec.structs.replace(answer, text=text) if text is not None else answer


def _artifacts(db: Connection, task_id: str) -> dict[str, list[Artifact]]:
    found: dict[str, list[Artifact]] = {}
    for row in db.execute(_ARTIFACTS, (task_id,)):
        artifact = Artifact(
            id=row[1], agent=row[2], kind=row[3], title=row[4], data=_decode_object(row[5]), created_at=row[6],
            turn_id=row[0], conversation_id=row[7], version=row[8],
        )  # fmt: skip
        found.setdefault(row[0], []).append(artifact)
    return found


def _record(
    db: Connection, task_id: str, asked: t.GetTask | t.ListTasks, *, with_artifacts: bool
) -> t.TaskRecord | None:
    owner, agent = asked.owner, asked.agent
    since = _since(db, task_id, asked.messages)
    rows = db.execute(_TURN, (task_id, owner.tenant, owner.user, agent, since)).fetchall()
    if not rows:
        return None
    artifacts = _artifacts(db, task_id) if with_artifacts else {}
    return t.TaskRecord(
        id=task_id, context_id=rows[0][7], conversation_id=rows[0][8], agent=agent, turns=turns_of(rows, artifacts)
    )


def refuse_unfit(db: Connection, command: c.AcceptTurn, entry: t.TaskEntry) -> None:
    """Raises what TaskEntry names, unless the turn may become part of the task."""
    if entry.task_id is None:
        return
    refuse_ended(_sum(db, entry.task_id, command.owner, command.agent), command.conversation_id, entry)


def _sum(db: Connection, task_id: str, owner: Owner, agent: str | None) -> tuple[Any, ...]:
    """(turns, bytes of messages, open turns, conversation, then of the newest turn: id, status, answer): no message
    is read, whatever a task has."""
    found: tuple[Any, ...] = db.execute(_SUM, (task_id, owner.tenant, owner.user, agent)).fetchone()
    return found


def refuse_ended(found: Sequence[Any], conversation_id: str, entry: t.TaskEntry) -> None:
    """The same, of what `_sum` says of the task."""
    count, size_bytes = found[0], found[1]
    if not count or found[3] != conversation_id:
        raise NotFound("no such task")
    if count >= t.MAX_TURNS:
        raise InvalidRequest(f"the task has {t.MAX_TURNS} messages: begin another", field="message.taskId")
    if size_bytes + len(entry.message) > t.MAX_TASK_BYTES:
        raise InvalidRequest(
            f"the task's messages would have more than {t.MAX_TASK_BYTES} bytes: begin another", field="message.taskId"
        )
    state = None if found[2] else t.state_of([_newest(found)])
    if state in t.ENDED:
        raise TurnFinished(f"the task has ended: {state}")


def _newest(found: Sequence[Any]) -> t.TaskTurn:
    """The newest turn as far as it says what state the task is in."""
    return t.TaskTurn(id=found[4], status=found[5], message=b"", accepted_at=0.0, answer=_answer(found[6], None))


def add_push(db: Connection, subject: str, config: t.PushConfig) -> None:
    db.execute(
        "INSERT INTO webhook (subject, id, kind, url, body, created_at) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (subject, id) DO UPDATE SET url = excluded.url, body = excluded.body, disabled_at = NULL",
        (subject, config.id, config.kind, config.url, config.body, config.created_at),
    )


def _end_task(db: Connection, command: t.EndTask) -> bool:
    ended = ended_answer(_sum(db, command.task_id, command.owner, command.agent))
    if ended is None:
        return False
    db.execute(
        "UPDATE turn SET status = 'cancelled', cancel_requested = 1, finished_at = ?, answer = ? WHERE id = ?",
        (command.now, ended[1], ended[0]),
    )
    return True


def ended_answer(found: Sequence[Any]) -> tuple[str, bytes] | None:
    """The turn that a cancelled task ends with, and its answer then; None when the task does not wait."""
    if not found[0] or found[2]:
        return None
    newest = _newest(found)
    if t.state_of([newest]) not in t.INTERRUPTED:
        return None
    last = newest.answer or Answer()
    return newest.id, _encode(msgspec.structs.replace(last, code="cancelled", message=t.ENDED_WAITING, text=""))


def _refuse_absent(db: Connection, task_id: str, owner: Owner, agent: str | None) -> None:
    row = db.execute(
        "SELECT 1 FROM turn WHERE id = ? AND task_id = id AND tenant = ? AND user = ? AND agent IS ?",
        (task_id, owner.tenant, owner.user, agent),
    ).fetchone()
    if row is None:
        raise NotFound("no such task")


def _put_push(db: Connection, command: t.PutPush) -> None:
    _refuse_absent(db, command.task_id, command.owner, command.agent)
    (others,) = db.execute(
        "SELECT count(*) FROM webhook WHERE subject = ? AND id <> ?", (command.task_id, command.config.id)
    ).fetchone()
    if others >= t.MAX_PUSHES:
        raise InvalidRequest(f"the task has {t.MAX_PUSHES} webhooks", field="id")
    add_push(db, command.task_id, command.config)


def _delete_push(db: Connection, command: t.DeletePush) -> bool:
    _refuse_absent(db, command.task_id, command.owner, command.agent)
    mine = (command.task_id, command.id)
    db.execute("DELETE FROM outbox WHERE subject = ? AND webhook_id = ?", mine)
    return db.execute("DELETE FROM webhook WHERE subject = ? AND id = ?", mine).rowcount > 0


def _get_task(db: Connection, question: t.GetTask) -> t.TaskRecord | None:
    return _record(db, question.id, question, with_artifacts=True)


def _list_tasks(db: Connection, question: t.ListTasks) -> t.TaskPage:
    at, last_id = place_of(question.cursor)
    values = {
        "tenant": question.owner.tenant, "user": question.owner.user, "agent": question.agent,
        "context_id": question.context_id, "state": question.state, "since": question.since, "at": at, "id": last_id,
        "most": question.limit + 1,
    }  # fmt: skip
    rows = db.execute(_TASKS, values).fetchall()
    shown = t.fitting(rows, question)
    records = [_record(db, row[0], question, with_artifacts=question.with_artifacts) for row in shown]
    return t.TaskPage(
        items=tuple(record for record in records if record is not None),
        total=rows[0][2] if rows else _count(db, values),
        next=cursor_of(shown[-1][1], shown[-1][0]) if len(rows) > len(shown) else None,
    )


def _count(db: Connection, values: dict[str, Any]) -> int:
    """How many there are when the page after the last one was asked for."""
    row = db.execute(_TASKS, values | {"at": float("inf"), "id": "~", "most": 1}).fetchone()
    return int(row[2]) if row else 0


_PUSH = "SELECT id, url, body, created_at, disabled_at FROM webhook WHERE subject = ?"


def _list_pushes(db: Connection, question: t.ListPushes) -> tuple[t.PushConfig, ...] | None:
    try:
        _refuse_absent(db, question.task_id, question.owner, question.agent)
    except NotFound:
        return None
    rows = db.execute(
        f"{_PUSH} AND (?2 IS NULL OR id = ?2) ORDER BY created_at, id", (question.task_id, question.id)
    ).fetchall()
    return tuple(
        t.PushConfig(id=row[0], url=row[1], body=row[2], created_at=row[3], disabled_at=row[4]) for row in rows
    )


_WEBHOOKS = """
SELECT w.subject, w.id, w.url, w.created_at FROM webhook w JOIN turn t ON t.id = w.subject
WHERE t.tenant = ? AND t.user = ? ORDER BY w.created_at, w.subject, w.id
"""


def export_tasks(db: Connection, owner: Owner) -> dict[str, Any]:
    """Messages of tasks as they were received (protobuf), and the user's webhooks without their secrets."""
    who = (owner.tenant, owner.user)
    turns = db.execute(
        "SELECT task_id, id, context_id, task_message FROM turn WHERE tenant = ? AND user = ? AND task_id IS NOT NULL"
        " ORDER BY accepted_at, id",
        who,
    )
    return exported_tasks(turns.fetchall(), db.execute(_WEBHOOKS, who).fetchall())


def exported_tasks(turns: Sequence[Any], webhooks: Sequence[Any]) -> dict[str, Any]:
    """From rows of (task, turn, context, message) and of (subject, id, address, when)."""
    return {
        "tasks": [dict(zip(("task_id", "turn_id", "context_id", "message"), row, strict=True)) for row in turns],
        "webhooks": [dict(zip(("subject", "id", "url", "created_at"), row, strict=True)) for row in webhooks],
    }


APPLY: dict[type, Callable[[Connection, Any], Any]] = {
    t.EndTask: _end_task,
    t.PutPush: _put_push,
    t.DeletePush: _delete_push,
}
ANSWER: dict[type, Callable[[Connection, Any], Any]] = {
    t.GetTask: _get_task,
    t.ListTasks: _list_tasks,
    t.ListPushes: _list_pushes,
}
