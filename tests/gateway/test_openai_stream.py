"""A turn's events as OpenAI chunks, above all what happens to text that was withdrawn."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ngx_agents.gateway.openai_stream import DONE, HEARTBEAT, ChunkWriter
from ngx_agents.turns.events import ELSEWHERE, frame
from ngx_agents.turns.events import HEARTBEAT as TURN_HEARTBEAT


def _writer() -> ChunkWriter:
    return ChunkWriter(turn_id="t_1", conversation_id="c_1", model="ngx", created=7, with_usage=False)


def _delta(text: str) -> bytes:
    return frame("text.delta", {"text": text, "agent": "owl"}, "1-1")


RESET = frame("text.reset", {"reason": "model_failed"}, None)
COMPLETED = frame("turn.completed", {"turn_id": "t_1", "source": "model", "agents": ["owl"], "usage": {}}, "1-9")


def _said(out: bytes) -> tuple[str, str | None]:
    """The text of all chunks, and the code of an error among them."""
    text, code = "", None
    for block in out.split(b"\n\n"):
        if block.startswith(b"data: {"):
            data: dict[str, Any] = json.loads(block[6:])
            code = data["error"]["code"] if "error" in data else code
            text += "".join(choice["delta"].get("content", "") for choice in data.get("choices", ()))
    return text, code


@pytest.mark.parametrize(
    ("events", "text", "code"),
    [
        ([_delta("a"), _delta("b"), COMPLETED], "ab", None),
        ([_delta("abc"), RESET, _delta("a"), _delta("b"), _delta("cd"), COMPLETED], "abcd", None),
        ([_delta("abc"), RESET, _delta("abcd"), RESET, _delta("abcde"), COMPLETED], "abcde", None),
        ([_delta("abc"), RESET, _delta("x"), COMPLETED], "abc", "text_withdrawn"),
        ([_delta("abc"), RESET, _delta("abx and more"), COMPLETED], "abc", "text_withdrawn"),
        ([_delta("abc"), RESET, _delta("ab"), COMPLETED], "abc", "text_withdrawn"),
        ([_delta("abc"), RESET, COMPLETED], "abc", "text_withdrawn"),
        ([RESET, _delta("a"), COMPLETED], "a", None),
        ([_delta("a"), frame("turn.cancelled", {"turn_id": "t_1"}, "1-2")], "a", "cancelled"),
        ([frame("turn.failed", {"turn_id": "t_1", "code": "overloaded", "message": "full"}, "1-2")], "", "overloaded"),
    ],
)
def test_two_answers_are_never_mixed(events: list[bytes], text: str, code: str | None) -> None:
    for out in (b"".join(map(_writer().translate, events)), _writer().translate(b"".join(events))):
        assert _said(out) == (text, code)
        assert out.endswith(DONE) == (code is None)


def test_after_the_end_nothing_more_is_said() -> None:
    writer = _writer()
    writer.translate(_delta("abc") + RESET + _delta("x"))
    assert writer.translate(_delta("y") + COMPLETED) == b""
    assert writer.translate(TURN_HEARTBEAT) == b""


def test_a_heartbeat_stays_a_comment() -> None:
    assert _writer().translate(TURN_HEARTBEAT) == HEARTBEAT


def test_a_turn_that_goes_elsewhere_ends_the_chunks_with_an_error() -> None:
    writer = _writer()
    assert _said(writer.translate(_delta("one ")) + writer.translate(ELSEWHERE)) == ("one ", "draining")
    assert writer.translate(ELSEWHERE) == b""
