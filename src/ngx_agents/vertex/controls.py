"""How an answer is to be made, beside what is said: thinking, safety, the choice of tools. In no provider's words."""

from __future__ import annotations

from typing import Literal

import msgspec

ThinkingLevel = Literal["minimal", "low", "medium", "high"]


class Thinking(msgspec.Struct, frozen=True, kw_only=True):
    """How much the model may think. With both given, models from 3.5 on get the level and older ones the budget.

    `include` asks for the thoughts. A model that takes only the one not given refuses the request.
    """

    level: ThinkingLevel | None = None
    budget_tokens: int | None = None
    include: bool = False


HarmCategory = Literal[
    "harassment", "hate_speech", "sexually_explicit", "dangerous_content", "civic_integrity", "jailbreak"
]
HarmThreshold = Literal["low_and_above", "medium_and_above", "only_high", "none", "off"]


class SafetySetting(msgspec.Struct, frozen=True):
    """From which probability on the provider blocks what is of `category`."""

    category: HarmCategory
    threshold: HarmThreshold


ToolChoice = Literal["auto", "any", "none"] | tuple[str, ...]
