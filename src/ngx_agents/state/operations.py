"""What instances and operators tell and ask the journal: heartbeats, who runs what, dead turns. Part of `commands`."""

from __future__ import annotations

from typing import Literal

import msgspec

from ngx_agents.state.model import Owner


class Beat(msgspec.Struct, frozen=True, kw_only=True):
    """→ bool: whether the instance's last heartbeat was still valid; if not, its lanes may have been claimed.

    An instance beats before it takes lanes, then every 2 s; the heartbeat is valid for `lease_s` of the journal's own
    time. `address` is where other instances reach it.
    """

    instance: str
    address: str | None = None
    lease_s: float = 6.0


class GetTime(msgspec.Struct, frozen=True, kw_only=True):
    """→ float | None: the journal's own time, in Unix seconds; None where one process has it and its time will do."""


class Leave(msgspec.Struct, frozen=True, kw_only=True):
    """→ None. The instance has stopped: whatever lanes it holds can be claimed at once."""

    instance: str


class ReplayTurn(msgspec.Struct, frozen=True, kw_only=True):
    """→ None. A dead turn waits in its lane again, its attempts counted anew. Raises NotFound unless it is dead."""

    turn_id: str
    now: float
    deadline_at: float


# Questions


class HolderOf(msgspec.Struct, frozen=True, kw_only=True):
    """→ Holder | None: the instance that runs the turn now, to proxy its stream from there."""

    turn_id: str
    owner: Owner


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """`address` is None where no other instance could ask."""

    instance: str
    epoch: int
    address: str | None = None


class HeldLanes(msgspec.Struct, frozen=True, kw_only=True):
    """→ tuple[HeldLane, ...]: the lanes that are granted to the instance."""

    instance: str


class HeldLane(msgspec.Struct, frozen=True, kw_only=True):
    conversation_id: str
    turn_id: str
    epoch: int


class ListInstances(msgspec.Struct, frozen=True, kw_only=True):
    """→ tuple[Instance, ...]: those whose heartbeat is valid, by id."""


class Instance(msgspec.Struct, frozen=True, kw_only=True):
    """`lanes` is how many it holds."""

    id: str
    lanes: int
    address: str | None = None


class ListDead(msgspec.Struct, frozen=True, kw_only=True):
    """→ Page of Turn of any owner: those given up after too many attempts, newest first. For operators."""

    limit: int = 50
    cursor: str | None = None


class GetPosition(msgspec.Struct, frozen=True, kw_only=True):
    """→ Position: how far the journal's log has come. SQLite, which nobody follows, is always at 0."""


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """`place` is what is durable on a primary, what is replayed on a standby. `system` is alike on those that share."""

    place: int
    is_standby: bool = False
    system: int = 0


ShardState = Literal["copying", "frozen", "gone", "arriving", "serving"]


class ListShardPlaces(msgspec.Struct, frozen=True, kw_only=True):
    """→ tuple[ShardPlace, ...]: what this server says of the shards that ever came or went."""


class ShardPlace(msgspec.Struct, frozen=True, kw_only=True):
    """`epoch` grows by one with each move of the shard; `peer` names the other server of the last one."""

    shard: int
    epoch: int
    state: ShardState
    peer: str
