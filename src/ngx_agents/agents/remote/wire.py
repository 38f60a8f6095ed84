"""What A2A 1.0 says on the wire, as far as a caller reads it. Source: A2A specification 1.0.1 §4, ProtoJSON.

Unknown members are ignored, as the specification wants it; enum values are kept as the words they are.
"""

from __future__ import annotations

from typing import Any

import msgspec


class Part(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One of text, raw (base64), url, data."""

    text: str | None = None
    raw: str | None = None
    url: str | None = None
    data: Any = None
    media_type: str | None = None
    filename: str | None = None


class Said(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A2A calls it Message."""

    parts: tuple[Part, ...] = ()
    context_id: str | None = None
    task_id: str | None = None


class Status(msgspec.Struct, frozen=True, kw_only=True):
    state: str = ""
    message: Said | None = None


class RemoteArtifact(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    artifact_id: str
    parts: tuple[Part, ...] = ()
    name: str | None = None


class Task(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    id: str
    status: Status = Status()
    artifacts: tuple[RemoteArtifact, ...] = ()


class StatusUpdate(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    task_id: str
    status: Status


class ArtifactUpdate(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    task_id: str
    artifact: RemoteArtifact
    append: bool = False


class StreamEvent(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Exactly one of them; also the answer of a send that is not streamed."""

    task: Task | None = None
    message: Said | None = None
    status_update: StatusUpdate | None = None
    artifact_update: ArtifactUpdate | None = None


class RpcError(msgspec.Struct, frozen=True):
    code: int


class RpcReply(msgspec.Struct, frozen=True):
    result: StreamEvent | None = None
    error: RpcError | None = None


class Interface(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    url: str
    protocol_binding: str
    protocol_version: str = ""
    tenant: str = ""


class Extension(msgspec.Struct, frozen=True):
    uri: str = ""
    required: bool = False


class Capabilities(msgspec.Struct, frozen=True):
    streaming: bool = False
    extensions: tuple[Extension, ...] = ()


class RemoteSkill(msgspec.Struct, frozen=True):
    id: str
    name: str
    description: str = ""
    tags: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()


class Provider(msgspec.Struct, frozen=True):
    organization: str = ""


class CardDocument(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The agent card. `protocol_version` stands on the card itself only in 0.x."""

    name: str
    description: str = ""
    supported_interfaces: tuple[Interface, ...] = ()
    capabilities: Capabilities = Capabilities()
    skills: tuple[RemoteSkill, ...] = ()
    provider: Provider | None = None
    protocol_version: str | None = None


decode_card = msgspec.json.Decoder(CardDocument).decode
decode_event = msgspec.json.Decoder(StreamEvent).decode
decode_rpc = msgspec.json.Decoder(RpcReply).decode
