"""What the user said earlier in the conversation that still binds: cautions, and a red flag of the last turns.

Nothing is kept between turns but what is derived from a message in memory: the user's own messages are looked at,
newest first, within a bound.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import msgspec

from ngx_agents.agents.derived import derived_of
from ngx_agents.agents.language import Language
from ngx_agents.agents.safety import RedFlag, SafetyScreen, Screened
from ngx_agents.state.model import Message, Profile

FLAG_TURNS = 3  # turns after a red flag in which it is recalled
_MESSAGES = 12  # of the user's, that are looked at again
_CHARACTERS = 4000
_VARIANTS = 8  # of language, locale and profile that are kept of one message
RECENT_FLAG = "recent_flag"


class Earlier(msgspec.Struct, frozen=True):
    """`flag` is a red flag of the last turns that no professional has seen to since."""

    cautions: tuple[str, ...] = ()
    flag: RedFlag | None = None


NOTHING = Earlier()


def earlier(
    safety: SafetyScreen,
    history: Sequence[Message],
    *,
    text: str,
    language: Language,
    locale: str | None,
    profile: Profile,
) -> Earlier:
    """What holds before the normalised `text` of this turn is answered."""
    if not history:
        return NOTHING
    flag, cautions = None, dict[str, None]()
    is_released = safety.releases(text)
    for number, message in enumerate(_said_before(history)):
        seen = _screened(safety, message, language=language, locale=locale, profile=profile)
        cautions.update(dict.fromkeys(seen.cautions))
        if flag is None and number < FLAG_TURNS and not is_released:
            flag = seen.flag
        is_released = is_released or seen.releases
    if flag is not None and flag.reminder:
        cautions[RECENT_FLAG] = None
        return Earlier(tuple(cautions), flag)
    return Earlier(tuple(cautions))


def _screened(
    safety: SafetyScreen, message: Message, *, language: Language, locale: str | None, profile: Profile
) -> Screened:
    """Screened once for as long as the message stays in memory."""
    known = derived_of(message).screened
    key = (language, locale, profile.pregnant)
    seen = known.get(key)
    if seen is None:
        if len(known) >= _VARIANTS:
            known.clear()
        text = message.text[:_CHARACTERS]
        seen = known[key] = safety.screened(text, language=language, locale=locale, profile=profile)
    return seen


def _said_before(history: Sequence[Message]) -> Iterator[Message]:
    """The user's newest messages, newest first."""
    return islice((message for message in reversed(history) if message.role == "user"), _MESSAGES)
