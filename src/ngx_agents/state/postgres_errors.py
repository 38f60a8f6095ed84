"""What Postgres and its driver say, as our typed errors: one clear line, never foreign text, addresses or secrets."""

from __future__ import annotations

import asyncpg
from asyncpg import exceptions as pg

from ngx_agents.errors import ConfigError, InvalidRequest, JournalError, JournalUnavailable, NgxError, ShardMoved
from ngx_agents.telemetry.log import event_log

log = event_log("state")
FAULTS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)
"""Everything that asyncpg raises for what happens outside this program."""

SHARD_MOVED = "NX001"
"""What the fence of a moving shard raises; see `shard_move`."""
_BAD_URL = "the journal's URL is not a usable Postgres URL"
_CONFIG: tuple[tuple[type[BaseException], str], ...] = (
    (pg.InvalidAuthorizationSpecificationError, "the database refuses the user or the password of the journal's URL"),
    (pg.InvalidCatalogNameError, "the database that the journal's URL names does not exist"),
    (pg.InsufficientPrivilegeError, "the user of the journal's URL lacks a right on the journal's tables"),
    (asyncpg.ClientConfigurationError, _BAD_URL),
)
_FULL = "the database cannot write its disk (it may be full): nothing was stored"
_SLOW = "the database took too long: nothing was stored"
_LOST = "the connection to the database was lost"
_UNAVAILABLE: tuple[tuple[type[BaseException], str, float], ...] = (
    (pg.DiskFullError, "the database's disk is full: nothing was stored", 30.0),
    (pg.PostgresIOError, _FULL, 30.0),
    (pg.ReadOnlySQLTransactionError, "the database is read-only now (a standby, or being switched over)", 5.0),
    (pg.TooManyConnectionsError, "the database accepts no more connections", 5.0),
    (pg.CannotConnectNowError, "the database is starting or stopping", 2.0),
    (pg.TransactionRollbackError, "the database rolled back for a conflict: nothing was stored", 1.0),
    (pg.QueryCanceledError, _SLOW, 2.0),
    (pg.LockNotAvailableError, _SLOW, 2.0),
    (pg.IdleInTransactionSessionTimeoutError, _SLOW, 2.0),
    (TimeoutError, "the database did not answer in time", 2.0),
    (pg.InsufficientResourcesError, "the database is short of resources", 5.0),
    (pg.OperatorInterventionError, "the database ended the connection", 2.0),
    (pg.PostgresConnectionError, _LOST, 2.0),
    (pg.InvalidTransactionStateError, "the database gave the transaction up: nothing was stored", 2.0),
    (asyncpg.InternalClientError, _LOST, 2.0),
    (asyncpg.InterfaceError, _LOST, 2.0),
    (OSError, "the database cannot be reached", 2.0),
)
_NO_SCHEMA = (pg.UndefinedTableError, pg.InvalidSchemaNameError, pg.UndefinedColumnError)
_CONFLICT = (pg.SerializationError, pg.DeadlockDetectedError, pg.InvalidCachedStatementError)


def understood(error: BaseException) -> NgxError:
    """The typed error for any other; retryable unless the database, the configuration or our own code is wrong."""
    if isinstance(error, NgxError):
        return error
    message = next((text for kind, text in _CONFIG if isinstance(error, kind)), None)
    if message is not None:
        return ConfigError(message)
    if _is_bad_value(error):
        return InvalidRequest("a value holds characters or numbers that cannot be stored")
    for kind, text, retry_after_s in _UNAVAILABLE:
        if isinstance(error, kind):
            return JournalUnavailable(text, retry_after_s=retry_after_s)
    return _refused(error)


def _is_bad_value(error: BaseException) -> bool:
    """What the server says of a value, and what the driver says of one that it cannot even send."""
    if isinstance(error, pg.DataError | UnicodeError):
        return True
    return isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError)


def _refused(error: BaseException) -> JournalError:
    if getattr(error, "sqlstate", None) == SHARD_MOVED:
        return ShardMoved("the shard takes no writes on this server: it moves, or has moved")
    if isinstance(error, _NO_SCHEMA):
        return JournalError("the database has not the journal's tables of this version: migrate it")
    if isinstance(error, asyncpg.PostgresError):
        log.warning("journal.refused", sqlstate=error.sqlstate)
    else:
        log.exception("journal.broke")
    return JournalError("the journal refused the statement")


def is_conflict(error: BaseException) -> bool:
    """Whether the same transaction may succeed when it is run again at once."""
    return isinstance(error, _CONFLICT)


def is_outage(error: BaseException) -> bool:
    """Whether the fault is the database's state, not the statement's: trying its parts one by one cannot help."""
    return isinstance(understood(error), JournalUnavailable | ConfigError)
