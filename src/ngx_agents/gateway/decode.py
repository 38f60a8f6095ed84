"""From bytes and strings of a request to typed values, or an InvalidRequest that names the field."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar
from urllib.parse import parse_qsl

import msgspec

from ngx_agents.errors import InvalidRequest, NotFound
from ngx_agents.state.ids import Kind, is_id

T = TypeVar("T")
MAX_PAGE = 200
MAX_PARAMETERS = 50
_KEY = re.compile(r"[!-~]{1,255}")
_SECONDS = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?")
_LARGE = re.compile(r"0*[1-9][0-9]{6,}(\.[0-9]*)?")
_AT = re.compile(r" - at `\$\.?([^`]*)`$")
_NAMED_FIELD = re.compile(r"field `([^`]+)`")


def decoded(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """Raises InvalidRequest: not JSON, not UTF-8 (lone surrogates too), wrong types, unknown or missing fields."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _refusal(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise InvalidRequest("the body is not valid JSON in UTF-8") from None
    except RecursionError:
        raise InvalidRequest("the body is nested too deeply") from None


def _refusal(text: str) -> InvalidRequest:
    """msgspec's message names JSON types and paths only, never a value: safe to show."""
    at = _AT.search(text)
    named = _NAMED_FIELD.search(text)
    path = [part for part in (at and at[1], named and named[1]) if part]
    return InvalidRequest(text, field=".".join(path) or None)


def text_of(text: str, field: str) -> str:
    """The text itself. Raises InvalidRequest when it says nothing or holds NUL, which no journal can keep."""
    if not text or text.isspace():
        raise InvalidRequest("the text is empty", field=field)
    if "\0" in text:
        raise InvalidRequest("the text holds a NUL character", field=field)
    return text


def known_id(kind: Kind, value: str) -> str:
    """The id itself. Raises NotFound for what cannot be one of ours."""
    if not is_id(kind, value):
        raise NotFound("there is no such thing")
    return value


def idempotency_key(value: str | None) -> str | None:
    """Raises InvalidRequest unless it is absent or 1 to 255 visible ASCII characters."""
    if value is not None and not _KEY.fullmatch(value):
        raise InvalidRequest("the key must be 1 to 255 visible ASCII characters", field="Idempotency-Key")
    return value


def timeout_of(value: str | None) -> float | None:
    """Seconds that the caller gives the whole turn. Raises InvalidRequest unless absent or a decimal above 0."""
    if value is None:
        return None
    if not _SECONDS.fullmatch(value) or not float(value) > 0.0:
        if _LARGE.fullmatch(value):
            raise InvalidRequest("the timeout must be below 1,000,000 seconds", field="X-Server-Timeout")
        raise InvalidRequest("the timeout must be seconds above 0, such as 12.5", field="X-Server-Timeout")
    return float(value)


def query_of(query_string: bytes) -> dict[str, str]:
    """Parameters by name, the last of a name wins. Raises InvalidRequest for more than 50."""
    try:
        return dict(parse_qsl(query_string.decode("latin-1"), keep_blank_values=True, max_num_fields=MAX_PARAMETERS))
    except ValueError:
        raise InvalidRequest(f"there are more than {MAX_PARAMETERS} parameters", field="query") from None


def limit_of(query: Mapping[str, str], default: int) -> int:
    """The page size, 1 to 200. Raises InvalidRequest."""
    value = query.get("limit", str(default))
    if not (value.isascii() and value.isdigit() and len(value) <= 3 and 1 <= int(value) <= MAX_PAGE):
        raise InvalidRequest(f"the limit must be 1 to {MAX_PAGE}", field="limit")
    return int(value)
