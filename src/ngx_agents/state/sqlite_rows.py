"""Rows of SQLite as what they mean, for more than one of the modules that read them."""

from __future__ import annotations

from typing import Any

from ngx_agents.state.model import Message

MESSAGE = "SELECT id, seq, role, text, created_at, turn_id, agent, source FROM message WHERE conversation_id = ?"


def message_of(row: tuple[Any, ...]) -> Message:
    """Of a row that begins with the columns of MESSAGE."""
    return Message(
        id=row[0],
        seq=row[1],
        role=row[2],
        text=row[3],
        created_at=row[4],
        turn_id=row[5],
        agent=row[6],
        source=row[7],
    )
