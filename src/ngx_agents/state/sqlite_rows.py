"""Rows of SQLite as what they mean, for more than one of the modules that read them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any

from ngx_agents.errors import InvalidRequest
from ngx_agents.state.model import Message, Page

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


def place_of(cursor: str | None) -> tuple[float, str] | None:
    """A place in a list: the sort value and id of the last item given. Raises InvalidRequest when it is not ours."""
    if cursor is None:
        return None
    try:
        value, item_id = base64.urlsafe_b64decode(cursor.encode()).decode().split("|", 1)
        return float(value), item_id
    except (ValueError, binascii.Error, UnicodeError) as error:
        raise InvalidRequest("not a cursor of this list", field="cursor") from error


def page(items: list[Any], limit: int, place: Callable[[Any], tuple[float, str]]) -> Page:
    """The first `limit` items, and where to go on if there are more."""
    if len(items) <= limit:
        return Page(tuple(items))
    items = items[:limit]
    value, item_id = place(items[-1])
    return Page(tuple(items), base64.urlsafe_b64encode(f"{value!r}|{item_id}".encode()).decode())
