"""The table of all calls. The router and the OpenAPI document are both made from it."""

from __future__ import annotations

from ngx_agents.gateway import wire
from ngx_agents.gateway.admin.operations import admin_operations
from ngx_agents.gateway.agents import AgentRoutes
from ngx_agents.gateway.attachment_operations import attachment_operations
from ngx_agents.gateway.attachments import AttachmentRoutes
from ngx_agents.gateway.batch_operations import batch_operations
from ngx_agents.gateway.batches import BatchRoutes
from ngx_agents.gateway.conversations import ConversationRoutes
from ngx_agents.gateway.deps import GatewayDeps
from ngx_agents.gateway.documents import DocumentRoutes
from ngx_agents.gateway.health import HealthRoutes
from ngx_agents.gateway.mcp.operations import mcp_operations
from ngx_agents.gateway.mcp.routes import McpRoutes
from ngx_agents.gateway.me import MeRoutes
from ngx_agents.gateway.openai import ChatRoutes
from ngx_agents.gateway.openai_wire import ChatBody, ChatCompletion, ModelCard, ModelList
from ngx_agents.gateway.operation import (
    CURSOR,
    EVENT_STREAM,
    HTML,
    IDEMPOTENCY_KEY,
    LIMIT,
    PLAIN,
    Operation,
    Parameter,
)
from ngx_agents.gateway.operation import operation_of as _operation
from ngx_agents.gateway.schedules import ScheduleRoutes, schedule_operations
from ngx_agents.gateway.settings import GatewaySettings
from ngx_agents.gateway.turns import TurnRoutes
from ngx_agents.gateway.webhooks import WebhookRoutes, webhook_operations
from ngx_agents.state.model import Artifact, ConversationInfo, Profile
from ngx_agents.state.state_commands import Consent
from ngx_agents.turns.model import TurnView

PREFER = Parameter(
    name="Prefer",
    place="header",
    schema={"type": "string"},
    description="`respond-async`: 202 as soon as the message is durable; with `wait=10` not before 10 s are over.",
)
TIMEOUT = Parameter(
    name="X-Server-Timeout",
    place="header",
    schema={"type": "string", "pattern": r"^[0-9]{1,6}(\.[0-9]{1,6})?$"},
    description="Seconds that the whole turn may take; its class bounds them.",
)
LAST_EVENT_ID = Parameter(
    name="Last-Event-ID",
    place="header",
    schema={"type": "string", "pattern": "^[0-9]{1,12}-[0-9]{1,12}$"},
    description="The id of the last event that arrived; the stream goes on after it.",
)
KIND = Parameter(
    name="kind",
    place="query",
    schema={"enum": ["weight", "sleep", "workout", "check_in", "nutrition"]},
    description="Only this kind.",
)
SINCE = Parameter(
    name="since",
    place="query",
    schema={"type": "number", "minimum": 0, "maximum": 32503680000},
    description="Unix seconds, inclusive.",
)
OF_TURN = Parameter(name="turn_id", place="query", schema={"type": "string"}, description="Only what this turn left.")


def all_operations(deps: GatewayDeps, settings: GatewaySettings) -> list[Operation]:
    operations = [
        *_conversations(ConversationRoutes(deps)),
        *_turns(TurnRoutes(deps, settings.max_body_bytes, max_streams=settings.max_streams)),
        *batch_operations(BatchRoutes(deps, settings)),
        *schedule_operations(ScheduleRoutes(deps, settings)),
        *webhook_operations(WebhookRoutes(deps, settings)),
        *_agents(AgentRoutes(deps)),
        *_me(MeRoutes(deps)),
        *attachment_operations(AttachmentRoutes(deps, settings.attachments_bytes)),
        *_openai(ChatRoutes(deps, settings)),
        *mcp_operations(McpRoutes(deps, settings.max_body_bytes)),
        *admin_operations(deps, settings.auth),
        *_health(HealthRoutes(deps)),
    ]
    operations.extend(_documents(DocumentRoutes(operations)))
    return operations


def _conversations(routes: ConversationRoutes) -> list[Operation]:
    one = "/v1/conversations/{conversation_id}"
    return [
        _operation(
            "POST /v1/conversations", routes.create, summary="Begin a conversation",
            answers={201: (ConversationInfo,)}, body=wire.ConversationBody,
        ),
        _operation(
            "GET /v1/conversations", routes.index, summary="List the caller's conversations, newest first",
            answers={200: (wire.ConversationPage,)}, parameters=(LIMIT, CURSOR),
        ),
        _operation(f"GET {one}", routes.show, summary="One conversation", answers={200: (ConversationInfo,)}),
        _operation(
            f"DELETE {one}", routes.delete, summary="Delete a conversation and all that is in it",
            answers={204: ()},
        ),
        _operation(
            f"GET {one}/messages", routes.messages, summary="The messages of a conversation, in order",
            answers={200: (wire.MessagePage,)}, parameters=(LIMIT, CURSOR),
        ),
    ]  # fmt: skip


def _turns(routes: TurnRoutes) -> list[Operation]:
    return [
        _operation(
            "POST /v1/conversations/{conversation_id}/turns", routes.submit,
            summary="Say something and get the answer: whole, as events, or later",
            answers={200: (TurnView, EVENT_STREAM), 202: (TurnView,)}, body=wire.TurnBody,
            parameters=(IDEMPOTENCY_KEY, PREFER, TIMEOUT),
        ),
        _operation("GET /v1/turns/{turn_id}", routes.show, summary="A turn as it stands", answers={200: (TurnView,)}),
        _operation(
            "GET /v1/turns/{turn_id}/events", routes.events, summary="The events of a turn, resumable",
            answers={200: (EVENT_STREAM,)}, parameters=(LAST_EVENT_ID,),
        ),
        _operation(
            "POST /v1/turns/{turn_id}/cancel", routes.cancel, summary="Cancel a turn",
            answers={200: (wire.CancelReply,)},
        ),
    ]  # fmt: skip


def _agents(routes: AgentRoutes) -> list[Operation]:
    return [
        _operation("GET /v1/agents", routes.index, summary="The team", answers={200: (routes.page,)}),
        _operation(
            "GET /v1/agents/{agent_id}", routes.show, summary="One agent and its skills", answers={200: (routes.card,)}
        ),
    ]


def _me(routes: MeRoutes) -> list[Operation]:
    return [
        _operation("GET /v1/me/profile", routes.profile, summary="The caller's profile", answers={200: (Profile,)}),
        _operation(
            "PUT /v1/me/profile", routes.put_profile, summary="Replace the profile",
            answers={200: (Profile,)}, body=wire.ProfileBody,
        ),
        _operation(
            "GET /v1/me/consents", routes.consents, summary="What the caller agreed to, and to which text",
            answers={200: (wire.ConsentList,)},
        ),
        _operation(
            "PUT /v1/me/consents/{kind}", routes.put_consent, summary="Agree to something, or no longer",
            answers={200: (Consent,)}, body=wire.ConsentBody,
        ),
        _operation(
            "POST /v1/me/logs", routes.add_log, summary="Log weight, sleep, a workout, a check-in or a meal",
            answers={200: (wire.LogReply,), 201: (wire.LogReply,)}, body=wire.LogBody, parameters=(IDEMPOTENCY_KEY,),
        ),
        _operation(
            "GET /v1/me/logs", routes.logs, summary="What was logged, newest first",
            answers={200: (wire.LogPage,)}, parameters=(KIND, SINCE, LIMIT, CURSOR),
        ),
        _operation(
            "GET /v1/me/artifacts", routes.artifacts, summary="Plans and reports, newest first",
            answers={200: (wire.ArtifactPage,)}, parameters=(OF_TURN, LIMIT, CURSOR),
        ),
        _operation(
            "GET /v1/me/artifacts/{artifact_id}", routes.artifact, summary="One plan or report",
            answers={200: (Artifact,)},
        ),
        _operation(
            "GET /v1/me/export", routes.export, summary="All that is stored about the caller",
            answers={200: (dict,)},
        ),
        _operation("DELETE /v1/me", routes.erase, summary="Erase all of it", answers={200: (wire.EraseReply,)}),
    ]  # fmt: skip


def _openai(routes: ChatRoutes) -> list[Operation]:
    return [
        _operation(
            "POST /v1/chat/completions", routes.complete, summary="Chat completions, as OpenAI's clients send them",
            answers={200: (ChatCompletion, EVENT_STREAM)}, body=ChatBody,
        ),
        _operation(
            "GET /v1/models", routes.models, summary="The names that `model` may have",
            answers={200: (ModelList,)},
        ),
        _operation("GET /v1/models/{model}", routes.model, summary="One such name", answers={200: (ModelCard,)}),
    ]  # fmt: skip


def _health(routes: HealthRoutes) -> list[Operation]:
    return [
        _operation(
            "GET /livez", routes.live, summary="Does the event loop turn", answers={200: (wire.Liveness,)}, is_open=True
        ),
        _operation(
            "GET /readyz", routes.ready, summary="Is the gate open, and in which mode",
            answers={200: (wire.Readiness,), 503: (wire.Readiness,)}, is_open=True,
        ),
        _operation("GET /metrics", routes.metrics, summary="Prometheus metrics", answers={200: (PLAIN,)}, is_open=True),
    ]  # fmt: skip


def _documents(routes: DocumentRoutes) -> list[Operation]:
    return [
        _operation("GET /openapi.json", routes.openapi, summary="This document", answers={200: (dict,)}, is_open=True),
        _operation("GET /docs", routes.page, summary="This document, to read", answers={200: (HTML,)}, is_open=True),
    ]
