"""What the user said earlier in the conversation that still binds: cautions, and a red flag of the last turns.

Nothing is kept between turns: the user's own messages are screened again, newest first, within a bound.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ngx_agents.agents.language import Language
from ngx_agents.agents.safety import RedFlag, SafetyScreen
from ngx_agents.agents.wording import normalise, words_of
from ngx_agents.state.model import Message, Profile

FLAG_TURNS = 3  # turns after a red flag in which it is recalled
_MESSAGES = 12  # of the user's, that are looked at again
_CHARACTERS = 4000
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
    for number, plain in enumerate(_said_before(history)):
        words = words_of(plain)
        cautions.update(dict.fromkeys(safety.cautions(plain, words, Profile())))
        if flag is None and number < FLAG_TURNS and not is_released:
            flag = safety.red_flag(plain, words, language=language, locale=locale, profile=profile)
        is_released = is_released or safety.releases(plain)
    if flag is not None and flag.reminder:
        cautions[RECENT_FLAG] = None
        return Earlier(tuple(cautions), flag)
    return Earlier(tuple(cautions))


def _said_before(history: Sequence[Message]) -> list[str]:
    """The user's newest messages, normalised, newest first."""
    found: list[str] = []
    for message in reversed(history):
        if message.role == "user":
            found.append(normalise(message.text[:_CHARACTERS]))
            if len(found) == _MESSAGES:
                break
    return found
