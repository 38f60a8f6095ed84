"""How batches of jobs meet SQLite: one transaction for all, and what happens when something in it breaks.

Whatever a job does, the others get their results and the thread lives: a refusal is a result, an error of SQLite's is
translated, anything else is logged and becomes a JournalError of that job alone.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from ngx_agents.errors import JournalError, JournalUnavailable, NgxError
from ngx_agents.state.commands import Command, Question
from ngx_agents.state.sqlite_commands import apply
from ngx_agents.state.sqlite_questions import answer
from ngx_agents.telemetry.log import event_log

Connection = sqlite3.Connection
Job = Sequence[Command] | Callable[[Connection], Any]
Result = TypeVar("Result")
log = event_log("state")


def understood(error: Exception) -> NgxError:
    """The typed error for any other; retryable unless the database or our own code is wrong."""
    if isinstance(error, NgxError):
        return error
    if isinstance(error, sqlite3.OperationalError):
        if "full" in str(error):
            return JournalUnavailable("the disk is full: nothing was stored", retry_after_s=30.0)
        return JournalUnavailable("the journal cannot be written or read now", retry_after_s=2.0)
    if not isinstance(error, sqlite3.Error):
        log.exception("journal.broke")
    return JournalError("the journal refused the statement")


def in_transaction(db: Connection, run: Callable[[], Result]) -> Result:
    """What `run` returns, committed. Rolls back and raises what went wrong."""
    db.execute("BEGIN IMMEDIATE")
    try:
        result = run()
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                db.execute("ROLLBACK")
        raise
    return result


def write_batch(db: Connection, jobs: Sequence[Job]) -> list[Any]:
    """One transaction for all commands; when one breaks it, one for each job. Calls run before, by themselves."""
    called = [_call(db, job) if callable(job) else None for job in jobs]
    commands = [job for job in jobs if not callable(job)]
    written = iter(_write(db, commands) if commands else ())
    return [result if callable(job) else next(written) for job, result in zip(jobs, called, strict=True)]


def _write(db: Connection, commands: Sequence[Sequence[Command]]) -> list[Any]:
    is_open = False

    def all_of_them() -> list[list[Any]]:
        nonlocal is_open
        is_open = True
        return [[_apply(db, command) for command in job] for job in commands]

    try:
        return in_transaction(db, all_of_them)
    except Exception as error:  # noqa: BLE001 - the supervisor of the writer
        if not is_open:
            return [understood(error)] * len(commands)
    return [_job_alone(db, job) for job in commands]


def read_batch(db: Connection, questions: Sequence[Question]) -> list[Any]:
    results: list[Any] = []
    for question in questions:
        try:
            results.append(answer(db, question))
        except Exception as error:  # noqa: BLE001 - the supervisor of the reader
            results.append(understood(error))
    return results


def _apply(db: Connection, command: Command) -> Any:
    try:
        return apply(db, command)
    except NgxError as error:
        return error


def _job_alone(db: Connection, job: Sequence[Command]) -> Any:
    try:
        return in_transaction(db, lambda: [_apply_saved(db, command) for command in job])
    except Exception as error:  # noqa: BLE001 - the supervisor of the writer
        return [understood(error)] * len(job)


def _apply_saved(db: Connection, command: Command) -> Any:
    """Raises only when SQLite has given the whole transaction up, as it does when the disk is full."""
    db.execute("SAVEPOINT command")
    try:
        result = apply(db, command)
    except NgxError as error:
        result = error
    except Exception as error:
        if not db.in_transaction:
            raise
        db.execute("ROLLBACK TO command")
        result = understood(error)
    db.execute("RELEASE command")
    return result


def _call(db: Connection, job: Callable[[Connection], Any]) -> Any:
    try:
        return job(db)
    except Exception as error:  # noqa: BLE001 - the supervisor of the writer
        if db.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                db.execute("ROLLBACK")
        return understood(error)
