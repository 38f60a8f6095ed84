"""The multi-row statements of the hot path: what locks and reads a batch's lanes, and the one that writes it.

The writing statement has a part for each table that changes. Its text depends only on which parts there are, so the
server keeps a plan for each of the few combinations that occur.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

LOCK_LANES = """
SELECT v.shard, v.id, v.tenant, v.user_id, v.title, v.next_turn, v.pending, v.epoch, v.lane_owner, v.running,
  v.sort_key, v.updated_at, p.version
FROM unnest($1::smallint[], $2::text[], $3::smallint[]) AS k (shard, id, owner_shard)
JOIN ngx.conversation v ON v.shard = k.shard AND v.id = k.id
LEFT JOIN ngx.profile p ON p.shard = k.owner_shard AND p.tenant = v.tenant AND p.user_id = v.user_id
ORDER BY v.id FOR NO KEY UPDATE OF v
"""
PROFILES = """
SELECT p.tenant, p.user_id, p.version
FROM unnest($1::smallint[], $2::text[], $3::text[]) AS k (shard, tenant, user_id)
JOIN ngx.profile p ON p.shard = k.shard AND p.tenant = k.tenant AND p.user_id = k.user_id
"""
OPEN_TURNS = """
SELECT t.conversation_id, t.id, t.number, t.turn_class, t.accepted_at, t.deadline_at, t.attempts, t.status = 'running',
  t.cancel_requested, t.agent, t.locale, t.attachments, t.trail
FROM unnest($1::smallint[], $2::text[]) AS k (shard, id)
JOIN ngx.turn t ON t.shard = k.shard AND t.conversation_id = k.id AND t.status IN ('queued', 'running')
ORDER BY t.conversation_id, t.number
"""
KNOWN_KEYS = """
SELECT i.tenant, i.user_id, i.key, i.hash, i.turn_id
FROM unnest($1::smallint[], $2::text[], $3::text[], $4::text[]) AS k (shard, tenant, user_id, key)
JOIN ngx.idempotency i ON i.shard = k.shard AND i.tenant = k.tenant AND i.user_id = k.user_id AND i.key = k.key
"""
TEXTS = """
SELECT k.turn_id, m.text FROM unnest($1::text[], $2::smallint[], $3::text[], $4::integer[])
  AS k (turn_id, shard, conversation_id, seq)
JOIN ngx.message m ON m.shard = k.shard AND m.conversation_id = k.conversation_id AND m.seq = k.seq
"""
_MARK = """
INSERT INTO ngx.writer (id, batch) VALUES ($1, $2)
ON CONFLICT (id) DO UPDATE SET batch = excluded.batch, changed_at = statement_timestamp()
"""
_TYPES = {
    "new_lanes": "smallint text text text text float8 float8 integer integer bigint text text float8 boolean",
    "lanes": "smallint text text float8 integer integer bigint text text float8",
    "new_turns": "smallint text text integer text text text smallint float8 float8 text text integer bigint bigint"
    " boolean float8 bytea text text text bytea boolean text",
    "webhooks": "smallint text text text text bytea float8",
    "turns": "smallint text text bigint integer boolean bytea float8 bigint",
    "messages": "smallint text integer text text text float8 text text text",
    "artifacts": "smallint text text text text text text text text bytea float8 integer",
    "keys": "smallint text text text bytea text float8",
    "checkpoints": "smallint text text bytea",
    "cleared": "smallint text",
}
_PARTS = {
    "new_lanes": """
INSERT INTO ngx.conversation (shard, id, tenant, user_id, title, created_at, updated_at, next_turn, pending, epoch,
  lane_owner, running, sort_key, is_listed) SELECT * FROM unnest({columns})""",
    "lanes": """
UPDATE ngx.conversation v SET title = k.title, updated_at = k.updated_at, next_turn = k.next_turn, pending = k.pending,
  epoch = k.epoch, lane_owner = k.lane_owner, running = k.running, sort_key = k.sort_key
FROM unnest({columns})
  AS k (shard, id, title, updated_at, next_turn, pending, epoch, lane_owner, running, sort_key)
WHERE v.shard = k.shard AND v.id = k.id""",
    "new_turns": """
INSERT INTO ngx.turn (shard, id, conversation_id, number, tenant, user_id, status, turn_class, accepted_at, deadline_at,
  locale, agent, attempts, epoch, last_seq, cancel_requested, finished_at, answer, attachments, task_id, context_id,
  task_message, watched, trail) SELECT * FROM unnest({columns})""",
    "webhooks": """
INSERT INTO ngx.webhook (shard, subject, id, kind, url, body, created_at) SELECT * FROM unnest({columns})
ON CONFLICT (shard, subject, id) DO UPDATE SET url = excluded.url, body = excluded.body, disabled_at = NULL""",
    "turns": """
UPDATE ngx.turn t SET status = coalesce(k.status, t.status), epoch = coalesce(k.epoch, t.epoch),
  attempts = t.attempts + k.more, cancel_requested = coalesce(k.cancel, t.cancel_requested),
  answer = coalesce(k.answer, t.answer), finished_at = coalesce(k.finished_at, t.finished_at),
  last_seq = coalesce(k.last_seq, t.last_seq)
FROM unnest({columns}) AS k (shard, id, status, epoch, more, cancel, answer, finished_at, last_seq)
WHERE t.shard = k.shard AND t.id = k.id""",
    "messages": """
INSERT INTO ngx.message (shard, conversation_id, seq, id, role, text, created_at, turn_id, agent, source)
SELECT * FROM unnest({columns})""",
    "artifacts": """
INSERT INTO ngx.artifact (shard, id, tenant, user_id, turn_id, conversation_id, agent, kind, title, data, created_at,
  version) SELECT * FROM unnest({columns})""",
    "keys": """
INSERT INTO ngx.idempotency (shard, tenant, user_id, key, hash, turn_id, created_at) SELECT * FROM unnest({columns})""",
    "checkpoints": """
INSERT INTO ngx.checkpoint (shard, turn_id, key, value) SELECT * FROM unnest({columns})
ON CONFLICT (shard, turn_id, key) DO UPDATE SET value = excluded.value""",
    "cleared": """
DELETE FROM ngx.checkpoint t USING unnest({columns}) AS k (shard, turn_id)
WHERE t.shard = k.shard AND t.turn_id = k.turn_id""",
}


def writing(rows: dict[str, list[tuple[Any, ...]]], mark: tuple[str, int]) -> tuple[str, list[Any]]:
    """The statement that writes the rows and the writer's mark, and its values: one array for each column."""
    values: list[Any] = [*mark]
    for part in rows:
        values.extend(columns_of(rows[part]))
    return _text(tuple(rows)), values


def columns_of(rows: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


@cache
def _text(parts: tuple[str, ...]) -> str:
    made, number = [], 3
    for part in parts:
        types = _TYPES[part].split()
        columns = ", ".join(f"${number + offset}::{kind}[]" for offset, kind in enumerate(types))
        number += len(types)
        made.append(f"{part} AS ({_PARTS[part].format(columns=columns)})")
    return f"WITH {', '.join(made)}{_MARK}" if made else _MARK
