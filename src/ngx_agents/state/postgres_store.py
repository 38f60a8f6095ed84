"""Between the decisions on lanes and the database: reads what they need under its locks, writes what they decided.

All of it inside a transaction of the caller's. Lanes are locked in the order of their ids, so that transactions of
several instances cannot wait for each other in a ring; what is read after the locks is the newest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from ngx_agents.state import commands as c
from ngx_agents.state.ids import shard_of
from ngx_agents.state.model import Owner
from ngx_agents.state.postgres_changes import Changes
from ngx_agents.state.postgres_connections import Connection
from ngx_agents.state.postgres_lanes import LaneBatch, needs_open_turns
from ngx_agents.state.postgres_rows import NO_SHARD, Key, Lane, OpenTurn, shard_in
from ngx_agents.state.postgres_statements import (
    KNOWN_KEYS,
    LOCK_LANES,
    OPEN_TURNS,
    PROFILES,
    TEXTS,
    columns_of,
    writing,
)


def lane_of(command: c.Command) -> str | None:
    """The conversation that the command names, if it names one."""
    match command:
        case c.CreateConversation() | c.DeleteConversation():
            return command.id
        case c.PutBlob():
            return command.blob.info.conversation_id
        case c.AddLog():
            return None if command.lease is None else command.lease[0]
        case (
            c.AcceptTurn()
            | c.FinishTurn()
            | c.SaveCheckpoint()
            | c.RecordEffect()
            | c.ReleaseLane()
            | c.ImportMessages()
            | c.PutState()
            | c.Append()
        ):
            return command.conversation_id
        case _:
            return None


async def load(connection: Connection, commands: Sequence[c.Command]) -> LaneBatch:
    """Locks the lanes of the commands and reads what their decisions need."""
    lanes = await lock_lanes(connection, _places_of(commands))
    needing = {
        lane.id: lane
        for command in commands
        if (lane := lanes.get(lane_of(command) or "")) is not None and needs_open_turns(lane, command)
    }
    if needing:
        await read_open_turns(connection, list(needing.values()))
    keys = {key for command in commands if (key := _key_of(command)) is not None}
    known = await _known_keys(connection, keys) if keys else {}
    newcomers = {command.owner for command in commands if isinstance(command, c.CreateConversation)}
    return LaneBatch(lanes, known, await _profile_versions(connection, newcomers) if newcomers else {})


def _places_of(commands: Sequence[c.Command]) -> dict[str, int]:
    """The lanes that the commands name, each with the shard of its owner's profile if a command tells the owner."""
    places: dict[str, int] = {}
    for command in commands:
        lane_id = lane_of(command)
        if isinstance(command, c.AcceptTurn | c.FinishTurn):
            places[command.conversation_id] = shard_of(command.owner.user)
        elif lane_id is not None:
            places.setdefault(lane_id, NO_SHARD)
    return places


async def lock_lanes(connection: Connection, places: Mapping[str, int]) -> dict[str, Lane]:
    """By id; `places` has each lane's id and the shard of its owner's profile, NO_SHARD where that does not matter."""
    ordered = sorted(places)
    owner_shards = [places[name] for name in ordered]
    rows = await connection.fetch(LOCK_LANES, [shard_in(name) for name in ordered], ordered, owner_shards)
    return {row[1]: _lane(row, is_profile_known=places[row[1]] != NO_SHARD) for row in rows}


async def lock_lane(connection: Connection, name: str) -> Lane | None:
    return (await lock_lanes(connection, {name: NO_SHARD})).get(name)


async def _profile_versions(connection: Connection, owners: Iterable[Owner]) -> dict[Owner, int]:
    columns = columns_of([(shard_of(owner.user), owner.tenant, owner.user) for owner in owners])
    return {Owner(row[0], row[1]): row[2] for row in await connection.fetch(PROFILES, *columns)}


def _lane(row: Any, *, is_profile_known: bool) -> Lane:
    lane = Lane(
        shard=row[0], id=row[1], owner=Owner(row[2], row[3]), title=row[4], next_turn=row[5], pending=row[6],
        epoch=row[7], lane_owner=row[8], running=row[9], sort_key=row[10], updated_at=row[11],
        profile_version=(row[12] or 0) if is_profile_known else None,
    )  # fmt: skip
    if lane.pending > (lane.running is not None):
        lane.open_turns = None
    elif lane.running is not None:
        only = OpenTurn(id=lane.running, number=0, turn_class=0, accepted_at=0, deadline_at=0, is_running=True)
        lane.open_turns = [only]
    return lane


async def read_open_turns(connection: Connection, lanes: Sequence[Lane]) -> None:
    """Gives the lanes their open turns, in order, without their texts."""
    by_id = {lane.id: lane for lane in lanes}
    rows = await connection.fetch(OPEN_TURNS, [lane.shard for lane in lanes], list(by_id))
    for lane in lanes:
        lane.open_turns = []
    for row in rows:
        turn = OpenTurn(
            id=row[1], number=row[2], turn_class=row[3], accepted_at=row[4], deadline_at=row[5], attempts=row[6],
            is_running=row[7], cancel_requested=row[8], agent=row[9], locale=row[10],
            attachments=tuple((row[11] or "").split()), trail=row[12],
        )  # fmt: skip
        turns = by_id[row[0]].open_turns
        assert turns is not None
        turns.append(turn)


def _key_of(command: c.Command) -> Key | None:
    if isinstance(command, c.AcceptTurn) and command.idempotency_key is not None:
        return command.owner.tenant, command.owner.user, command.idempotency_key
    return None


async def _known_keys(connection: Connection, keys: Iterable[Key]) -> dict[Key, tuple[bytes, str]]:
    columns = columns_of([(shard_of(key[1]), *key) for key in sorted(keys)])
    rows = await connection.fetch(KNOWN_KEYS, *columns)
    return {(row[0], row[1], row[2]): (row[3], row[4]) for row in rows}


async def write(connection: Connection, changes: Changes, mark: tuple[str, int]) -> None:
    """Writes all changes and the writer's mark in one statement."""
    statement, values = writing(changes.rows(), mark)
    await connection.execute(statement, *values)


async def complete(connection: Connection, changes: Changes, results: list[Any]) -> list[Any]:
    """The results, with the texts of turns that were granted and not read before."""
    if not changes.texts_to_read:
        return results
    columns = columns_of([(turn_id, *place) for turn_id, place in changes.texts_to_read.items()])
    texts = {row[0]: row[1] for row in await connection.fetch(TEXTS, *columns)}
    return [_completed(result, texts) for result in results]


def _completed(result: Any, texts: dict[str, str]) -> Any:
    if isinstance(result, c.Finished) and result.next is not None and result.next.turn_id in texts:
        return msgspec.structs.replace(result, next=_completed(result.next, texts))
    if isinstance(result, c.Grant) and result.turn_id in texts:
        return msgspec.structs.replace(result, text=texts[result.turn_id])
    return result
