"""Why a call is refused: Vertex's error table, with the messages seen in the field.

`Refusal` is raised anywhere below a call and written by its surface. `named` makes one from the table; what a message
needs (model, location, project, …) is filled in from the call.
"""

from __future__ import annotations

from typing import Any

import msgspec

STATUS_WORDS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    409: "ABORTED",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_LEARN_MORE = "https://cloud.google.com/vertex-ai/generative-ai/docs"
_CREDENTIALS = (
    "Expected OAuth 2 access token, login cookie or other valid authentication credential."
    " See https://developers.google.com/identity/sign-in/web/devconsole-project."
)


class Refusal(Exception):
    """A call answered with an error. `reason` becomes an ErrorInfo detail, `fields` (name, why) a BadRequest one."""

    def __init__(
        self,
        status: int,
        message: str | None = None,
        *,
        word: str | None = None,
        reason: str | None = None,
        fields: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(message or USUAL.get(status, "Unknown error."))
        self.status = status
        self.word = word or STATUS_WORDS.get(status, "UNKNOWN")
        self.reason = reason
        self.fields = fields


class _Row(msgspec.Struct, frozen=True):
    status: int
    message: str
    word: str | None = None
    reason: str | None = None


TABLE = {
    "invalid": _Row(400, "Request contains an invalid argument."),
    "cache_expired": _Row(400, "Cache content {cache} is expired."),
    "cache_conflict": _Row(
        400, "Tool config, tools and system instruction should not be set in the request when using cached content."
    ),
    "cache_too_small": _Row(
        400,
        "The cached content is of {tokens} tokens. The minimum token count to start caching is {minimum}.",
    ),
    "cache_mismatch": _Row(
        400,
        "Model used by GenerateContent request (models/{model}) and CachedContent (models/{cached_model}) has to be"
        " the same.",
    ),
    "cache_missing": _Row(404, "Not found: cached content metadata for {cache}."),
    "missing_signature": _Row(
        400,
        "Function call is missing a thought_signature in functionCall parts. This is required for tools to work"
        " correctly, and missing thought_signature may lead to degraded model performance. Additional data, function"
        f" call `default_api:{{name}}`, position {{position}}. Please refer to {_LEARN_MORE}/thought-signatures"
        " for more details.",
    ),
    "thoughts_off": _Row(
        400,
        "Unable to submit request because Thinking_config.include_thoughts is only enabled when thinking is enabled.."
        f" Learn more: {_LEARN_MORE}/model-reference/gemini",
    ),
    "failed_precondition": _Row(400, "Precondition check failed.", "FAILED_PRECONDITION"),
    "token_type": _Row(
        401,
        f"Request had invalid authentication credentials. {_CREDENTIALS}",
        reason="ACCESS_TOKEN_TYPE_UNSUPPORTED",
    ),
    "token_expired": _Row(
        401, f"Request had invalid authentication credentials. {_CREDENTIALS}", reason="ACCESS_TOKEN_EXPIRED"
    ),
    "token_missing": _Row(
        401, f"Request is missing required authentication credential. {_CREDENTIALS}", reason="CREDENTIALS_MISSING"
    ),
    "permission": _Row(
        403,
        "Permission 'aiplatform.endpoints.predict' denied on resource"
        " '//aiplatform.googleapis.com/projects/{project}/locations/{location}/publishers/google/models/{model}'"
        " (or it may not exist).",
        reason="IAM_PERMISSION_DENIED",
    ),
    "key_blocked": _Row(
        403,
        "Requests to this API aiplatform.googleapis.com method {method} are blocked.",
        reason="API_KEY_SERVICE_BLOCKED",
    ),
    "model_missing": _Row(
        404,
        "Publisher model `projects/{project}/locations/{location}/publishers/google/models/{model}` was not found or"
        " your project does not have access to it. Please ensure you are using a valid model version. For more"
        f" information, see: {_LEARN_MORE}/learn/model-versions",
    ),
    "shared_exhausted": _Row(
        429,
        "Resource exhausted. Please try again later. Please refer to"
        " https://cloud.google.com/vertex-ai/generative-ai/docs/error-code-429 for more details.",
    ),
    "provisioned_exhausted": _Row(429, "Too many requests. Exceeded the Provisioned Throughput."),
    "quota_exceeded": _Row(
        429,
        "Quota exceeded for aiplatform.googleapis.com/{metric} with base model: {model}. Please submit a quota"
        f" increase request. {_LEARN_MORE}/quotas-genai.",
    ),
    "cancelled": _Row(499, "The operation was cancelled."),
    "internal": _Row(500, "Internal error encountered."),
    "overloaded": _Row(503, "The model is overloaded. Please try again later."),
    "unavailable": _Row(503, "The service is currently unavailable."),
    "deadline": _Row(504, "Deadline expired before operation could complete."),
}
_USUAL_NAMES = {
    400: "invalid",
    401: "token_type",
    403: "permission",
    404: "model_missing",
    429: "shared_exhausted",
    499: "cancelled",
    500: "internal",
    503: "overloaded",
    504: "deadline",
}
USUAL = {status: TABLE[name].message for status, name in _USUAL_NAMES.items()}


class _Blanks(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return "-"


def named(name: str, /, **facts: Any) -> Refusal:
    """The refusal `name` of the table with `facts` in its message; what is not given stays a dash. Raises KeyError."""
    row = TABLE[name]
    return Refusal(row.status, row.message.format_map(_Blanks(facts)), word=row.word, reason=row.reason)


def usual(status: int, message: str | None = None, **facts: Any) -> Refusal:
    """The refusal that `status` usually means, or the same with another message."""
    if message is None and status in _USUAL_NAMES:
        return named(_USUAL_NAMES[status], **facts)
    return Refusal(status, message)
