"""Deleting what belongs to a conversation, on SQLite, inside the writer's transaction."""

from __future__ import annotations

import sqlite3


def forget_conversation(db: sqlite3.Connection, conversation_id: str) -> None:
    """Deletes it with all that hangs on it, but for its artifacts."""
    turns = "SELECT turn_id FROM message WHERE conversation_id = ?"
    for table in ("checkpoint", "effect", "idempotency"):
        db.execute(f"DELETE FROM {table} WHERE turn_id IN ({turns})", (conversation_id,))
    db.execute(f"DELETE FROM turn WHERE id IN ({turns})", (conversation_id,))
    for table in ("message", "state", "blob"):
        db.execute(f"DELETE FROM {table} WHERE conversation_id = ?", (conversation_id,))
    db.execute("DELETE FROM conversation WHERE id = ?", (conversation_id,))
