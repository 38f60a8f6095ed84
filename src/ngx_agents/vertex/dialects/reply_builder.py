"""Puts one reply together, from one document or from the pieces of a stream."""

from __future__ import annotations

from ngx_agents.errors import ModelBlocked
from ngx_agents.vertex.content import Content, FinishReason, Media, ModelReply, Part, Text, ToolCall, Usage


class ReplyBuilder:
    """Collects the parts of one reply, whole or in pieces, and signs it with where it came from.

    `asked` is the model that was asked: the parts belong to it. `model` is the one that says it answered.
    """

    def __init__(self, *, provider: str, location: str, asked: str) -> None:
        self.model = asked
        self.finish_reason: FinishReason | None = None
        self.usage = Usage()
        self.traffic_type: str | None = None
        self.is_grounded = False
        self.has_citations = False
        self._asked = asked
        self._provider = provider
        self._location = location
        self._parts: list[Part] = []
        self._texts: list[str] = []  # of the text part still growing
        self._is_thought = False
        self._says_something = False

    def add_text(self, text: str, *, thought: bool, signature: str | None) -> None:
        """Text that follows text is one part; a signed piece stays a part of its own, as it must go back."""
        if text and not thought:
            self._says_something = True
        if signature is not None:
            self._close_text()
            self._parts.append(Text(text=text, thought=thought, signature=signature))
            return
        if thought != self._is_thought:
            self._close_text()
            self._is_thought = thought
        if text:
            self._texts.append(text)

    def add(self, part: ToolCall | Media) -> None:
        self._close_text()
        self._parts.append(part)

    def reply(self) -> ModelReply:
        """Raises ModelBlocked when a safety filter left nothing of the answer."""
        self._close_text()
        if self.finish_reason == "safety" and not self._says_something:
            raise ModelBlocked("a safety filter blocked the answer")
        return ModelReply(
            content=Content(role="model", parts=tuple(self._parts), model=self._asked),
            finish_reason=self.finish_reason or "other",
            usage=self.usage,
            model=self.model,
            location=self._location,
            provider=self._provider,
            traffic_type=self.traffic_type,
            is_grounded=self.is_grounded,
            has_citations=self.has_citations,
        )

    def _close_text(self) -> None:
        if self._texts:
            self._parts.append(Text(text="".join(self._texts), thought=self._is_thought))
            self._texts = []
