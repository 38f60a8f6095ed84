"""Whether a message has every field that the protocol requires, told quickly: the SDK's own check, which names what is
missing, walks every field and its options each time (a fifth of a call's CPU). What is required is looked up once.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from google.api.field_behavior_pb2 import FieldBehavior, field_behavior
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message


def is_complete(message: Message) -> bool:
    """False at the first required field that is missing or empty, however deep."""
    required, inner = _plan(message.DESCRIPTOR)
    for name, has_presence in required:
        if not (message.HasField(name) if has_presence else getattr(message, name)):
            return False
    for name, is_repeated in inner:
        if is_repeated:
            if not all(is_complete(each) for each in getattr(message, name)):
                return False
        elif message.HasField(name) and not is_complete(getattr(message, name)):
            return False
    return True


@cache
def _plan(kind: Descriptor) -> tuple[tuple[tuple[str, bool], ...], tuple[tuple[str, bool], ...]]:
    """(Required fields with whether they tell presence, fields to look into with whether they are lists)."""
    required, inner = [], []
    for field in kind.fields:
        is_list = _is_list(field)
        if FieldBehavior.REQUIRED in _options(field):
            required.append((field.name, field.has_presence and not is_list))
        if field.message_type is not None and _has_required(field.message_type, frozenset()):
            inner.append((field.name, is_list))
    return tuple(required), tuple(inner)


def _has_required(kind: Descriptor, seen: frozenset[str]) -> bool:
    """Of the kind or of anything in it. Maps (of strings and cards' parts) are the SDK's to look into."""
    if kind.full_name in seen or kind.GetOptions().map_entry:
        return False
    seen |= {kind.full_name}
    return any(
        FieldBehavior.REQUIRED in _options(field)
        or (field.message_type is not None and _has_required(field.message_type, seen))
        for field in kind.fields
    )


def _is_list(field: FieldDescriptor) -> bool:
    return field.is_repeated


def _options(field: FieldDescriptor) -> Any:
    return field.GetOptions().Extensions[field_behavior]
