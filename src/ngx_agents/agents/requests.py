"""What a message asks for in so many words, by the patterns of the routing content.

Evidence tells what a message is about; this tells a request from what merely stands beside it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ngx_agents.agents.cards import Routing
from ngx_agents.errors import ConfigError


class Requests:
    """Compiled once. Raises ConfigError for a pattern that cannot be."""

    def __init__(self, routing: Routing) -> None:
        self._asked = {intent: _compiled(pattern) for intent, pattern in routing.requests.items()}
        self._aside = _compiled(routing.asides.pattern)
        self._facts = _compiled(routing.facts.pattern)
        self._skills = {skill: _compiled(pattern) for skill, pattern in routing.skill_requests.items()}
        self._uncomputed = [
            (each.reply, _compiled(each.pattern), _compiled(each.unless)) for each in routing.uncomputed
        ]

    def intents(self, text: str) -> list[str]:
        """The intents whose subject is asked for; empty when the text does not say."""
        plain = self._aside.sub(" ", text)
        return [intent for intent, pattern in self._asked.items() if pattern.search(plain)]

    def uncomputed(self, text: str) -> str | None:
        """The reply to a question that no skill computes."""
        for reply, pattern, unless in self._uncomputed:
            if pattern.search(text) and not unless.search(text):
                return reply
        return None

    def states_facts(self, text: str) -> bool:
        """Whether the text tells who somebody is (age, height)."""
        return self._facts.search(text) is not None

    def skill(self, skills: Sequence[str], text: str) -> str | None:
        """The one of these skills that is asked for."""
        return next((each for each in skills if each in self._skills and self._skills[each].search(text)), None)


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as exc:
        raise ConfigError(f"routing.toml: {exc} in pattern {pattern!r}") from exc
