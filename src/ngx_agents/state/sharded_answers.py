"""One answer out of every server's, for what concerns all of them. What a server that is away would say is left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ngx_agents.errors import JournalUnavailable, NgxError
from ngx_agents.state import commands as c
from ngx_agents.state.model import Page
from ngx_agents.state.pages import page


def joined(told: c.Command | c.Question, found: Sequence[Any]) -> Any:
    """The answer. Raises (or gives, for a command) the first refusal that every server shares."""
    heard = [one for one in found if not isinstance(one, NgxError)]
    if not heard or (isinstance(told, _NEEDS_ALL) and len(heard) < len(found)):
        refusal: NgxError = next(one for one in found if isinstance(one, NgxError))
        if isinstance(told, _LISTS):
            raise refusal
        return refusal
    return _JOIN[type(told)](told, heard)


_LISTS = (
    c.ListDead, c.KeysThatHold, c.ListKeys, c.ListInstances, c.ListAudit, c.KnownBlobs, c.ListDeadPushes,
)  # fmt: skip
_NEEDS_ALL = (c.ListKeys, c.ListDead, c.ListAudit, c.KnownBlobs, c.ListDeadPushes)
"""Half of it would be taken for the whole: an operator's list."""


def _newest(told: c.ListDead | c.ListAudit, found: Sequence[Page], place: Callable[[Any], tuple[float, str]]) -> Page:
    """One page of several, newest first."""
    items = sorted((item for one in found for item in one.items), key=place, reverse=True)
    more = any(one.next is not None for one in found)
    made = page(items, told.limit, place)
    if made.next is None and more:
        return page([*items, items[-1]], len(items), place)
    return made


def _dead(told: c.ListDead, found: Sequence[Page]) -> Page:
    return _newest(told, found, lambda turn: (turn.accepted_at, turn.id))


def _audit(told: c.ListAudit, found: Sequence[Page]) -> Page:
    return _newest(told, found, lambda entry: (entry.at, entry.id))


def _instances(told: c.ListInstances, found: Sequence[Sequence[c.Instance]]) -> tuple[c.Instance, ...]:
    lanes: dict[str, c.Instance] = {}
    for one in (one for each in found for one in each):
        before = lanes.get(one.id)
        held = one.lanes + (before.lanes if before is not None else 0)
        lanes[one.id] = c.Instance(id=one.id, lanes=held, address=one.address)
    return tuple(lanes[name] for name in sorted(lanes))


def _keys(told: c.ListKeys, found: Sequence[Sequence[c.ApiKey]]) -> tuple[c.ApiKey, ...]:
    return tuple(sorted((key for each in found for key in each), key=lambda key: (key.created_at, key.id)))


def _chained(told: object, found: Sequence[Sequence[Any]]) -> tuple[Any, ...]:
    return tuple(one for each in found for one in each)


def _dead_pushes(told: c.ListDeadPushes, found: Sequence[Sequence[Any]]) -> tuple[Any, ...]:
    return tuple(sorted(_chained(told, found), key=lambda entry: entry.at, reverse=True)[: told.limit])


def _meters(told: c.ListMeters | c.SpentMeters, found: Sequence[Sequence[c.Meter]]) -> tuple[c.Meter, ...]:
    return tuple(sorted(_chained(told, found), key=lambda meter: meter.name)[: told.limit])


def _furthest(told: c.GetPosition, found: Sequence[c.Position]) -> c.Position:
    raise JournalUnavailable("several servers have no common position")


_JOIN: dict[type, Callable[[Any, Any], Any]] = {
    c.Beat: lambda told, found: all(found),
    c.Leave: lambda told, found: None,
    c.KnownBlobs: _chained,
    c.Expire: lambda told, found: sum(found),
    c.KeysThatHold: _chained,
    c.ListKeys: _keys,
    c.ListInstances: _instances,
    c.ListDead: _dead,
    c.ListAudit: _audit,
    c.ForgetBudgets: lambda told, found: sum(found),
    c.ListMeters: _meters,
    c.SpentMeters: _meters,
    c.HeldLanes: _chained,
    c.ClaimPushes: _chained,
    c.ListDeadPushes: _dead_pushes,
    c.Ping: lambda told, found: min(found),
    c.GetPosition: _furthest,
    c.ListShardPlaces: _chained,
    c.OpenBatches: _chained,
    c.DueSchedules: _chained,
}
