"""What the journal can be told (commands) and asked (questions). A new need is a new Struct here, not a new method.

Commands of one `transact` call are applied in order, in one transaction with whatever else is waiting; each succeeds
or fails alone. The class attribute comments name the result of each.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ngx_agents.state.batch_commands import AddBatchItems as AddBatchItems
from ngx_agents.state.batch_commands import Batch as Batch
from ngx_agents.state.batch_commands import BatchCounts as BatchCounts
from ngx_agents.state.batch_commands import BatchItem as BatchItem
from ngx_agents.state.batch_commands import BatchResult as BatchResult
from ngx_agents.state.batch_commands import CancelBatch as CancelBatch
from ngx_agents.state.batch_commands import CreateBatch as CreateBatch
from ngx_agents.state.batch_commands import DropBatch as DropBatch
from ngx_agents.state.batch_commands import GetBatch as GetBatch
from ngx_agents.state.batch_commands import KeyedBatch as KeyedBatch
from ngx_agents.state.batch_commands import ListBatches as ListBatches
from ngx_agents.state.batch_commands import ListBatchResults as ListBatchResults
from ngx_agents.state.batch_commands import OpenBatch as OpenBatch
from ngx_agents.state.batch_commands import OpenBatches as OpenBatches
from ngx_agents.state.batch_commands import SettleBatch as SettleBatch
from ngx_agents.state.batch_commands import StartBatch as StartBatch
from ngx_agents.state.batch_commands import TakeItems as TakeItems
from ngx_agents.state.batch_commands import Taken as Taken
from ngx_agents.state.blob_commands import DeleteBlob as DeleteBlob
from ngx_agents.state.blob_commands import FindBlobs as FindBlobs
from ngx_agents.state.blob_commands import GetBlob as GetBlob
from ngx_agents.state.blob_commands import KnownBlobs as KnownBlobs
from ngx_agents.state.blob_commands import ListBlobs as ListBlobs
from ngx_agents.state.blob_commands import PutBlob as PutBlob
from ngx_agents.state.budget_commands import ForgetBudgets as ForgetBudgets
from ngx_agents.state.budget_commands import GiveBudget as GiveBudget
from ngx_agents.state.budget_commands import ListMeters as ListMeters
from ngx_agents.state.budget_commands import Meter as Meter
from ngx_agents.state.budget_commands import Slice as Slice
from ngx_agents.state.budget_commands import SpentMeters as SpentMeters
from ngx_agents.state.budget_commands import TakeBudget as TakeBudget
from ngx_agents.state.governance import Audited as Audited
from ngx_agents.state.governance import AuditEntry as AuditEntry
from ngx_agents.state.governance import Control as Control
from ngx_agents.state.governance import ForgetRevocations as ForgetRevocations
from ngx_agents.state.governance import ListAudit as ListAudit
from ngx_agents.state.governance import ListControls as ListControls
from ngx_agents.state.governance import PutControl as PutControl
from ngx_agents.state.governance import WriteAudit as WriteAudit
from ngx_agents.state.model import (
    Answer,
    Artifact,
    Durability,
    EffectState,
    LogEntry,
    Message,
    Owner,
    Profile,
    WhenBusy,
)
from ngx_agents.state.operations import Beat as Beat
from ngx_agents.state.operations import GetPosition as GetPosition
from ngx_agents.state.operations import GetTime as GetTime
from ngx_agents.state.operations import HeldLane as HeldLane
from ngx_agents.state.operations import HeldLanes as HeldLanes
from ngx_agents.state.operations import Holder as Holder
from ngx_agents.state.operations import HolderOf as HolderOf
from ngx_agents.state.operations import Instance as Instance
from ngx_agents.state.operations import Leave as Leave
from ngx_agents.state.operations import ListDead as ListDead
from ngx_agents.state.operations import ListInstances as ListInstances
from ngx_agents.state.operations import ListShardPlaces as ListShardPlaces
from ngx_agents.state.operations import Position as Position
from ngx_agents.state.operations import ReplayTurn as ReplayTurn
from ngx_agents.state.operations import ShardPlace as ShardPlace
from ngx_agents.state.push_commands import AddPost as AddPost
from ngx_agents.state.push_commands import ClaimPushes as ClaimPushes
from ngx_agents.state.push_commands import ListDeadPushes as ListDeadPushes
from ngx_agents.state.push_commands import ReplayPush as ReplayPush
from ngx_agents.state.push_commands import SettlePush as SettlePush
from ngx_agents.state.questions import Checkpoints as Checkpoints
from ngx_agents.state.questions import Effects as Effects
from ngx_agents.state.questions import ExportUser as ExportUser
from ngx_agents.state.questions import FindKey as FindKey
from ngx_agents.state.questions import GetArtifact as GetArtifact
from ngx_agents.state.questions import GetConversation as GetConversation
from ngx_agents.state.questions import GetProfile as GetProfile
from ngx_agents.state.questions import GetTurn as GetTurn
from ngx_agents.state.questions import KeysThatHold as KeysThatHold
from ngx_agents.state.questions import ListArtifacts as ListArtifacts
from ngx_agents.state.questions import ListConversations as ListConversations
from ngx_agents.state.questions import ListKeys as ListKeys
from ngx_agents.state.questions import ListLogs as ListLogs
from ngx_agents.state.questions import ListMessages as ListMessages
from ngx_agents.state.questions import Ping as Ping
from ngx_agents.state.questions import RecentMessages as RecentMessages
from ngx_agents.state.schedule_commands import DeleteSchedule as DeleteSchedule
from ngx_agents.state.schedule_commands import DueSchedules as DueSchedules
from ngx_agents.state.schedule_commands import Fired as Fired
from ngx_agents.state.schedule_commands import FireSchedule as FireSchedule
from ngx_agents.state.schedule_commands import GetSchedule as GetSchedule
from ngx_agents.state.schedule_commands import ListSchedules as ListSchedules
from ngx_agents.state.schedule_commands import PutSchedule as PutSchedule
from ngx_agents.state.schedule_commands import Schedule as Schedule
from ngx_agents.state.state_commands import Append as Append
from ngx_agents.state.state_commands import Expire as Expire
from ngx_agents.state.state_commands import GetConsents as GetConsents
from ngx_agents.state.state_commands import GetStamp as GetStamp
from ngx_agents.state.state_commands import GetState as GetState
from ngx_agents.state.state_commands import PutConsent as PutConsent
from ngx_agents.state.state_commands import PutState as PutState
from ngx_agents.state.state_commands import ReadProfile as ReadProfile
from ngx_agents.state.state_commands import TryElect as TryElect
from ngx_agents.state.task_commands import DeletePush as DeletePush
from ngx_agents.state.task_commands import EndTask as EndTask
from ngx_agents.state.task_commands import GetTask as GetTask
from ngx_agents.state.task_commands import ListPushes as ListPushes
from ngx_agents.state.task_commands import ListTasks as ListTasks
from ngx_agents.state.task_commands import PushConfig as PushConfig
from ngx_agents.state.task_commands import PutPush as PutPush
from ngx_agents.state.task_commands import TaskEntry as TaskEntry
from ngx_agents.state.webhook_commands import ChangeWebhook as ChangeWebhook
from ngx_agents.state.webhook_commands import CreateWebhook as CreateWebhook
from ngx_agents.state.webhook_commands import DeleteWebhook as DeleteWebhook
from ngx_agents.state.webhook_commands import GetWebhook as GetWebhook
from ngx_agents.state.webhook_commands import ListWebhooks as ListWebhooks
from ngx_agents.state.webhook_commands import TryWebhook as TryWebhook
from ngx_agents.state.webhook_commands import Webhook as Webhook


class CreateConversation(msgspec.Struct, frozen=True, kw_only=True):
    """→ None. One that is not listed is found by its id alone."""

    id: str
    owner: Owner
    title: str
    now: float
    is_listed: bool = True


class DeleteConversation(msgspec.Struct, frozen=True, kw_only=True):
    """→ bool: whether it was there. Its turns, messages and artifacts go too. Raises ConversationBusy."""

    id: str
    owner: Owner


class ImportMessages(msgspec.Struct, frozen=True, kw_only=True):
    """→ None. Appends what was said elsewhere, oldest first. Raises NotFound, ConversationBusy while a turn is open."""

    conversation_id: str
    owner: Owner
    messages: tuple[Message, ...]
    now: float


class AcceptTurn(msgspec.Struct, frozen=True, kw_only=True):
    """→ Accepted. Raises NotFound, ConversationBusy, IdempotencyConflict, Overloaded (too many waiting).

    `idempotency_hash` covers path and body. `grant_to` names the instance that gets the lane if it is free.
    `deadline_at` and `now` are Unix seconds. `attachments` are ids, which the caller has looked at. A message is
    coalesced into a waiting turn of the same agent and class alone, if neither has attachments, task or webhook.
    With `task` the turn is one of a task, and what TaskEntry names is raised. `push` is a webhook of that task, or
    (kind `turn`) of the turn. A free lane waits as if accepted `behind_s` later. `trail` is what other servers told of
    its way.
    """

    conversation_id: str
    owner: Owner
    turn_id: str
    message_id: str
    text: str
    turn_class: int
    when_busy: WhenBusy
    now: float
    deadline_at: float
    grant_to: str | None
    agent: str | None = None
    locale: str | None = None
    idempotency_key: str | None = None
    idempotency_hash: bytes = b""
    max_waiting: int = 100
    attachments: tuple[str, ...] = ()
    task: TaskEntry | None = None
    push: PushConfig | None = None
    behind_s: float = 0.0
    trail: str | None = None


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """`epoch` is set when the lane was granted with the acceptance. `position` is how many turns stand before it.

    `interrupt` names the running turn to be cancelled (busy policy `interrupt`). `replayed`: the key was known and
    `turn_id` is the turn of the first call. `coalesced`: the text went into the waiting turn `turn_id`.
    `user_seq` is the sequence number of the user's message in the conversation. `profile_version` is that of the
    owner's profile when the turn was accepted: 0 when there is none, None when it is not known.
    """

    turn_id: str
    position: int
    user_seq: int = 0
    epoch: int | None = None
    interrupt: str | None = None
    replayed: bool = False
    coalesced: bool = False
    durability: Durability = "journal"
    profile_version: int | None = None


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """A lane granted to an instance: it may run this turn and write it with this epoch, and nobody else may.

    `profile_version` as in Accepted, when it was granted.
    """

    conversation_id: str
    owner: Owner
    turn_id: str
    epoch: int
    attempts: int
    text: str
    turn_class: int
    accepted_at: float
    deadline_at: float
    user_seq: int
    cancel_requested: bool
    agent: str | None = None
    locale: str | None = None
    profile_version: int | None = None
    attachments: tuple[str, ...] = ()
    trail: str | None = None


class FinishTurn(msgspec.Struct, frozen=True, kw_only=True):
    """→ Finished. Raises LeaseLost, having written nothing, unless the lane's granted epoch is `epoch`.

    Writes the assistant's message (if any; it holds the answer's text), artifacts, answer, usage and lane release at
    once, and grants the next waiting turn of the lane to `grant_to`. `has_checkpoints`: there may be some to clear.
    """

    conversation_id: str
    owner: Owner
    turn_id: str
    user_seq: int
    epoch: int
    status: str
    answer: Answer
    last_seq: int
    now: float
    message: Message | None = None
    artifacts: tuple[Artifact, ...] = ()
    grant_to: str | None = None
    has_checkpoints: bool = False


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """`message_seq` is what the stored assistant message got; `next` the lane's next turn, already granted."""

    message_seq: int | None = None
    next: Grant | None = None
    durability: Durability = "journal"


class SaveCheckpoint(msgspec.Struct, frozen=True, kw_only=True):
    """→ None. Raises LeaseLost. Replaces what `key` held; gone when the turn finishes."""

    conversation_id: str
    turn_id: str
    epoch: int
    key: str
    value: bytes


class RecordEffect(msgspec.Struct, frozen=True, kw_only=True):
    """→ EffectState | None: the state it had before. Raises LeaseLost. `intended` is recorded before it runs."""

    conversation_id: str
    turn_id: str
    epoch: int
    key: str
    state: EffectState
    now: float
    result: bytes = b""


class RequestCancel(msgspec.Struct, frozen=True, kw_only=True):
    """→ TurnStatus after the call: `cancelled` when it was waiting, `running` when the owner has to stop it.

    Raises NotFound, TurnFinished.
    """

    turn_id: str
    owner: Owner
    now: float


class ReleaseLane(msgspec.Struct, frozen=True, kw_only=True):
    """→ None. Gives an unfinished turn back to be claimed, if `epoch` is still the granted one."""

    conversation_id: str
    epoch: int


class PutProfile(msgspec.Struct, frozen=True, kw_only=True):
    """→ None."""

    owner: Owner
    profile: Profile
    now: float


KEYED_CHARS = 20


class AddLog(msgspec.Struct, frozen=True, kw_only=True):
    """→ bool: False when an entry of this id is there already (the first stays).

    `is_keyed`: the first `KEYED_CHARS` of the id follow from a caller's key, the rest from what was sent; another
    that begins so raises IdempotencyConflict. With `lease` (conversation, turn, epoch) only for the turn that holds the
    lane; else raises LeaseLost.
    """

    owner: Owner
    entry: LogEntry
    lease: tuple[str, str, int] | None = None
    is_keyed: bool = False


class PutKey(msgspec.Struct, frozen=True, kw_only=True):
    """→ None. An API key, stored as SHA-256 of the secret."""

    key: ApiKey


class RevokeKey(msgspec.Struct, frozen=True, kw_only=True):
    """→ bool: whether it was there. The first time stays."""

    digest: bytes
    now: float


class EndKey(msgspec.Struct, frozen=True, kw_only=True):
    """→ None. It holds until `at` at the longest; an earlier end stays. Raises NotFound for none, and a revoked one."""

    digest: bytes
    at: float


class TouchKey(msgspec.Struct, frozen=True, kw_only=True):
    """→ None. The key was used at `at`; an earlier time than the known one changes nothing."""

    digest: bytes
    at: float


class EraseUser(msgspec.Struct, frozen=True, kw_only=True):
    """→ dict[str, int]: rows erased per kind. Raises ConversationBusy while a turn is open."""

    owner: Owner


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """`agents` are the only ones it may ask, all when empty. Before it expires or is revoked, it holds."""

    id: str
    digest: bytes
    owner: Owner
    roles: tuple[str, ...]
    created_at: float
    revoked_at: float | None = None
    name: str = ""
    agents: tuple[str, ...] = ()
    expires_at: float | None = None
    last_used_at: float | None = None

    def holds_at(self, now_s: float) -> bool:
        return self.revoked_at is None and (self.expires_at is None or now_s < self.expires_at)


Command = (
    CreateConversation | DeleteConversation | ImportMessages | AcceptTurn | FinishTurn | SaveCheckpoint | RecordEffect
    | RequestCancel | ReleaseLane | PutProfile | AddLog | PutKey | RevokeKey | EraseUser | Beat | Leave | ReplayTurn
    | PutState | Append | PutBlob | DeleteBlob | PutConsent | Expire | TryElect | PutControl | WriteAudit | Audited
    | EndKey | TouchKey | TakeBudget | GiveBudget | ForgetBudgets | ForgetRevocations
    | PutSchedule | DeleteSchedule | FireSchedule | CreateBatch | AddBatchItems | StartBatch | DropBatch
    | TakeItems | CancelBatch | SettleBatch
    | EndTask | PutPush | DeletePush | ClaimPushes | SettlePush | ReplayPush | AddPost
    | CreateWebhook | ChangeWebhook | DeleteWebhook | TryWebhook
)  # fmt: skip
Question = (
    GetConversation | ListConversations | ListMessages | RecentMessages | GetTurn | Checkpoints | Effects | GetProfile
    | ListLogs | ListArtifacts | GetArtifact | FindKey | KeysThatHold | ListKeys | ExportUser | HolderOf | HeldLanes
    | ListInstances | ListDead | Ping | GetPosition | ListShardPlaces | GetStamp | GetState | GetBlob | GetConsents
    | ReadProfile | GetTime | ListMeters | SpentMeters | ListControls | ListAudit | FindBlobs | ListBlobs | KnownBlobs
    | GetSchedule | ListSchedules | DueSchedules | GetBatch | KeyedBatch | ListBatches | ListBatchResults | OpenBatches
    | GetTask | ListTasks | ListPushes | ListDeadPushes | GetWebhook | ListWebhooks
)  # fmt: skip
Result = Any
