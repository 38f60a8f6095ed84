"""Errors in the shape that OpenAI's clients read: `{"error": {message, type, param, code}}`."""

from __future__ import annotations

from typing import Any

import msgspec

from ngx_agents.gateway.problems import Problem

MEDIA_TYPE = b"application/json"
_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}


class OpenAIErrorDetail(msgspec.Struct, frozen=True, kw_only=True):
    message: str
    type: str
    param: str | None
    code: str


class OpenAIError(msgspec.Struct, frozen=True, kw_only=True):
    """An error as OpenAI's clients expect it."""

    error: OpenAIErrorDetail


def openai_error(*, status: int, message: str, code: str, param: str | None = None) -> OpenAIError:
    kind = _TYPES.get(status) or ("server_error" if status >= 500 else "invalid_request_error")
    return OpenAIError(error=OpenAIErrorDetail(message=message, type=kind, param=param, code=code))


def render_openai_error(problem: Problem) -> tuple[bytes, bytes]:
    """Media type and body."""
    message = problem.detail if problem.first_aid is None else f"{problem.first_aid}\n\n{problem.detail}"
    error: Any = openai_error(status=problem.status, message=message, code=problem.code, param=problem.field)
    return MEDIA_TYPE, msgspec.json.encode(error)
