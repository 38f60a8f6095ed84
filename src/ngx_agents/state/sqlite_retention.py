"""What users' own data are let go of by age, on SQLite: messages, artifacts, attachments, logs.

Nothing of an open turn; what a batch made goes with the batch.
"""

from __future__ import annotations

import sqlite3

from ngx_agents.state import state_commands as s

Connection = sqlite3.Connection
TITLE_CHARS = 80
_OLD_PAIRS = """
SELECT m.conversation_id, (m.seq + 1) / 2 FROM conversation v CROSS JOIN message m ON m.conversation_id = v.id
WHERE v.created_at < :before AND v.pending = 0 AND v.is_listed = 1
  AND (SELECT f.created_at FROM message f WHERE f.conversation_id = v.id ORDER BY f.seq LIMIT 1) < :before
GROUP BY 1, 2 HAVING max(m.created_at) < :before LIMIT :limit
"""
_PAIR = "conversation_id = :lane AND seq BETWEEN 2 * :pair - 1 AND 2 * :pair"
_OLD_ARTIFACTS = """
DELETE FROM artifact WHERE id IN (
  SELECT a.id FROM artifact a LEFT JOIN conversation v ON v.id = a.conversation_id
  WHERE a.created_at < ? AND coalesce(v.pending, 0) = 0 ORDER BY a.created_at LIMIT ?)
"""
_OLD_BLOBS = """
DELETE FROM blob WHERE id IN (
  SELECT b.id FROM blob b WHERE b.created_at < ? AND NOT EXISTS (
    SELECT 1 FROM conversation v JOIN turn t ON t.conversation_id = v.id AND t.status IN ('queued', 'running')
    WHERE v.tenant = b.tenant AND v.user = b.user AND v.pending > 0
      AND (v.id = b.conversation_id OR instr(t.attachments, b.id) > 0))
  ORDER BY b.created_at LIMIT ?)
"""
_OLD_LOGS = """
DELETE FROM log WHERE (tenant, user, id) IN (
  SELECT tenant, user, id FROM log WHERE kind = ? AND at < ? ORDER BY at LIMIT ?)
"""


def expire_messages(db: Connection, command: s.Expire) -> int:
    """Questions go with their answers, their turns and what these left behind; how many questions or answers' pairs."""
    pairs = db.execute(_OLD_PAIRS, {"before": command.before, "limit": command.limit}).fetchall()
    for lane, pair in pairs:
        place = {"lane": lane, "pair": pair}
        turns = f"SELECT turn_id FROM message WHERE {_PAIR}"
        for table in ("checkpoint", "effect", "idempotency"):
            db.execute(f"DELETE FROM {table} WHERE turn_id IN ({turns})", place)
        db.execute(f"DELETE FROM turn WHERE id IN ({turns})", place)
        # a title that was made of the first message goes with it
        db.execute(
            "UPDATE conversation SET title = '' WHERE id = :lane AND title IN"
            f" (SELECT substr(text, 1, {TITLE_CHARS}) FROM message WHERE {_PAIR})",
            place,
        )
        db.execute(f"DELETE FROM message WHERE {_PAIR}", place)
    return len(pairs)


def expire_artifacts(db: Connection, command: s.Expire) -> int:
    return db.execute(_OLD_ARTIFACTS, (command.before, command.limit)).rowcount


def expire_attachments(db: Connection, command: s.Expire) -> int:
    return db.execute(_OLD_BLOBS, (command.before, command.limit)).rowcount


def expire_logs(db: Connection, command: s.Expire) -> int:
    return db.execute(_OLD_LOGS, (command.log_kind, command.before, command.limit)).rowcount
