"""States, appended messages and consents on Postgres, each command inside a transaction of the caller's.

The lane is locked first; what is then read in a statement of its own is the newest.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from ngx_agents.errors import NotFound, StateConflict
from ngx_agents.state import state_commands as s
from ngx_agents.state.codec import Codec
from ngx_agents.state.ids import shard_of
from ngx_agents.state.model import Owner
from ngx_agents.state.postgres_blobs import export_blobs
from ngx_agents.state.postgres_connections import Connection
from ngx_agents.state.postgres_records import Row, message
from ngx_agents.state.postgres_rows import shard_in, storable
from ngx_agents.state.postgres_store import lock_lane

_decode_state = Codec(dict).decode
_STAMP = """
SELECT coalesce(s.version, 0), v.next_turn, v.epoch, v.pending = 0, v.created_at
FROM ngx.conversation v LEFT JOIN ngx.state s ON s.shard = v.shard AND s.conversation_id = v.id
WHERE v.shard = $1 AND v.id = $2 AND v.tenant = $3 AND v.user_id = $4
"""
# one statement, so that state and messages are of one moment
_STATE = """
SELECT coalesce(s.version, 0), v.next_turn, v.epoch, v.pending = 0, v.created_at, coalesce(s.body, ''),
  ARRAY(SELECT ROW(m.id, m.seq, m.role, m.text, m.created_at, m.turn_id, m.agent, m.source) FROM ngx.message m
        WHERE m.shard = v.shard AND m.conversation_id = v.id ORDER BY m.seq DESC LIMIT $5)
FROM ngx.conversation v LEFT JOIN ngx.state s ON s.shard = v.shard AND s.conversation_id = v.id
WHERE v.shard = $1 AND v.id = $2 AND v.tenant = $3 AND v.user_id = $4
"""


def _stamp(row: Row) -> s.Stamp:
    return s.Stamp(version=row[0], next_turn=row[1], epoch=row[2], is_idle=row[3], created_at=row[4])


async def get_stamp(connection: Connection, question: s.GetStamp) -> s.Stamp | None:
    return await _stamp_of(connection, question.conversation_id, question.owner)


async def _stamp_of(connection: Connection, conversation_id: str, owner: Owner) -> s.Stamp | None:
    row = await connection.fetchrow(_STAMP, shard_in(conversation_id), conversation_id, owner.tenant, owner.user)
    return _stamp(row) if row is not None else None


async def get_state(connection: Connection, question: s.GetState) -> s.StoredState | None:
    place = (shard_in(question.conversation_id), question.conversation_id)
    row = await connection.fetchrow(_STATE, *place, question.owner.tenant, question.owner.user, question.recent)
    if row is None:
        return None
    said = tuple(message(one) for one in reversed(row[6]))
    return s.StoredState(stamp=_stamp(row), body=row[5], messages=said)


async def _locked(connection: Connection, conversation_id: str, owner: Owner) -> s.Stamp | None:
    """Where the owner's conversation stands, locked; None when it is absent or another's."""
    await lock_lane(connection, conversation_id)
    return await _stamp_of(connection, conversation_id, owner)


async def _made(connection: Connection, conversation_id: str, owner: Owner, *, now: float) -> s.Stamp:
    """Makes the conversation, or takes the one that was made meanwhile. Raises NotFound when it is someone else's."""
    await connection.execute(
        "INSERT INTO ngx.conversation (shard, id, tenant, user_id, title, created_at, updated_at)"
        " VALUES ($1, $2, $3, $4, '', $5, $5) ON CONFLICT DO NOTHING",
        shard_in(conversation_id),
        conversation_id,
        owner.tenant,
        owner.user,
        now,
    )
    stamp = await _locked(connection, conversation_id, owner)
    if stamp is None:
        raise NotFound("no such conversation")
    return stamp


async def put_state(connection: Connection, command: s.PutState) -> s.Stamp:
    stamp = await _locked(connection, command.conversation_id, command.owner)
    if stamp is None and not command.expected_version:
        stamp = await _made(connection, command.conversation_id, command.owner, now=command.now)
    found = stamp.version if stamp is not None else 0
    if stamp is None or command.expected_version not in (None, found):
        raise StateConflict(expected=command.expected_version or 0, found=found)
    version = s.next_version(found, command.now)
    place = (shard_in(command.conversation_id), command.conversation_id)
    await connection.execute(
        "INSERT INTO ngx.state (shard, conversation_id, version, body, updated_at) VALUES ($1, $2, $3, $4, $5)"
        " ON CONFLICT (shard, conversation_id) DO UPDATE SET"
        " version = excluded.version, body = excluded.body, updated_at = excluded.updated_at",
        *place,
        version,
        command.body,
        command.now,
    )
    await connection.execute(
        "UPDATE ngx.conversation SET updated_at = $3 WHERE shard = $1 AND id = $2", *place, command.now
    )
    return msgspec.structs.replace(stamp, version=version)


async def append(connection: Connection, command: s.Append) -> s.Appended:
    stamp = await _locked(connection, command.conversation_id, command.owner)
    if stamp is None:
        stamp = await _made(connection, command.conversation_id, command.owner, now=command.now)
    place = (shard_in(command.conversation_id), command.conversation_id)
    await connection.execute(
        "UPDATE ngx.conversation SET next_turn = next_turn + $3, updated_at = $4 WHERE shard = $1 AND id = $2",
        *place,
        len(command.messages),
        command.now,
    )
    seqs = s.appended_seqs(stamp.next_turn, command.messages)
    await connection.executemany(
        "INSERT INTO ngx.message (shard, conversation_id, seq, id, role, text, created_at, turn_id, agent, source)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, '', $8, $9)",
        [
            (*place, seq, said.id, said.role, storable(said.text), said.created_at, said.agent, said.source)
            for seq, said in zip(seqs, command.messages, strict=True)
        ],
    )
    after = msgspec.structs.replace(stamp, next_turn=stamp.next_turn + len(command.messages))
    return s.Appended(stamp=after, seqs=seqs)


async def put_consent(connection: Connection, command: s.PutConsent) -> None:
    consent = command.consent
    await connection.execute(
        "INSERT INTO ngx.consent (shard, tenant, user_id, kind, version, is_given, at)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7)",
        shard_of(command.owner.user),
        command.owner.tenant,
        command.owner.user,
        consent.kind,
        consent.version,
        consent.is_given,
        consent.at,
    )


_MY_CONSENTS = "FROM ngx.consent WHERE shard = $1 AND tenant = $2 AND user_id = $3"


def _consent(row: Row) -> s.Consent:
    return s.Consent(kind=row[0], version=row[1], is_given=row[2], at=row[3])


async def get_consents(connection: Connection, question: s.GetConsents) -> tuple[s.Consent, ...]:
    rows = await connection.fetch(
        f"SELECT DISTINCT ON (kind) kind, version, is_given, at {_MY_CONSENTS} ORDER BY kind, number DESC",
        shard_of(question.owner.user),
        question.owner.tenant,
        question.owner.user,
    )
    return tuple(_consent(row) for row in rows)


async def export_more(connection: Connection, owner: Owner) -> dict[str, Any]:
    """What an export holds beyond turns and logs: states by conversation, attachments without bytes, all consents."""
    who = (owner.tenant, owner.user)
    states = await connection.fetch(
        "SELECT s.conversation_id, s.body FROM ngx.conversation v JOIN ngx.state s ON s.shard = v.shard"
        " AND s.conversation_id = v.id WHERE v.tenant = $1 AND v.user_id = $2 ORDER BY v.created_at, v.id",
        *who,
    )
    consents = await connection.fetch(
        f"SELECT kind, version, is_given, at {_MY_CONSENTS} ORDER BY number", shard_of(owner.user), *who
    )
    return {
        "states": {row[0]: _decode_state(row[1]) for row in states},
        "blobs": await export_blobs(connection, owner),
        "consents": [_consent(row) for row in consents],
    }


APPLY: dict[type, Callable[[Connection, Any], Awaitable[Any]]] = {
    s.PutState: put_state,
    s.Append: append,
    s.PutConsent: put_consent,
}
ANSWER: dict[type, Callable[[Connection, Any], Awaitable[Any]]] = {
    s.GetStamp: get_stamp,
    s.GetState: get_state,
    s.GetConsents: get_consents,
}
