"""A turn's events as OpenAI chunks.

OpenAI's protocol cannot withdraw text. Text is passed on as it comes; after a `text.reset` what was sent stands, and
the new text must repeat it: the repeated part is swallowed and the stream goes on. When it differs, the stream ends
with an error of code `text_withdrawn` rather than mix two answers; the whole answer is in the conversation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from ngx_agents.gateway.event_stream import frames_of
from ngx_agents.gateway.openai_errors import openai_error
from ngx_agents.gateway.openai_wire import ChatChunk, ChatDelta, ChunkChoice, TurnNote, chat_usage
from ngx_agents.gateway.problems import status_of_code
from ngx_agents.turns.events import ELSEWHERE

DONE = b"data: [DONE]\n\n"
HEARTBEAT = b": heartbeat\n\n"
WITHDRAWN = "text_withdrawn"
STOPPED = frozenset({"turn.failed", "turn.cancelled"})
_encode = msgspec.json.encode
_decode = msgspec.json.decode


class ChunkWriter:
    """Translates whole SSE frames of one turn, in order. After the end it is silent."""

    def __init__(self, *, turn_id: str, conversation_id: str, model: str, created: int, with_usage: bool) -> None:
        self._turn_id = turn_id
        self._conversation_id = conversation_id
        self._model = model
        self._created = created
        self._with_usage = with_usage
        self._sent = ""
        self._standing = ""
        self._has_begun = False
        self._has_ended = False

    def translate(self, chunk: bytes) -> bytes:
        if chunk is ELSEWHERE and not self._has_ended:
            return self._break("draining", f"the server is stopping; turn {self._turn_id} has the whole answer soon")
        events = frames_of(chunk)
        if not events:
            return b"" if self._has_ended else HEARTBEAT
        return b"".join(self._translate(name, _decode(data)) for name, data in events if not self._has_ended)

    def _translate(self, name: str, data: dict[str, Any]) -> bytes:
        opening = b"" if self._has_begun else self._chunk(ChatDelta(role="assistant", content=""))
        self._has_begun = True
        if name == "text.delta":
            return opening + self._say(data["text"])
        if name == "text.reset":
            self._standing = ""
        elif name == "turn.completed":
            return opening + self._complete(data)
        elif name in STOPPED:
            code = data.get("code") or "cancelled"
            return opening + self._break(code, data.get("message") or "the turn was cancelled")
        return opening

    def _say(self, text: str) -> bytes:
        self._standing += text
        if len(self._standing) <= len(self._sent):
            if self._sent.startswith(self._standing):
                return b""
            return self._withdraw()
        if not self._standing.startswith(self._sent):
            return self._withdraw()
        fresh = self._standing[len(self._sent) :]
        self._sent = self._standing
        return self._chunk(ChatDelta(content=fresh))

    def _complete(self, data: dict[str, Any]) -> bytes:
        if self._standing != self._sent:
            return self._withdraw()
        self._has_ended = True
        note = msgspec.convert({**data, "conversation_id": self._conversation_id}, TurnNote)
        frames = self._frame((ChunkChoice(delta=ChatDelta(), finish_reason="stop"),), ngx=note)
        if self._with_usage:
            frames += self._frame((), usage=chat_usage(data["usage"]))
        return frames + DONE

    def _withdraw(self) -> bytes:
        return self._break(WITHDRAWN, f"the text so far was withdrawn; turn {self._turn_id} has the whole answer")

    def _break(self, code: str, message: str) -> bytes:
        self._has_ended = True
        return b"data: " + _encode(openai_error(status=status_of_code(code), message=message, code=code)) + b"\n\n"

    def _chunk(self, delta: ChatDelta) -> bytes:
        return self._frame((ChunkChoice(delta=delta),))

    def _frame(self, choices: Sequence[ChunkChoice], **more: Any) -> bytes:
        if self._with_usage:
            more.setdefault("usage", None)
        chunk = ChatChunk(
            id=f"chatcmpl-{self._turn_id}",
            created=self._created,
            model=self._model,
            choices=tuple(choices),
            **more,
        )
        return b"data: " + _encode(chunk) + b"\n\n"
