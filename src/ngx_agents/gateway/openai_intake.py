"""Reads a chat completion request: which agent, which conversation, what was said before, what is asked now."""

from __future__ import annotations

import msgspec

from ngx_agents.errors import InvalidRequest
from ngx_agents.gateway.decode import text_of
from ngx_agents.gateway.openai_wire import ChatBody, ChatMessage, ContentPart
from ngx_agents.gateway.wire import MAX_TEXT_CHARS


class Said(msgspec.Struct, frozen=True):
    """A message of the body in our words."""

    role: str
    text: str


def asked(body: ChatBody) -> str:
    """The text of the turn: the last message, which must be the user's. Raises InvalidRequest."""
    _refuse_unsupported(body)
    last = body.messages[-1]
    where = f"messages[{len(body.messages) - 1}]"
    if last.role != "user":
        raise InvalidRequest("the last message must be the user's", field=where)
    text = text_of(_text(last, where), f"{where}.content")
    if len(text) > MAX_TEXT_CHARS:
        raise InvalidRequest(f"the text is longer than {MAX_TEXT_CHARS} characters", field=f"{where}.content")
    return text


def said_before(body: ChatBody) -> tuple[Said, ...]:
    """The user's and the assistant's earlier messages, oldest first, empty ones left out. Raises InvalidRequest."""
    said = []
    for index, message in enumerate(body.messages[:-1]):
        text = _text(message, f"messages[{index}]")
        if message.role in ("user", "assistant") and text.strip():
            said.append(Said(message.role, text.replace("\0", "")))
    return tuple(said)


def _refuse_unsupported(body: ChatBody) -> None:
    if body.n not in (None, 1):
        raise InvalidRequest("one choice is made per call", field="n")
    if body.tools or body.functions:
        raise InvalidRequest("tools of the caller are not supported: the agents have their own", field="tools")


def _text(message: ChatMessage, where: str) -> str:
    if message.role in ("tool", "function"):
        raise InvalidRequest("tool messages are not supported", field=f"{where}.role")
    if isinstance(message.content, str):
        return message.content
    parts = message.content or []
    if not all(_is_understood(part) for part in parts):
        raise InvalidRequest("only parts of type text and image_url are supported", field=f"{where}.content")
    return "\n".join(part.text or "" for part in parts if part.type == "text")


def _is_understood(part: ContentPart) -> bool:
    return part.text is not None if part.type == "text" else part.type == "image_url" and part.image_url is not None
