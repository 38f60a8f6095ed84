"""Parts of messages and artifacts: what comes in as text for the team, what the team made as parts for callers."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection, Sequence
from typing import Any

import msgspec
from a2a.types import Artifact, Message, Part, Role
from a2a.utils.errors import ContentTypeNotSupportedError
from google.protobuf import struct_pb2
from google.protobuf.json_format import MessageToDict, ParseDict

from ngx_agents.gateway.a2a.refusals import invalid
from ngx_agents.gateway.decode import text_of
from ngx_agents.gateway.wire import MAX_TEXT_CHARS
from ngx_agents.state import model

TEXT, JSON, BYTES = "text/plain", "application/json", "application/octet-stream"
DEFAULT_MODES = (TEXT, JSON)
MAX_PARTS = 100
FILE = "File"
"""The kind of artifacts whose data is a file: `{filename, media_type, base64}` or `{filename, media_type, url}`."""


def text_from(message: Message, modes: Collection[str]) -> str:
    """All that the message says, as one text. Raises ContentTypeNotSupportedError, InvalidParamsError."""
    if len(message.parts) > MAX_PARTS:
        raise invalid(f"a message has {MAX_PARTS} parts at most", "message.parts")
    said = [_said(part, f"message.parts[{number}]", modes) for number, part in enumerate(message.parts)]
    text = text_of("\n".join(said), "message.parts")
    if len(text) > MAX_TEXT_CHARS:
        raise invalid(f"the text is longer than {MAX_TEXT_CHARS} characters", "message.parts")
    return text


def _said(part: Part, field: str, modes: Collection[str]) -> str:
    kind = part.WhichOneof("content")
    if kind is None:
        raise invalid("a part has exactly one of text, raw, url, data", field)
    media_type = media_type_of(part)
    if media_type not in modes:
        raise ContentTypeNotSupportedError(message=f"{field}: the agent takes {', '.join(sorted(modes))}")
    match kind:
        case "text":
            return part.text
        case "data":
            return msgspec.json.encode(_json_of(part.data)).decode()
        case "raw":
            return f"[file {part.filename or 'unnamed'}: {media_type}, {len(part.raw)} bytes]"
        case _:
            return f"[file {part.filename or 'unnamed'}: {media_type}, {part.url}]"


def media_type_of(part: Part) -> str:
    """As it is named, without parameters; else what its kind usually is."""
    kind = part.WhichOneof("content")
    default = TEXT if kind == "text" else JSON if kind == "data" else BYTES
    return (part.media_type or default).partition(";")[0].strip().lower()


def _json_of(value: struct_pb2.Value) -> Any:
    """Whole numbers stay whole: a Value has floating-point numbers alone."""
    return _whole(MessageToDict(value))


def _whole(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, dict):
        return {key: _whole(each) for key, each in value.items()}
    return [_whole(each) for each in value] if isinstance(value, list) else value


def data_part(data: dict[str, Any]) -> Part:
    return Part(data=ParseDict(data, struct_pb2.Value()), media_type=JSON)


def artifact_of(artifact: model.Artifact) -> Artifact:
    part = _file_part(artifact.data) if artifact.kind == FILE else data_part(artifact.data)
    return Artifact(artifact_id=artifact.id, name=artifact.title or artifact.kind, parts=[part])


def _file_part(data: dict[str, Any]) -> Part:
    part = Part(filename=str(data.get("filename", "")), media_type=str(data.get("media_type", BYTES)))
    try:
        if "url" in data:
            part.url = str(data["url"])
        else:
            part.raw = base64.b64decode(str(data.get("base64", "")), validate=True)
    except binascii.Error:
        return data_part(data)
    return part


def answer_id(turn_id: str) -> str:
    """Of the artifact that a turn's text is."""
    return f"answer-{turn_id}"


def answer_artifact(turn_id: str, text: str) -> Artifact:
    return Artifact(artifact_id=answer_id(turn_id), name="answer", parts=[Part(text=text, media_type=TEXT)])


def agent_message(message_id: str, texts: Sequence[str], *, task_id: str, context_id: str) -> Message:
    return Message(
        message_id=message_id,
        role=Role.ROLE_AGENT,
        parts=[Part(text=text, media_type=TEXT) for text in texts],
        task_id=task_id,
        context_id=context_id,
    )
