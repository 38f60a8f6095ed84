"""From what a caller asks to what so small a model can make sense of.

The caller's system prompt and tools are left out: they are written for large models, and this one would recite them.
In their place stand one line and five examples, which lie ready in the model's cache. Sampling is fixed and greedy, so
that an answer repeats itself. The grammar lets it write one or two sentences of plain letters: no figures, links or
addresses, because those that a model of this size writes are invented, and no third sentence, because it wanders.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from ngx_agents.errors import InvalidRequest
from ngx_agents.vertex.local_model.installed import MODEL_NAME
from ngx_agents.vertex.local_model.language import is_english

MAX_TOKENS = 120
DEFAULT_TOKENS = 80
MAX_MESSAGES = 512
SYSTEM = "You are a small offline helper. Answer in one or two short plain sentences."
EXAMPLES = (
    ("Hi", "Hello! I am the small offline helper of this app. Ask me something simple."),
    (
        "Who are you?",
        "I am a small offline language model. The large model is away right now, so I keep my answers short.",
    ),
    (
        "What is stretching good for?",
        "Stretching keeps your muscles flexible and your joints moving well. It can also help you relax.",
    ),
    ("How many milligrams should I take?", "I cannot give figures or medical advice. Please ask a doctor."),
    ("I feel sad today.", "I am sorry to hear that. A short walk or a talk with a friend may help a little."),
)
GRAMMAR = """root ::= sentence (" " sentence)?
sentence ::= [A-Z] [A-Za-z ,;'-]* [.!?]"""


class TextPart(msgspec.Struct):
    type: str = "text"
    text: str = ""


class Message(msgspec.Struct):
    """One message as callers send it; what is not text is not read."""

    role: str
    content: str | list[TextPart] | None = None

    @property
    def text(self) -> str:
        if isinstance(self.content, list):
            return "".join(part.text for part in self.content if part.type == "text")
        return self.content or ""


class StreamOptions(msgspec.Struct):
    include_usage: bool = False


class ChatQuestion(msgspec.Struct):
    """The fields of a chat completion request that are heeded."""

    messages: list[Message]
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None


_decode = msgspec.json.Decoder(ChatQuestion).decode
_encode = msgspec.json.Encoder().encode
_OPENING = [
    {"role": "system", "content": SYSTEM},
    *(
        {"role": role, "content": text}
        for question, answer in EXAMPLES
        for role, text in (("user", question), ("assistant", answer))
    ),
]


def read_question(body: bytes) -> ChatQuestion:
    """Raises InvalidRequest."""
    try:
        question = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise InvalidRequest("the body is not a chat completion request") from exc
    if not 0 < len(question.messages) <= MAX_MESSAGES:
        raise InvalidRequest(f"between 1 and {MAX_MESSAGES} messages are read", field="messages")
    asked = _asked_tokens(question)
    if asked is not None and asked < 1:
        raise InvalidRequest("max_tokens must be at least 1", field="max_tokens")
    return question


def native_body(question: ChatQuestion, *, max_prompt_bytes: int) -> bytes:
    """What llama.cpp is asked, always as a stream. Raises InvalidRequest when the last message is no short question."""
    with_usage = not question.stream or (question.stream_options is not None and question.stream_options.include_usage)
    body: dict[str, Any] = {
        "model": MODEL_NAME,
        "messages": [*_OPENING, *_fitting(question.messages, max_prompt_bytes)],
        "max_tokens": min(_asked_tokens(question) or DEFAULT_TOKENS, MAX_TOKENS),
        "stream": True,
        "stream_options": {"include_usage": with_usage},
        "temperature": 0.0,
        "repeat_penalty": 1.03,  # more forbids the very words of the question, less repeats the examples
        "grammar": GRAMMAR,
        "stop": ["\n"],
        "cache_prompt": True,
    }
    return _encode(body)


def _asked_tokens(question: ChatQuestion) -> int | None:
    return question.max_completion_tokens if question.max_tokens is None else question.max_tokens


def _fitting(messages: Sequence[Message], max_bytes: int) -> list[dict[str, str]]:
    """The newest user and assistant messages that fit, oldest first."""
    spoken = [message for message in messages if message.role in ("user", "assistant") and message.text.strip()]
    if not spoken or spoken[-1].role != "user":
        raise InvalidRequest("the last message must be the user's, and have text", field="messages")
    if not is_english(spoken[-1].text):
        raise InvalidRequest("the local model reads English only", field="messages")
    kept: list[dict[str, str]] = []
    room = max_bytes
    for message in reversed(spoken):
        text = _defused(message.text)
        room -= len(text.encode("utf-8", "replace"))
        if room < 0:
            break
        kept.append({"role": message.role, "content": text})
    if not kept:
        raise InvalidRequest(f"the local model reads questions of at most {max_bytes} bytes", field="messages")
    return kept[::-1]


def _defused(text: str) -> str:
    """`<|im_end|>` and its like would be read as the end of a message, not as text."""
    return text.replace("<|", "< |")
