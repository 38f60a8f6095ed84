"""The error object that model servers answer with, as a typed record.

Its message stays undecoded: prompts and keys may be quoted in it, and only a few known words in it decide anything.
"""

from __future__ import annotations

import msgspec


class ErrorDetail(msgspec.Struct, rename="camel"):
    reason: str | None = None
    retry_delay: str | None = None


class ErrorBody(msgspec.Struct):
    """`code` is a number at Vertex, a word or null elsewhere; `type` is OpenAI's."""

    code: int | str | None = None
    status: str | None = None
    type: str | None = None
    details: list[ErrorDetail] | None = None
    message: msgspec.Raw = msgspec.Raw(b"")


class ErrorReply(msgspec.Struct):
    error: ErrorBody | None = None
