"""A message that is refused is read once more: who tells of an emergency is told whom to call, whatever is full.

Only refusals pay for it. Nothing is stored and nothing let in, so a crowd of such messages costs no more than others.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ngx_agents.errors import NgxError
from ngx_agents.gateway.deps import Roster


@contextmanager
def first_aid(team: Roster, text: str, locale: str | None = None) -> Iterator[None]:
    """Gives what is raised inside the words that the message calls for."""
    try:
        yield
    except NgxError as error:
        error.first_aid = team.first_aid(text, locale)
        raise
