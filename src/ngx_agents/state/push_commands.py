"""The outbox of webhooks, as the journal is told and asked of it. Part of `commands`.

The database adds an entry for each webhook of a task whenever one of its turns begins or ends. Entries of one webhook
are sent in the order of their numbers, one at a time: the next is due when the one before is gone or dead.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from ngx_agents.state.model import Owner, TurnStatus
from ngx_agents.state.task_commands import PushConfig

PushVerdict = Literal["sent", "later", "dead", "disabled"]


class ClaimPushes(msgspec.Struct, frozen=True, kw_only=True):
    """→ tuple[DuePush, ...]: what is due now and nobody sends, the oldest first; the caller's for `lease_s`."""

    instance: str
    now: float
    limit: int
    lease_s: float


class DuePush(msgspec.Struct, frozen=True, kw_only=True):
    """An entry: a turn of a task came to `status`; `is_last` when no other turn of it was open then.

    `step` is how many of the events that this makes were acknowledged already; `attempts` how often the next failed.
    """

    number: int
    owner: Owner
    agent: str | None
    task_id: str
    turn_id: str
    status: TurnStatus
    is_last: bool
    at: float
    step: int
    attempts: int
    config: PushConfig


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
    task_id: str
    config_id: str
    url: str
    status: TurnStatus
    attempts: int
    reason: str
    at: float


class ReplayPush(msgspec.Struct, frozen=True, kw_only=True):
    """→ bool: whether there was such a dead entry. It is due at once, its attempts counted anew."""

    number: int
    owner: Owner
    now: float
