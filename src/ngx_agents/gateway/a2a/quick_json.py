"""Between the protocol's messages and plain values, for what most calls are made of: a sixth of what protobuf's own
conversion costs. What is out of the ordinary is protobuf's to convert; tests hold both to the same results.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from functools import cache, partial
from typing import Any, TypeAlias

from a2a.types import Message as Said
from a2a.types import Part, Role, SendMessageRequest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

Shown: TypeAlias = Callable[[Any], Any]
_ROLES: dict[str, Any] = dict(Role.items())
_MESSAGE = frozenset({"messageId", "role", "parts", "contextId", "taskId"})
_PART = frozenset({"text", "mediaType", "filename"})
_PLAIN = frozenset({FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BOOL, FieldDescriptor.TYPE_INT32})


def sent_of(params: dict[str, Any]) -> SendMessageRequest | None:
    """The request, where it is one message of text alone; else None."""
    message = params.get("message")
    if not (params.keys() <= {"message", "tenant"} and isinstance(message, dict) and message.keys() <= _MESSAGE):
        return None
    parts, role = message.get("parts"), message.get("role")
    if not isinstance(parts, list) or not isinstance(role, str) or role not in _ROLES:
        return None
    texts = (
        params.get("tenant", ""),
        message.get("messageId", ""),
        message.get("contextId", ""),
        message.get("taskId", ""),
    )
    if not all(map(_is_text, texts)) or not all(map(_is_text_part, parts)):
        return None
    said = Said(
        message_id=texts[1],
        role=_ROLES[role],
        parts=[
            Part(text=part["text"], media_type=part.get("mediaType", ""), filename=part.get("filename", ""))
            for part in parts
        ],
        context_id=texts[2],
        task_id=texts[3],
    )
    return SendMessageRequest(tenant=texts[0], message=said)


def _is_text(value: object) -> bool:
    """What protobuf takes as a string: it has no lone surrogates."""
    return isinstance(value, str) and (value.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in value))


def _is_text_part(part: object) -> bool:
    return isinstance(part, dict) and "text" in part and part.keys() <= _PART and all(map(_is_text, part.values()))


def shown(message: Message) -> dict[str, Any]:
    """As `MessageToDict` shows it."""
    plan = _plan(message.DESCRIPTOR)
    if plan is None:
        told: dict[str, Any] = MessageToDict(message)
        return told
    found: dict[str, Any] = {}
    for field, value in message.ListFields():
        name, show = plan[field.number]
        found[name] = value if show is None else show(value)
    return found


@cache
def _plan(kind: Descriptor) -> dict[int, tuple[str, Shown | None]] | None:
    """Name and conversion of each field by number; None for what protobuf shows in a way of its own."""
    if kind.full_name.startswith("google.protobuf."):
        return None
    return {field.number: (field.json_name, _conversion(field)) for field in kind.fields}


def _conversion(field: FieldDescriptor) -> Shown | None:
    one: Shown | None
    if field.message_type is not None:
        if field.message_type.GetOptions().map_entry:
            raise TypeError(f"{field.full_name} is a map")
        one = _timestamp if field.message_type.full_name == "google.protobuf.Timestamp" else shown
    elif field.enum_type is not None:
        one = partial(_name, {value.number: value.name for value in field.enum_type.values})
    elif field.type == FieldDescriptor.TYPE_BYTES:
        one = _base64
    elif field.type in _PLAIN:
        one = None
    else:
        raise TypeError(f"{field.full_name} is of a type that is not known here")
    if not field.is_repeated:
        return one
    return list if one is None else partial(_each, one)


def _each(show: Shown, values: Any) -> list[Any]:
    return [show(value) for value in values]


def _name(names: dict[int, str], number: int) -> str | int:
    return names.get(number, number)


def _base64(value: bytes) -> str:
    return b64encode(value).decode()


def _timestamp(value: Any) -> str:
    text: str = value.ToJsonString()
    return text
