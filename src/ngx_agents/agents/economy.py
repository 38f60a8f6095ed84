"""What a turn does without while the server is short of something: by the operating mode and the turn's class.

Critical turns go without nothing. From degraded 2 fewer agents are asked, with less history, for shorter answers; from
degraded 3 by the cheaper model, if there is one; in degraded 4 background and batch turns get kept answers and
templates only. Answers made so are marked `degraded`.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ngx_agents.resilience.modes import Mode
from ngx_agents.resilience.priority import FIRST_SHEDDABLE_CLASS
from ngx_agents.vertex.content import ModelRequest

FEWER_AGENTS = 2
HISTORY_TOKENS = 1000
OUTPUT_TOKENS = 512


class Economy(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """None is no bound. `only_kept`: the model is not asked."""

    max_agents: int | None = None
    history_tokens: int | None = None
    max_output_tokens: int | None = None
    model: str | None = None
    only_kept: bool = False

    @property
    def is_on(self) -> bool:
        return self is not PLENTY and self != PLENTY

    def of_agents(self, agents: Sequence[str]) -> Sequence[str]:
        """Those that are asked."""
        return agents if self.max_agents is None else agents[: self.max_agents]

    def of_history(self, tokens: int) -> int:
        return tokens if self.history_tokens is None else min(tokens, self.history_tokens)

    def applied(self, request: ModelRequest) -> ModelRequest:
        """The request as it is to be sent. One for a kept answer stays as it was: it would not be found otherwise."""
        if self is PLENTY:
            return request
        if self.only_kept:
            return msgspec.structs.replace(request, only_kept=True)
        most, asked = self.max_output_tokens, request.max_output_tokens
        if most is not None and asked is not None:
            most = min(most, asked)
        return msgspec.structs.replace(request, model=self.model or request.model, max_output_tokens=most or asked)


PLENTY = Economy()
KEPT = Economy(only_kept=True)


def economy_of(mode: Mode, turn_class: int, *, cheaper_model: str | None) -> Economy:
    """What a turn of this class does without in this mode."""
    if mode < Mode.DEGRADED_2 or turn_class == 0:
        return PLENTY
    if mode >= Mode.DEGRADED_4 and turn_class >= FIRST_SHEDDABLE_CLASS:
        return KEPT
    is_dear = mode >= Mode.DEGRADED_3
    return Economy(
        max_agents=1 if is_dear else FEWER_AGENTS,
        history_tokens=HISTORY_TOKENS,
        max_output_tokens=OUTPUT_TOKENS,
        model=cheaper_model if is_dear else None,
    )
