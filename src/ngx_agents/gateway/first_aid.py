"""A message that is refused is read once more: who tells of an emergency is told whom to call, whatever is full.

Only refusals pay for it. Where all places are taken, nothing is stored and nothing let in, so that a crowd of such
messages costs no more than others; a spent budget does not keep them out, because their answer costs none of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ngx_agents.errors import NgxError
from ngx_agents.gateway.deps import Roster


@contextmanager
def first_aid(team: Roster, text: str, locale: str | None = None) -> Iterator[Callable[[], bool]]:
    """Gives what is raised inside the words that the message calls for; yields whether it calls for any."""
    try:
        yield lambda: team.first_aid(text, locale) is not None
    except NgxError as error:
        error.first_aid = team.first_aid(text, locale)
        raise
