"""Bodies that callers send and that the edge answers with, where no lower room has the record.

Strict: an unknown field or a wrong type is refused. Times are Unix seconds.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

from ngx_agents.state.model import (
    Artifact,
    ConversationInfo,
    LogEntry,
    LogKind,
    Profile,
    Source,
    TurnStatus,
    WhenBusy,
)
from ngx_agents.state.state_commands import Consent
from ngx_agents.turns.attachments import MAX_ATTACHMENTS

MAX_TEXT_CHARS = 32_000
# says in the document what `decode.text_of` checks: not blank, no NUL
SAYS_SOMETHING: dict[str, Any] = {"pattern": r"^[^\u0000]*[^\s\u0000][^\u0000]*$"}
TurnText = Annotated[str, Meta(min_length=1, max_length=MAX_TEXT_CHARS, extra_json_schema=SAYS_SOMETHING)]
Word = Annotated[str, Meta(min_length=1, max_length=200)]
Words = Annotated[list[Word], Meta(max_length=50)]
Locale = Annotated[str, Meta(pattern=r"^[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8}){0,3}$", max_length=35)]
AgentId = Annotated[str, Meta(min_length=1, max_length=64)]
AttachmentId = Annotated[str, Meta(pattern="^b_[0-9a-f]{2}[0-9A-HJKMNP-TV-Z]{26}$")]
Urgency = Annotated[
    int, Meta(ge=0, le=3, description="0 critical (operators only), 1 interactive, 2 background, 3 batch.")
]


class WebhookBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where to tell of the end, and the key to sign with: `whsec_` and 24 to 64 bytes in base64 (Standard Webhooks)."""

    url: Annotated[str, Meta(min_length=1, max_length=2048)]
    secret: Annotated[str, Meta(pattern="^whsec_[A-Za-z0-9+/]{32,88}={0,2}$", max_length=100)]


class TurnBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One message to be answered. `agent` asks for one agent of the team; without it the router chooses.

    `attachments` are ids of what was sent to `/v1/me/attachments` before. `webhook` is told when the turn has ended.
    """

    text: TurnText
    agent: AgentId | None = None
    turn_class: Urgency = field(default=1, name="class")
    when_busy: WhenBusy = "enqueue"
    locale: Locale | None = None
    attachments: Annotated[tuple[AttachmentId, ...], Meta(max_length=MAX_ATTACHMENTS)] = ()
    webhook: WebhookBody | None = None


class ConversationBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new conversation."""

    title: Annotated[str, Meta(max_length=200)] = ""


class LogBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something the user logs. `data` has its kind's fields, for weight `{"kg": 81.2}`; `at` defaults to now."""

    kind: LogKind
    data: Annotated[dict[Word, Any], Meta(min_length=1, max_length=50)]
    at: Annotated[float, Meta(ge=0, le=32_503_680_000)] | UnsetType = UNSET


class ConsentBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the user decided, shown the text that `version` names."""

    version: Word
    is_given: bool


class ConsentList(Struct, frozen=True):
    """The latest decision of each kind."""

    items: tuple[Consent, ...]


class ProfileBody(Profile, frozen=False, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the user tells about themselves; replaces all that was stored. Centimetres, kilograms, years."""

    name: Word | None = None
    age: Annotated[int, Meta(ge=0, le=130)] | None = None
    height_cm: Annotated[float, Meta(ge=30, le=280)] | None = None
    weight_kg: Annotated[float, Meta(ge=2, le=700)] | None = None
    role: Word | None = None
    goals: Words = field(default_factory=list)
    restrictions: Words = field(default_factory=list)
    allergies: Words = field(default_factory=list)
    injuries: Words = field(default_factory=list)
    equipment: Words = field(default_factory=list)
    conditions: Words = field(default_factory=list)
    medication: Words = field(default_factory=list)
    programme: Word | None = None
    locale: Locale | None = None


class MessageView(Struct, frozen=True, kw_only=True):
    """One message of a conversation; `seq` grows with it. An answer tells what its turn told of its origin.

    Imported messages have no turn.
    """

    id: str
    seq: int
    role: Literal["user", "assistant"]
    agent: str | None
    text: str
    created_at: float
    source: Source | None
    turn_id: str | None
    rung: str | None
    model: str | None
    degraded: bool


class ConversationPage(Struct, frozen=True):
    """`next` is the cursor of the next page, null on the last."""

    items: tuple[ConversationInfo, ...]
    next: str | None = None


class MessagePage(Struct, frozen=True):
    items: tuple[MessageView, ...]
    next: str | None = None


class LogPage(Struct, frozen=True):
    items: tuple[LogEntry, ...]
    next: str | None = None


class ArtifactPage(Struct, frozen=True):
    items: tuple[Artifact, ...]
    next: str | None = None


class AttachmentView(Struct, frozen=True, kw_only=True):
    """An attachment without its bytes. `sha256` is hexadecimal. With a conversation it goes when that goes."""

    id: str
    media_type: str
    size_bytes: int
    sha256: str
    created_at: float
    name: str | None
    conversation_id: str | None


class AttachmentPage(Struct, frozen=True):
    items: tuple[AttachmentView, ...]
    next: str | None = None


class CancelReply(Struct, frozen=True, kw_only=True):
    """`status` is `cancelled`, or `running` while the turn is still being stopped."""

    turn_id: str
    status: TurnStatus


class LogReply(Struct, frozen=True, kw_only=True):
    """`added` is false when this entry was there already."""

    id: str
    added: bool


class EraseReply(Struct, frozen=True, kw_only=True):
    """How many rows of each kind were erased."""

    erased: dict[str, int]


class Liveness(Struct, frozen=True, kw_only=True):
    """`loop_lag_s` is how long the event loop took to come round."""

    status: Literal["alive"]
    loop_lag_s: float


class Readiness(Struct, frozen=True, kw_only=True):
    """`mode` with its `reasons` is how the server operates, `journal` the journal's mode, `model` what answers."""

    status: Literal["ready", "not_ready"]
    mode: str
    reasons: tuple[str, ...]
    journal: str
    model: str
