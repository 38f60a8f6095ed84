"""Our errors as the protocol's, in one table; the most specific class wins."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from a2a.utils.errors import (
    A2AError,
    InternalError,
    InvalidParamsError,
    InvalidRequestError,
    TaskNotFoundError,
    UnsupportedOperationError,
)
from a2a.utils.proto_utils import validate_proto_required_fields
from google.protobuf.message import Message as ProtoMessage
from typing_extensions import override

from ngx_agents import errors
from ngx_agents.errors import NgxError
from ngx_agents.gateway.a2a.call import Call
from ngx_agents.gateway.a2a.required import is_complete
from ngx_agents.telemetry.log import event_log

log = event_log("a2a")
_WORD = re.compile(r"_([a-z])")
LATER = (errors.Unavailable, errors.RateLimited)
"""The same call may succeed later: HTTP and gRPC have words of their own for it, JSON-RPC has not."""
_TABLE: dict[type[NgxError], type[A2AError]] = {
    NgxError: InternalError,
    errors.RequestError: InvalidRequestError,
    errors.InvalidRequest: InvalidParamsError,
    errors.NotFound: TaskNotFoundError,
    errors.TurnFinished: UnsupportedOperationError,
    errors.ConversationBusy: UnsupportedOperationError,
}


class _Violations(dict[str, Any]):
    """What the SDK makes a `google.rpc.BadRequest` of; empty where it makes an `ErrorInfo` of it, whose metadata is
    strings alone."""

    def __init__(self, errors: list[dict[str, str]]) -> None:
        super().__init__()
        self._errors = errors

    def __bool__(self) -> bool:
        return bool(self._errors)

    @override
    def get(self, key: str, default: Any = None) -> Any:
        return self._errors if key == "errors" else default

    @override
    def __getitem__(self, key: str) -> Any:
        return self._errors if key == "errors" else super().__getitem__(key)


def invalid(message: str, field: str) -> InvalidParamsError:
    """Names the field as the protocol does it (`google.rpc.BadRequest`)."""
    return InvalidParamsError(message=message, data=_Violations([{"field": field, "message": message}]))


def check_fields(params: ProtoMessage) -> None:
    """Raises InvalidParamsError naming every required field that is missing, in the names of JSON."""
    if is_complete(params):
        return
    try:
        validate_proto_required_fields(params)
    except InvalidParamsError as error:
        found = (error.data or {}).get("errors", [])
        named = [{**one, "field": _WORD.sub(lambda word: word[1].upper(), one["field"])} for one in found]
        fields = ", ".join(one["field"] for one in named)
        raise InvalidParamsError(message=f"required: {fields}", data=_Violations(named)) from error


def translated(error: NgxError) -> A2AError:
    """Texts of ours that callers may see; of what is internal, none."""
    kind = next(_TABLE[base] for base in type(error).__mro__ if base in _TABLE)
    if isinstance(error, errors.InvalidRequest):
        return invalid(str(error), error.field or "message")
    if isinstance(error, LATER):
        data = {"code": error.code}
        if error.retry_after_s is not None:
            data["retryAfterS"] = str(error.retry_after_s)
        return InternalError(message=error.words, data=data)
    if kind is InternalError:
        log.error("a2a.failed", code=error.code)
        return InternalError(message="an internal error")
    return kind(message=str(error))


@contextmanager
def translating(call: Call) -> Iterator[None]:
    """Around what a handler does: nothing but the protocol's errors comes out."""
    try:
        yield
    except A2AError:
        raise
    except NgxError as error:
        call.refusal = error
        raise translated(error) from error
    except Exception as error:
        log.exception("a2a.broke")
        raise InternalError(message="an internal error") from error
