"""What the tools take: strict, like every body of the edge; their JSON Schemas are made from these records."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from ngx_agents.gateway.wire import AgentId, Locale, TurnText

Limit = Annotated[int, Meta(ge=1, le=100, description="How many to give at most.")]
Cursor = Annotated[str, Meta(max_length=500, description="`next` of the list before this one.")]
ConversationId = Annotated[str, Meta(max_length=64, description="A conversation of yours, as ask_team gave it.")]


class Ask(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ask the team and wait for its answer. Give conversation_id to go on where an earlier answer ended."""

    text: Annotated[TurnText, Meta(description="What to ask, in Spanish or English.")]
    agent: Annotated[AgentId, Meta(description="One agent's id (list_agents); left out, the team chooses.")] | None = (
        None
    )
    conversation_id: ConversationId | None = None
    locale: Annotated[Locale, Meta(description="Language of the answer, such as es-MX.")] | None = None


class Nothing(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class Listing(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    limit: Limit = 20
    cursor: Cursor | None = None


class Reading(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    conversation_id: ConversationId
    limit: Limit = 50
    cursor: Cursor | None = None


class OneArtifact(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    artifact_id: Annotated[str, Meta(max_length=64, description="As list_artifacts and ask_team give it.")]


def schema_of(kind: type[Struct]) -> dict[str, Any]:
    """The JSON Schema of an object, nothing referenced."""
    [(_, schema)] = msgspec.json.schema_components([kind])[1].items()
    schema.pop("title", None)
    schema.pop("description", None)
    found: dict[str, Any] = schema
    return found
