"""How jobs become transactions: many in one where they can be grouped, otherwise one for each.

A job is the commands of one call. `apply_together` takes jobs of lane commands only: lock, decide in memory, write all
in one statement. `apply_alone` takes any one job, with a savepoint for each command, so that one that breaks in the
database fails alone. Both put the writer's mark into the transaction. Neither commits.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeGuard

from ngx_agents.errors import NgxError
from ngx_agents.state import commands as c
from ngx_agents.state.postgres_commands import apply
from ngx_agents.state.postgres_connections import Connection
from ngx_agents.state.postgres_errors import is_conflict, is_outage, understood
from ngx_agents.state.postgres_heartbeats import ClaimLanes, claim_lanes
from ngx_agents.state.postgres_lanes import LANE_COMMANDS, LaneBatch, StaleFinish
from ngx_agents.state.postgres_retold import accepted_before, finished_before
from ngx_agents.state.postgres_schedules import fire_schedule
from ngx_agents.state.postgres_store import complete, load, write
from ngx_agents.state.postgres_tasks import refuse_unfit
from ngx_agents.state.postgres_turns import coalesce, remember_key
from ngx_agents.state.postgres_user_batches import take_items

Mark = tuple[str, int]
Job = Sequence[c.Command] | ClaimLanes
MARKED: dict[type, Callable[[Connection, Any, Mark], Awaitable[Any]]] = {
    c.TakeItems: take_items,
    c.FireSchedule: fire_schedule,
}
"""What changes lanes that it does not name."""


def is_commands(job: Job) -> TypeGuard[Sequence[c.Command]]:
    return not isinstance(job, ClaimLanes)


def is_grouped(job: Job) -> bool:
    """Whether the job has lane commands only, which are decided in memory."""
    return is_commands(job) and all(
        type(command) in LANE_COMMANDS and not (isinstance(command, c.AcceptTurn) and _needs_more_than_lanes(command))
        for command in job
    )


def _needs_more_than_lanes(command: c.AcceptTurn) -> bool:
    return command.when_busy == "coalesce" or (command.task is not None and command.task.task_id is not None)


async def apply_together(connection: Connection, jobs: Sequence[Sequence[c.Command]], mark: Mark) -> list[list[Any]]:
    """Results of each job, NgxError in the place of a refused command's. Raises what the database raises."""
    commands = [command for job in jobs for command in job]
    batch = await load(connection, commands)
    results = [_decide(batch, command) for command in commands]
    await write(connection, batch.changes, mark)
    results = await complete(connection, batch.changes, results)
    results = [await _second_look(connection, *pair) for pair in zip(commands, results, strict=True)]
    rest = iter(results)
    return [[next(rest) for _ in job] for job in jobs]


async def apply_alone(connection: Connection, job: Job, mark: Mark) -> list[Any]:
    """Results of the job. Raises only what makes the whole transaction worthless."""
    if isinstance(job, ClaimLanes):
        batch, grants = await claim_lanes(connection, job)
        await write(connection, batch.changes, mark)
        return await complete(connection, batch.changes, list(grants))
    results = [await _apply_saved(connection, command, mark) for command in job]
    await write(connection, LaneBatch({}, {}).changes, mark)
    return results


def _decide(batch: LaneBatch, command: c.Command) -> Any:
    try:
        return batch.apply(command)
    except (NgxError, StaleFinish) as refusal:
        return refusal
    except (ValueError, TypeError, OverflowError) as broken:
        return understood(broken)


async def _second_look(connection: Connection, command: c.Command, result: Any) -> Any:
    if not isinstance(result, StaleFinish):
        return result
    assert isinstance(command, c.FinishTurn)
    try:
        return await finished_before(connection, command)
    except NgxError as refusal:
        return refusal


async def _apply_saved(connection: Connection, command: c.Command, mark: Mark) -> Any:
    await connection.execute("SAVEPOINT command")
    try:
        result = await _apply_one(connection, command, mark)
    except NgxError as refusal:
        result = refusal
    except Exception as error:
        if connection.is_closed() or is_conflict(error) or is_outage(error):
            raise
        await connection.execute("ROLLBACK TO SAVEPOINT command")
        result = await _told_before(connection, command) or understood(error)
    await connection.execute("RELEASE SAVEPOINT command")
    return result


async def _told_before(connection: Connection, command: c.Command) -> c.Accepted | None:
    return await accepted_before(connection, command) if isinstance(command, c.AcceptTurn) else None


async def _apply_one(connection: Connection, command: c.Command, mark: Mark) -> Any:
    if isinstance(command, c.AcceptTurn) and _needs_more_than_lanes(command):
        return await _accept_looking_closer(connection, command, mark)
    if type(command) in MARKED:
        return await MARKED[type(command)](connection, command, mark)
    if type(command) not in LANE_COMMANDS:
        return await apply(connection, command)
    [[result]] = await apply_together(connection, [[command]], mark)
    return result


async def _accept_looking_closer(connection: Connection, command: c.AcceptTurn, mark: Mark) -> Any:
    batch = await load(connection, [command])
    known = batch.known(command)
    if known is not None:
        return known
    if command.task is not None and command.task.task_id is not None:
        await refuse_unfit(connection, command, command.task.task_id)
    accepted = await coalesce(connection, command) if command.when_busy == "coalesce" else None
    if accepted is not None:
        await remember_key(connection, command, accepted.turn_id)
        return accepted
    result = _decide(batch, command)
    await write(connection, batch.changes, mark)
    return result
