"""Which shard a command or question is about: its user's, else that of the id it names; None for all servers."""

from __future__ import annotations

from ngx_agents.state import commands as c
from ngx_agents.state.ids import shard_of
from ngx_agents.state.model import Owner
from ngx_agents.state.postgres_rows import NO_SHARD, shard_in

EVERYWHERE = (
    c.Beat, c.Leave, c.Expire, c.KeysThatHold, c.ListKeys, c.ListInstances, c.ListDead, c.HeldLanes, c.Ping,
    c.GetPosition, c.ListShardPlaces, c.ListAudit, c.ForgetBudgets, c.ListMeters, c.SpentMeters, c.KnownBlobs,
    c.OpenBatches, c.DueSchedules, c.ClaimPushes, c.ListDeadPushes,
)  # fmt: skip
HOUSE = 0
"""The shard whose server holds what belongs to no user: elections, controls."""


def shard_for(told: c.Command | c.Question) -> int | None:
    """0..255, or None where every server is concerned. An id that is none of ours is looked for in shard 0."""
    if isinstance(told, EVERYWHERE):
        return None
    match told:
        case c.PutKey():
            return told.key.digest[0] if told.key.digest else 0
        case c.FindKey() | c.TouchKey() | c.RevokeKey() | c.EndKey():
            return told.digest[0] if told.digest else 0
        case c.TryElect() | c.GetTime() | c.PutControl() | c.ForgetRevocations() | c.WriteAudit() | c.ListControls():
            return HOUSE
        case c.TakeBudget() | c.GiveBudget():
            return shard_of(told.meter)
        case c.Audited():
            return shard_for(told.command)
        case _:
            return _of_what_it_names(told)


def _of_what_it_names(told: c.Command | c.Question) -> int:
    owner: Owner | None = getattr(told, "owner", None)
    if owner is not None:
        return shard_of(owner.user)
    for name in ("conversation_id", "turn_id"):
        named = getattr(told, name, None)
        if named is not None:
            return max(shard_in(named), 0) if shard_in(named) != NO_SHARD else 0
    raise TypeError(f"{type(told).__name__} says nothing of where it belongs")
