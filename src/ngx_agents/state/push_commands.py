"""The outbox: what is POSTed to addresses of others, as the journal is told and asked of it. Part of `commands`.

The database adds an entry for each webhook of a task or turn when that begins or ends, in the same transaction;
`AddPost` adds one of any other kind. Entries of one webhook (subject and id) are sent in the order of their numbers,
one at a time: the next is due when the one before is gone or dead.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from ngx_agents.state.model import Owner, TurnStatus
from ngx_agents.state.task_commands import PushConfig

PushVerdict = Literal["sent", "later", "dead", "disabled"]


class AddPost(msgspec.Struct, frozen=True, kw_only=True):
    """→ None. An entry with its content, of a `kind` that the sender knows. `subject` is what it is about.

    `body` is the caller's record of the webhook, its secrets sealed.
    """

    owner: Owner
    kind: str
    subject: str
    webhook_id: str
    url: str
    body: bytes
    content: bytes
    now: float


class ClaimPushes(msgspec.Struct, frozen=True, kw_only=True):
    """→ tuple[DuePush, ...]: what is due now and nobody sends; the caller's for `lease_s`.

    The first of each owner comes before the second of any, and the oldest first. An owner is given as many as make
    `per_owner` with those of theirs that the caller is at (`held`).
    """

    instance: str
    now: float
    limit: int
    lease_s: float
    per_owner: int = 4
    held: tuple[tuple[Owner, int], ...] = ()


class DuePush(msgspec.Struct, frozen=True, kw_only=True):
    """An entry: a turn came to `status`, or what `content` says; `is_last` when no other turn of a task was open then.

    `step` is how many of the events that this makes were acknowledged already; `attempts` how often the next failed.
    `agent` is that of the task or turn that it is about.
    """

    number: int
    owner: Owner
    kind: str
    subject: str
    config: PushConfig
    at: float
    is_last: bool
    step: int
    attempts: int
    turn_id: str | None = None
    status: TurnStatus | None = None
    content: bytes | None = None
    agent: str | None = None


class SettlePush(msgspec.Struct, frozen=True, kw_only=True):
    """→ None. What became of a claimed entry; nothing when another instance has claimed it since.

    `sent`: gone. `later`: due again at `due_at`. `dead`: kept with its `reason`. `disabled`: the webhook gets no more.
    """

    number: int
    instance: str
    owner: Owner
    verdict: PushVerdict
    now: float
    step: int = 0
    attempts: int = 0
    due_at: float = 0.0
    reason: str = ""


class ListDeadPushes(msgspec.Struct, frozen=True, kw_only=True):
    """→ tuple[DeadPush, ...] of any owner, the newest first. For operators."""

    limit: int = 100


class DeadPush(msgspec.Struct, frozen=True, kw_only=True):
    number: int
    owner: Owner
    kind: str
    subject: str
    webhook_id: str
    url: str
    status: TurnStatus | None
    attempts: int
    reason: str
    at: float


class ReplayPush(msgspec.Struct, frozen=True, kw_only=True):
    """→ bool: whether there was such a dead entry. It is due at once, its attempts counted anew."""

    number: int
    owner: Owner
    now: float
