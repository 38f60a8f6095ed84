"""What operators decide, as typed documents: the bodies of controls. Strict: an unknown field is refused.

Names of plans, flags and budgets are 1 to 64 of `a-z 0-9 . _ -`, not beginning with a sign. A tenant goes by its own
name, an account by tenant and user, a stop by what it stops; there is one mode, of the house.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from ngx_agents.errors import InvalidRequest
from ngx_agents.resilience.modes import MODES_BY_LABEL
from ngx_agents.state.governance import ControlKind

MAX_NAME_CHARS = 200
HOUSE = "house"
"""The name of the one mode."""
ACCOUNT_JOIN = "\n"
"""Between tenant and user of an account's id: no name may hold it."""
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_STOP = re.compile(r"all|(tenant|agent):[^\x00-\x1f\x7f]{1,200}")
Name = Annotated[str, Meta(min_length=1, max_length=MAX_NAME_CHARS)]
Names = Annotated[tuple[Name, ...], Meta(max_length=200)]
Turns = Annotated[int, Meta(ge=0, le=1_000_000_000)]
PlanName = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]


class Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The root of all bodies."""


class Plan(Document, frozen=True, kw_only=True):
    """What one user of a plan may do. Turns and bytes are counted in windows of the clock that begin at the user's own
    second, minute and hour. `running_turns` is the most that run or wait at once, `requests_per_minute` bounds requests
    of any kind."""

    requests_per_minute: Turns = 1_200
    turns_per_minute: Turns = 60
    turns_per_hour: Turns = 1_000
    turns_per_day: Turns = 10_000
    bytes_per_day: Annotated[int, Meta(ge=0, le=2**50)] = 1_073_741_824
    running_turns: Turns = 50


class Tenant(Document, frozen=True, kw_only=True):
    """A customer. `running_turns` bounds all its users together; None does not."""

    plan: PlanName = "default"
    running_turns: Turns | None = None
    may_be_critical: bool = False
    is_suspended: bool = False


class Account(Document, frozen=True, kw_only=True):
    """What is otherwise for one user than for their tenant; what is None is as there."""

    plan: PlanName | None = None
    may_be_critical: bool | None = None
    is_suspended: bool = False


class Flag(Document, frozen=True, kw_only=True):
    """On for those named, and for `share_percent` of the users of everybody else.

    `tenants` and `plans`, where given, narrow the share to them; `users` are `tenant/user` and are always on.
    """

    is_on: bool = True
    share_percent: Annotated[float, Meta(ge=0, le=100)] = 0.0
    tenants: Names = ()
    plans: Names = ()
    users: Names = ()

    def __post_init__(self) -> None:
        if any("/" not in user for user in self.users):
            raise ValueError("users are named tenant/user")


BudgetScope = Literal["tenant", "user", "agent", "conversation", "turn"]
BudgetPeriod = Literal["day", "month", "total"]
BudgetAction = Literal["warn", "degrade", "queue", "block"]


class Budget(Document, frozen=True, kw_only=True):
    """What each tenant, user, agent of a tenant, conversation or turn may spend of the model.

    `of` narrows it to one: a tenant's name, a user as `tenant/user` (or `user`, of every tenant), an agent's id.
    `tenant` narrows it to one tenant. Days and months are in UTC; `total` never begins anew. Above `warn_at_percent` it
    is told in log and metrics.
    """

    scope: BudgetScope
    period: BudgetPeriod = "month"
    tokens: Annotated[int, Meta(ge=0, le=2**50)] | None = None
    cost_usd: Annotated[float, Meta(ge=0, le=1e9)] | None = None
    action: BudgetAction = "warn"
    of: Name | None = None
    tenant: Name | None = None
    warn_at_percent: Annotated[float, Meta(ge=1, le=100)] = 80.0

    def __post_init__(self) -> None:
        if self.tokens is None and self.cost_usd is None:
            raise ValueError("a budget needs tokens or cost_usd")


class Stop(Document, frozen=True, kw_only=True):
    """A kill switch: from now on the model is not asked for whom it names. Its id is `all`, `tenant:…` or `agent:…`."""

    reason: Annotated[str, Meta(max_length=500)] = ""


class OperatorMode(Document, frozen=True, kw_only=True):
    """The mode that holds in place of what the signals ask for, until `until` (Unix time). `by` is `tenant/user`."""

    mode: str
    by: Annotated[str, Meta(max_length=500)]
    reason: Annotated[str, Meta(min_length=1, max_length=300)]
    until: float

    def __post_init__(self) -> None:
        if self.mode not in MODES_BY_LABEL:
            raise ValueError("there is no such mode")


class Revocation(Document, frozen=True, kw_only=True):
    """Tokens that hold no more: the one that it is named for, or a user's that were issued before `issued_before`.
    After `until` all of them have expired. Times are Unix seconds."""

    until: float
    issued_before: float | None = None


DOCUMENTS: dict[ControlKind, type[Document]] = {
    "plan": Plan,
    "tenant": Tenant,
    "account": Account,
    "flag": Flag,
    "budget": Budget,
    "stop": Stop,
    "mode": OperatorMode,
    "revocation": Revocation,
}
_DECODERS = {kind: msgspec.json.Decoder(document) for kind, document in DOCUMENTS.items()}


def read_document(kind: ControlKind, body: bytes) -> Document:
    """Raises msgspec.ValidationError, msgspec.DecodeError for what is none of the kind."""
    return _DECODERS[kind].decode(body)


def check_name(kind: ControlKind, name: str) -> str:
    """The name itself. Raises InvalidRequest for one that the kind cannot have."""
    if kind in ("plan", "flag", "budget"):
        is_good = _NAME.fullmatch(name) is not None
    elif kind == "stop":
        is_good = _STOP.fullmatch(name) is not None
    elif kind == "mode":
        is_good = name == HOUSE
    elif kind == "revocation":
        is_good = False  # made by `revocations.py` alone
    else:
        parts = name.split(ACCOUNT_JOIN)
        is_good = len(parts) == (2 if kind == "account" else 1) and all(map(_is_owner_name, parts))
    if not is_good:
        raise InvalidRequest(f"no {kind} can have this name", field=kind)
    return name


def _is_owner_name(name: str) -> bool:
    return 0 < len(name) <= MAX_NAME_CHARS and name.isprintable()
