"""What is said after an answer that left it out: limits it must respect, and the way to a professional.

Deterministic, so that a model that forgets does not decide about safety.
"""

from __future__ import annotations

from collections.abc import Sequence

from ngx_agents.agents.language import Language
from ngx_agents.agents.safety import SafetyScreen
from ngx_agents.agents.wording import normalise, words_of

_HEADING = {"es": "**Ten en cuenta:**", "en": "**Keep in mind:**"}
_UNSEEN = {
    "es": "Nadie ha mirado lo que adjuntaste: ahora mismo no contesta ningún modelo que pueda verlo.",
    "en": "Nobody has looked at what you attached: no model that could see it answers at the moment.",
}
_LEAST_LETTERS = 4  # shorter words say little
_MENTIONED = 0.6  # share of a limit's words that the answer must have


def unseen(language: Language) -> str:
    """What is added to an answer that was made without looking at what came with the message."""
    return f"\n\n{_UNSEEN[language]}"


class Closing:
    """Knows what an answer to this person must contain."""

    def __init__(self, safety: SafetyScreen) -> None:
        self._safety = safety

    def of(self, text: str, *, constraints: Sequence[str], cautions: Sequence[str], language: Language) -> str:
        """What to add to the answer; empty when nothing is missing."""
        if not constraints and not cautions:
            return ""
        plain = normalise(text)
        said = {word[:6] for word in words_of(plain)}
        missing = [limit for limit in constraints if not _is_mentioned(limit, said)]
        parts = []
        if missing:
            parts.append("\n".join([_HEADING[language], *(f"- {limit}" for limit in missing)]))
        if cautions and (referral := self._safety.referral(plain, language)):
            parts.append(referral)
        return "".join(f"\n\n{part}" for part in parts)


def _is_mentioned(limit: str, said: set[str]) -> bool:
    words = [word for word in words_of(normalise(limit)) if len(word) >= _LEAST_LETTERS]
    found = sum(word[:6] in said for word in words)
    return bool(words) and found >= _MENTIONED * len(words)
