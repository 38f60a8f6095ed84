"""Whose conversation is meant: names of the caller's own choice become ids, each owner's apart. Bounds of what is said.

An id that this system made is taken as it is; any other text is a name within its owner's conversations.
"""

from __future__ import annotations

from functools import lru_cache

from ngx_agents.errors import InvalidRequest
from ngx_agents.state.ids import derived, is_id, shard_of
from ngx_agents.state.model import Owner

MAX_NAME_CHARACTERS = 512


@lru_cache(maxsize=10_000)
def conversation_key(owner: Owner, conversation_id: str) -> str:
    """The id under which it is stored. Raises InvalidRequest for an empty, overlong or unstorable name or owner."""
    _check_text(owner.tenant, "owner.tenant")
    _check_text(owner.user, "owner.user")
    _check_text(conversation_id, "conversation_id")
    if is_id("c", conversation_id):
        return conversation_id
    seed = f"{len(owner.tenant)}:{owner.tenant}{len(owner.user)}:{owner.user}{conversation_id}"
    return derived("c", shard_of(owner.user), seed)


def _check_text(text: str, field: str) -> None:
    if not 0 < len(text) <= MAX_NAME_CHARACTERS:
        raise InvalidRequest(f"{field} is text of 1 to {MAX_NAME_CHARACTERS} characters", field=field)
    check_storable(text, field)


def check_storable(text: str, field: str) -> None:
    """Raises InvalidRequest for text that UTF-8 or a database cannot hold."""
    if "\0" in text:
        raise InvalidRequest(f"{field} holds a zero character", field=field)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidRequest(f"{field} holds half a character", field=field) from None
