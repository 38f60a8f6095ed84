"""Commands that are told again because their reply was lost: what they did the first time, read back.

Only the very same command is recognised, by everything it wrote; whatever else comes late is refused as ever.
"""

from __future__ import annotations

from ngx_agents.errors import LeaseLost
from ngx_agents.state import commands as c
from ngx_agents.state.ids import shard_of
from ngx_agents.state.model import Owner
from ngx_agents.state.postgres_connections import Connection
from ngx_agents.state.postgres_rows import shard_in

_ACCEPTED = """
SELECT t.number, t.epoch, t.status, v.lane_owner, (SELECT count(*) FROM ngx.turn o WHERE o.shard = t.shard
  AND o.conversation_id = t.conversation_id AND o.status IN ('queued', 'running') AND o.number < t.number)
FROM ngx.turn t JOIN ngx.conversation v ON v.shard = t.shard AND v.id = t.conversation_id
JOIN ngx.message m ON m.shard = t.shard AND m.conversation_id = t.conversation_id AND m.seq = 2 * t.number - 1
WHERE t.shard = $1 AND t.id = $2 AND t.conversation_id = $3 AND t.tenant = $4 AND t.user_id = $5
  AND t.accepted_at = $6 AND m.id = $7
"""
_PROFILE = "SELECT version FROM ngx.profile WHERE shard = $1 AND tenant = $2 AND user_id = $3"


async def _profile_version(connection: Connection, owner: Owner) -> int:
    version: int | None = await connection.fetchval(_PROFILE, shard_of(owner.user), owner.tenant, owner.user)
    return version or 0


async def accepted_before(connection: Connection, command: c.AcceptTurn) -> c.Accepted | None:
    """What the same acceptance gave when it was stored; None if it never was. The grant, while it still holds."""
    row = await connection.fetchrow(
        _ACCEPTED,
        shard_in(command.turn_id),
        command.turn_id,
        command.conversation_id,
        command.owner.tenant,
        command.owner.user,
        command.now,
        command.message_id,
    )
    if row is None:
        return None
    number, epoch, status, holder, position = row
    is_held = status == "running" and command.grant_to is not None and holder == command.grant_to
    return c.Accepted(
        turn_id=command.turn_id, position=position, user_seq=2 * number - 1, epoch=epoch if is_held else None,
        profile_version=await _profile_version(connection, command.owner),
    )  # fmt: skip


_FINISHED = """
SELECT t.status, t.epoch, t.last_seq, t.finished_at, m.id, v.lane_owner, v.running, v.epoch
FROM ngx.turn t JOIN ngx.conversation v ON v.shard = t.shard AND v.id = t.conversation_id
LEFT JOIN ngx.message m ON m.shard = t.shard AND m.conversation_id = t.conversation_id AND m.seq = $3
WHERE t.shard = $1 AND t.id = $2
"""


async def finished_before(connection: Connection, command: c.FinishTurn) -> c.Finished:
    """What the same end gave when it was stored, its reply having been lost. Raises LeaseLost if it never was."""
    row = await connection.fetchrow(_FINISHED, shard_in(command.turn_id), command.turn_id, command.user_seq + 1)
    told = (command.status, command.epoch, command.last_seq, command.now, command.message and command.message.id)
    if row is None or tuple(row)[:5] != told:
        raise LeaseLost(f"turn {command.turn_id} was granted to another owner")
    following = None
    if command.grant_to is not None and row[5] == command.grant_to and row[7] == command.epoch + 1:
        following = await _granted(connection, command, row[6])
    return c.Finished(message_seq=command.user_seq + 1 if command.message is not None else None, next=following)


async def _granted(connection: Connection, command: c.FinishTurn, turn_id: str) -> c.Grant:
    row = await connection.fetchrow(
        "SELECT t.attempts, t.turn_class, t.accepted_at, t.deadline_at, t.number, t.cancel_requested, t.agent,"
        " t.locale, m.text, t.attachments, t.trail FROM ngx.turn t JOIN ngx.message m ON m.shard = t.shard"
        " AND m.conversation_id = t.conversation_id AND m.seq = 2 * t.number - 1 WHERE t.shard = $1 AND t.id = $2",
        shard_in(turn_id),
        turn_id,
    )
    assert row is not None
    return c.Grant(
        conversation_id=command.conversation_id, owner=command.owner, turn_id=turn_id, epoch=command.epoch + 1,
        attempts=row[0], turn_class=row[1], accepted_at=row[2], deadline_at=row[3], user_seq=2 * row[4] - 1,
        cancel_requested=row[5], agent=row[6], locale=row[7], text=row[8],
        profile_version=await _profile_version(connection, command.owner),
        attachments=tuple((row[9] or "").split()), trail=row[10],
    )  # fmt: skip
