"""Pages of a list that is sorted by a number and an id, and the cursors that go from one to the next."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Callable
from typing import Any

from ngx_agents.errors import InvalidRequest
from ngx_agents.state.model import Page

NEWEST = (math.inf, "~")
"""Before every place of a list that is sorted newest first."""


def place_of(cursor: str | None) -> tuple[float, str] | None:
    """A place in a list: the sort value and id of the last item given. Raises InvalidRequest when it is not ours."""
    if cursor is None:
        return None
    try:
        value, item_id = base64.urlsafe_b64decode(cursor.encode()).decode().split("|", 1)
        place = float(value)
    except (ValueError, binascii.Error, UnicodeError) as error:
        raise InvalidRequest("not a cursor of this list", field="cursor") from error
    if math.isnan(place) or "\x00" in item_id:
        raise InvalidRequest("not a cursor of this list", field="cursor")
    return place, item_id


def page(items: list[Any], limit: int, place: Callable[[Any], tuple[float, str]]) -> Page:
    """The first `limit` items, and where to go on if there are more."""
    if len(items) <= limit:
        return Page(tuple(items))
    items = items[:limit]
    value, item_id = place(items[-1])
    return Page(tuple(items), base64.urlsafe_b64encode(f"{value!r}|{item_id}".encode()).decode())
