"""llama.cpp's chunks, read as far as it matters: what was said, why it ended, how many tokens it took."""

from __future__ import annotations

from typing import Any

import msgspec

from ngx_agents.errors import InvalidRequest, NgxError
from ngx_agents.vertex.local_model.installed import MODEL_NAME


class NativeError(NgxError):
    """llama.cpp could not answer; its own words stay inside."""

    code = "server_error"


class _Delta(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    delta: _Delta = msgspec.field(default_factory=_Delta)
    finish_reason: str | None = None


class _Failure(msgspec.Struct):
    code: int = 500


class _Chunk(msgspec.Struct):
    id: str = ""
    created: int = 0
    choices: list[_Choice] = msgspec.field(default_factory=list)
    usage: dict[str, Any] | None = None
    error: _Failure | None = None


_decode = msgspec.json.Decoder(_Chunk).decode
_encode = msgspec.json.Encoder().encode


def native_error(chunk: bytes) -> NgxError | None:
    """What the chunk refuses, when it is no part of an answer."""
    if not chunk.startswith(b'{"error"'):
        return None
    failure = _decode(chunk).error
    if failure is not None and failure.code == 400:
        return InvalidRequest("the local model cannot read this request")
    return NativeError("the local model failed")


class WholeAnswer:
    """Chunks put together into one completion."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._last = _Chunk()
        self._usage: dict[str, Any] | None = None
        self._finish_reason: str | None = None

    def take(self, chunk: bytes) -> None:
        """Raises InvalidRequest, NativeError: what llama.cpp refuses."""
        failure = native_error(chunk)
        if failure is not None:
            raise failure
        self._last = read = _decode(chunk)
        self._usage = read.usage or self._usage
        for choice in read.choices:
            self._texts.append(choice.delta.content or "")
            self._finish_reason = choice.finish_reason or self._finish_reason

    def completion(self) -> bytes:
        """An OpenAI chat completion. Raises NativeError when the answer is not whole."""
        if self._finish_reason is None:
            raise NativeError("the local model did not finish its answer")
        message = {"role": "assistant", "content": "".join(self._texts)}
        choice = {"index": 0, "message": message, "finish_reason": self._finish_reason}
        return _encode(
            {
                "id": self._last.id,
                "object": "chat.completion",
                "created": self._last.created,
                "model": MODEL_NAME,
                "choices": [choice],
                "usage": self._usage,
            }
        )
