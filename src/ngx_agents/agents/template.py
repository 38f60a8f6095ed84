"""Answers without a model: an agent's template filled with what its tools found, given out in a few pieces."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from jinja2 import Environment, Template, TemplateSyntaxError

from ngx_agents.agents.cards import AgentContent
from ngx_agents.agents.language import Language
from ngx_agents.errors import ConfigError

_PIECES = 5


class Templates:
    """All agents' reply templates, compiled. Raises ConfigError for one that cannot be."""

    def __init__(self, agents: Iterable[AgentContent]) -> None:
        # Markdown for clients that escape it themselves; the templates are ours, the facts are data
        environment = Environment(autoescape=False, trim_blocks=True, lstrip_blocks=True)
        self._compiled = {
            (agent.card.id, language): _compiled(environment, agent, language)
            for agent in agents
            for language in ("es", "en")
        }

    def render(self, agent: str, language: Language, **context: Any) -> str:
        return self._compiled[agent, language].render(language=language, **context).strip()


def pieces_of(text: str) -> Iterator[str]:
    """The text in at most a handful of parts that add up to it, cut between paragraphs."""
    paragraphs = text.split("\n\n")
    size = -(-len(paragraphs) // _PIECES)
    for start in range(0, len(paragraphs), size):
        piece = "\n\n".join(paragraphs[start : start + size])
        yield piece if start + size >= len(paragraphs) else piece + "\n\n"


def _compiled(environment: Environment, agent: AgentContent, language: Language) -> Template:
    try:
        return environment.from_string(agent.template.of(language))
    except TemplateSyntaxError as exc:
        raise ConfigError(f"{agent.card.id}/reply.{language}.md.j2: line {exc.lineno}: {exc.message}") from exc
