"""Tasks of the open protocol on Postgres: what their turns say of them. Every look-up carries owner and agent.

Whoever changes a task locks its lane first, as do those who change its turns.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from ngx_agents.errors import InvalidRequest, NotFound
from ngx_agents.state import commands as c
from ngx_agents.state import task_commands as t
from ngx_agents.state.model import Artifact, Owner
from ngx_agents.state.postgres_connections import Connection
from ngx_agents.state.postgres_records import ARTIFACT, artifact
from ngx_agents.state.postgres_rows import shard_in
from ngx_agents.state.postgres_store import lock_lane
from ngx_agents.state.sqlite_tasks import ended_answer, exported_tasks, refuse_ended, turns_of
from ngx_agents.state.task_cursor import cursor_of, place_of

_TURNS = """
SELECT t.id, t.status,
  CASE WHEN $6::int IS NULL OR row_number() OVER (PARTITION BY t.task_id ORDER BY t.number DESC) <= $6
    THEN t.task_message ELSE ''::bytea END,
  t.accepted_at, t.finished_at, t.answer, a.text, t.context_id, t.conversation_id, t.task_id
FROM unnest($1::smallint[], $2::text[]) AS k (shard, task_id)
JOIN ngx.turn t ON t.shard = k.shard AND t.task_id = k.task_id
LEFT JOIN ngx.message a ON a.shard = t.shard AND a.conversation_id = t.conversation_id AND a.seq = 2 * t.number
WHERE t.tenant = $3 AND t.user_id = $4 AND t.agent IS NOT DISTINCT FROM $5 ORDER BY t.number
"""
_SUM = """
SELECT count(*) OVER (), sum(octet_length(task_message)) OVER ()::bigint,
  count(*) FILTER (WHERE status IN ('queued', 'running')) OVER (), conversation_id, id, status, answer
FROM ngx.turn WHERE shard = $1 AND task_id = $2 AND tenant = $3 AND user_id = $4 AND agent IS NOT DISTINCT FROM $5
ORDER BY number DESC LIMIT 1
"""
_ARTIFACTS = f"""
{ARTIFACT} WHERE (shard, turn_id) IN (SELECT t.shard, t.id FROM unnest($1::smallint[], $2::text[]) AS k (shard, task_id)
  JOIN ngx.turn t ON t.shard = k.shard AND t.task_id = k.task_id) ORDER BY created_at, id
"""
_TASKS = """
WITH last AS (
  SELECT DISTINCT ON (task_id) task_id, status, coalesce(finished_at, accepted_at) AS at,
    CASE WHEN status = 'completed' THEN convert_from(answer, 'UTF8')::json ->> 'code' END AS code,
    count(*) FILTER (WHERE status IN ('queued', 'running')) OVER of_task AS open,
    count(*) FILTER (WHERE status <> 'queued') OVER of_task AS begun,
    (sum(octet_length(task_message)) OVER of_task)::bigint AS size_bytes
  FROM ngx.turn WHERE tenant = $1 AND user_id = $2 AND task_id IS NOT NULL AND agent IS NOT DISTINCT FROM $3::text
    AND ($4::text IS NULL OR context_id = $4)
  WINDOW of_task AS (PARTITION BY task_id) ORDER BY task_id, number DESC
), task AS (
  SELECT task_id, at, size_bytes, CASE
    WHEN open > 0 THEN CASE WHEN begun = 0 THEN 'submitted' ELSE 'working' END
    WHEN status = 'cancelled' THEN 'canceled'
    WHEN status <> 'completed' THEN 'failed'
    WHEN code IN ('input_required', 'auth_required', 'rejected') THEN code ELSE 'completed' END AS state
  FROM last
), matching AS (
  SELECT task_id, at, size_bytes FROM task WHERE ($5::text IS NULL OR state = $5) AND ($6::float8 IS NULL OR at >= $6)
)
SELECT task_id, at, (SELECT count(*) FROM matching), size_bytes FROM matching WHERE (at, task_id) < ($7, $8)
ORDER BY at DESC, task_id DESC LIMIT $9
"""


async def _task_rows(
    connection: Connection, task_ids: Sequence[str], asked: t.GetTask | t.ListTasks
) -> dict[str, list[Any]]:
    """The rows of each task's turns in order; nothing of a task that is not there for this owner and agent."""
    places = [shard_in(task_id) for task_id in task_ids]
    found: dict[str, list[Any]] = {}
    who = (asked.owner.tenant, asked.owner.user, asked.agent)
    for row in await connection.fetch(_TURNS, places, list(task_ids), *who, asked.messages):
        found.setdefault(row[9], []).append(row)
    return found


async def _records(
    connection: Connection, task_ids: Sequence[str], asked: t.GetTask | t.ListTasks, *, with_artifacts: bool
) -> tuple[t.TaskRecord, ...]:
    found = await _task_rows(connection, task_ids, asked)
    artifacts: dict[str, list[Artifact]] = {}
    if with_artifacts and found:
        for row in await connection.fetch(_ARTIFACTS, [shard_in(one) for one in found], list(found)):
            artifacts.setdefault(row[6], []).append(artifact(row))
    return tuple(
        t.TaskRecord(
            id=one,
            context_id=rows[0][7],
            conversation_id=rows[0][8],
            agent=asked.agent,
            turns=turns_of(rows, artifacts),
        )
        for one in task_ids
        if (rows := found.get(one))
    )


async def refuse_unfit(connection: Connection, command: c.AcceptTurn, task_id: str) -> None:
    """Raises what TaskEntry names, unless the turn may become part of the task. The lane is locked."""
    assert command.task is not None
    found = await _sum(connection, task_id, command.owner, command.agent)
    refuse_ended(found, command.conversation_id, command.task)


async def _sum(connection: Connection, task_id: str, owner: Owner, agent: str | None) -> Sequence[Any]:
    """As `sqlite_tasks` has it: (turns, bytes of messages, open turns, conversation, then of the newest turn)."""
    found = await connection.fetchrow(_SUM, shard_in(task_id), task_id, owner.tenant, owner.user, agent)
    return tuple(found) if found is not None else (0, 0, 0, None)


async def _end_task(connection: Connection, command: t.EndTask) -> bool:
    found = await _sum(connection, command.task_id, command.owner, command.agent)
    if not found[0]:
        return False
    await lock_lane(connection, found[3])
    ended = ended_answer(await _sum(connection, command.task_id, command.owner, command.agent))
    if ended is None:
        return False
    await connection.execute(
        "UPDATE ngx.turn SET status = 'cancelled', cancel_requested = true, finished_at = $3, answer = $4"
        " WHERE shard = $1 AND id = $2",
        shard_in(ended[0]),
        ended[0],
        command.now,
        ended[1],
    )
    return True


async def _refuse_absent(connection: Connection, task_id: str, owner: Owner, agent: str | None) -> None:
    """The task's first turn is locked, so that it cannot go while its webhooks change."""
    there = await connection.fetchval(
        "SELECT 1 FROM ngx.turn WHERE shard = $1 AND id = $2 AND task_id = id AND tenant = $3 AND user_id = $4"
        " AND agent IS NOT DISTINCT FROM $5 FOR NO KEY UPDATE",
        shard_in(task_id),
        task_id,
        owner.tenant,
        owner.user,
        agent,
    )
    if there is None:
        raise NotFound("no such task")


async def _put_push(connection: Connection, command: t.PutPush) -> None:
    await _refuse_absent(connection, command.task_id, command.owner, command.agent)
    config, shard = command.config, shard_in(command.task_id)
    others = await connection.fetchval(
        "SELECT count(*) FROM ngx.webhook WHERE shard = $1 AND subject = $2 AND id <> $3",
        shard,
        command.task_id,
        config.id,
    )
    if others >= t.MAX_PUSHES:
        raise InvalidRequest(f"the task has {t.MAX_PUSHES} webhooks", field="id")
    await connection.execute(
        "INSERT INTO ngx.webhook (shard, subject, id, kind, url, body, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7)"
        " ON CONFLICT (shard, subject, id) DO UPDATE SET url = excluded.url, body = excluded.body, disabled_at = NULL",
        shard,
        command.task_id,
        config.id,
        config.kind,
        config.url,
        config.body,
        config.created_at,
    )


async def _delete_push(connection: Connection, command: t.DeletePush) -> bool:
    await _refuse_absent(connection, command.task_id, command.owner, command.agent)
    mine = (shard_in(command.task_id), command.task_id, command.id)
    await connection.execute("DELETE FROM ngx.outbox WHERE shard = $1 AND subject = $2 AND webhook_id = $3", *mine)
    gone = await connection.fetchval(
        "DELETE FROM ngx.webhook WHERE shard = $1 AND subject = $2 AND id = $3 RETURNING 1", *mine
    )
    return gone is not None


async def _get_task(connection: Connection, question: t.GetTask) -> t.TaskRecord | None:
    found = await _records(connection, [question.id], question, with_artifacts=True)
    return found[0] if found else None


async def _list_tasks(connection: Connection, question: t.ListTasks) -> t.TaskPage:
    at, last_id = place_of(question.cursor)
    asked = (
        question.owner.tenant, question.owner.user, question.agent, question.context_id, question.state, question.since
    )  # fmt: skip
    rows = await connection.fetch(_TASKS, *asked, at, last_id, question.limit + 1)
    counted = rows or await connection.fetch(_TASKS, *asked, *place_of(None), 1)
    shown = t.fitting(rows, question)
    records = await _records(connection, [row[0] for row in shown], question, with_artifacts=question.with_artifacts)
    return t.TaskPage(
        items=records,
        total=counted[0][2] if counted else 0,
        next=cursor_of(shown[-1][1], shown[-1][0]) if len(rows) > len(shown) else None,
    )


async def _list_pushes(connection: Connection, question: t.ListPushes) -> tuple[t.PushConfig, ...] | None:
    rows = await connection.fetch(
        "SELECT w.id, w.url, w.body, w.created_at, w.disabled_at FROM ngx.turn t LEFT JOIN ngx.webhook w"
        " ON w.shard = t.shard AND w.subject = t.id AND ($6::text IS NULL OR w.id = $6)"
        " WHERE t.shard = $1 AND t.id = $2 AND t.task_id = t.id AND t.tenant = $3 AND t.user_id = $4"
        " AND t.agent IS NOT DISTINCT FROM $5 ORDER BY w.created_at, w.id",
        shard_in(question.task_id),
        question.task_id,
        question.owner.tenant,
        question.owner.user,
        question.agent,
        question.id,
    )
    if not rows:
        return None
    return tuple(
        t.PushConfig(id=row[0], url=row[1], body=row[2], created_at=row[3], disabled_at=row[4])
        for row in rows
        if row[0] is not None
    )


async def export_tasks(connection: Connection, owner: Owner) -> dict[str, Any]:
    """Messages of tasks as they were received (protobuf), and the user's webhooks without their secrets."""
    who = (owner.tenant, owner.user)
    turns = await connection.fetch(
        "SELECT task_id, id, context_id, task_message FROM ngx.turn WHERE tenant = $1 AND user_id = $2"
        " AND task_id IS NOT NULL ORDER BY accepted_at, id",
        *who,
    )
    webhooks = await connection.fetch(
        "SELECT w.subject, w.id, w.url, w.created_at FROM ngx.webhook w JOIN ngx.turn t ON t.shard = w.shard"
        " AND t.id = w.subject WHERE t.tenant = $1 AND t.user_id = $2 ORDER BY w.created_at, w.subject, w.id",
        *who,
    )
    return exported_tasks(turns, webhooks)


APPLY: dict[type, Callable[[Connection, Any], Awaitable[Any]]] = {
    t.EndTask: _end_task,
    t.PutPush: _put_push,
    t.DeletePush: _delete_push,
}
ANSWER: dict[type, Callable[[Connection, Any], Awaitable[Any]]] = {
    t.GetTask: _get_task,
    t.ListTasks: _list_tasks,
    t.ListPushes: _list_pushes,
}
