"""What the door reads of a request before the SDK does: version, extensions, media type, names of enums.

Pure; what is wrong is raised as the protocol's error. Closes what the SDK's dispatchers leave open.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from a2a.types import Role, TaskState
from a2a.utils.errors import (
    ContentTypeNotSupportedError,
    ExtensionSupportRequiredError,
    JSONParseError,
    VersionNotSupportedError,
)

from ngx_agents.a2a.trail import HEADER
from ngx_agents.gateway.a2a.refusals import invalid

VERSION = b"a2a-version"
TRAIL = HEADER.lower().encode()
EXTENSIONS = (b"a2a-extensions", b"x-a2a-extensions")
MEDIA_TYPES = (b"application/json", b"application/a2a+json")
ROLES, STATES = tuple(Role.keys()), tuple(TaskState.keys())
_VERSION = re.compile(r"(\d{1,3})\.(\d{1,3})(\.\d{1,5})?")
_decode = msgspec.json.Decoder().decode


def query_of(scope_query: bytes) -> dict[str, str]:
    return dict(parse_qsl(scope_query.decode("latin-1"), keep_blank_values=True))


@lru_cache(64)
def version_of(told: str | None, *, speaks_0_3: bool) -> str:
    """`1.0` or `0.3`, whatever the patch; nothing told is 0.3. Raises VersionNotSupportedError."""
    found = _VERSION.fullmatch((told or "").strip() or "0.3")
    version = f"{int(found[1])}.{int(found[2])}" if found is not None else ""
    if version == "1.0" or (version == "0.3" and speaks_0_3):
        return version
    known = "1.0 and 0.3" if speaks_0_3 else "1.0"
    raise VersionNotSupportedError(message=f"this server speaks {known}; name it in the header A2A-Version")


def extensions_of(headers: Mapping[bytes, bytes], required: tuple[str, ...]) -> frozenset[str]:
    """The URIs that the caller names. Raises ExtensionSupportRequiredError."""
    told = b",".join(headers[name] for name in EXTENSIONS if name in headers).decode("latin-1")
    found = frozenset(part.strip() for part in told.split(",") if part.strip())
    for uri in required:
        if uri not in found:
            raise ExtensionSupportRequiredError(message=f"the caller must support the extension {uri}")
    return found


def check_media_type(told: bytes | None, body: bytes) -> None:
    """Raises ContentTypeNotSupportedError. Without a body there is nothing to name."""
    media_type = (told or b"").split(b";", 1)[0].strip().lower()
    if media_type not in MEDIA_TYPES and (body or media_type):
        raise ContentTypeNotSupportedError(message="the body must be application/json or application/a2a+json")


def json_of(body: bytes) -> Any:
    """Raises JSONParseError."""
    try:
        return _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise JSONParseError(message="the body is not valid JSON in UTF-8") from None
    except RecursionError:
        raise JSONParseError(message="the body is nested too deeply") from None


def check_names(params: object) -> None:
    """Raises InvalidParamsError for a name that is in no enum: read leniently it would count as none."""
    if not isinstance(params, dict):
        return
    message = params.get("message")
    if isinstance(message, dict):
        _check_name(message.get("role"), ROLES, "message.role")
    _check_name(params.get("status"), STATES, "status")


def _check_name(value: object, known: Sequence[str], field: str) -> None:
    if isinstance(value, str) and value not in known:
        raise invalid(f"must be one of {', '.join(known)}", field)
