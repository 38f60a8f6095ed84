"""What agents computed once from a stored message: it lives and goes with the message in memory."""

from __future__ import annotations

from ngx_agents.agents.safety import Screened
from ngx_agents.state.model import Message
from ngx_agents.vertex.content import Content


class Derived:
    """`screened` is by what the screen's answer depends on beside the text."""

    __slots__ = ("content", "screened")

    def __init__(self) -> None:
        self.content: Content | None = None
        self.screened: dict[tuple[str, str | None, bool], Screened] = {}


def derived_of(message: Message) -> Derived:
    made = message.derived
    if not isinstance(made, Derived):
        made = message.derived = Derived()
    return made
