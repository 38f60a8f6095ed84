"""The schema's version: read at the start, brought forward under a lock of the transaction, so through poolers too.

Several instances that start at once migrate once: the others wait for the lock, then find nothing to do.
"""

from __future__ import annotations

import hashlib
from importlib import resources
from typing import Literal

from ngx_agents.errors import ConfigError, JournalTooNew
from ngx_agents.state.migrations import migrations
from ngx_agents.state.postgres_connections import Connection, Session

LOCK = 0x6E6778_0001
"""The advisory lock's number: "ngx" and 1."""
RowSecurity = Literal["auto", "on", "off"]
_NO_LIMITS = "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '120s'"
_LEDGER = """
CREATE SCHEMA IF NOT EXISTS ngx;
CREATE TABLE IF NOT EXISTS ngx.migration (
  version integer PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT statement_timestamp());
CREATE TABLE IF NOT EXISTS ngx.applied (name text PRIMARY KEY, digest text NOT NULL);
"""


def supported_version() -> int:
    return migrations("postgres")[-1][0]


async def checked_version(connection: Connection) -> int:
    """The journal's schema version, 0 when there is none yet. Raises JournalTooNew naming both versions."""
    found = 0
    if await connection.fetchval("SELECT to_regclass('ngx.migration') IS NOT NULL"):
        found = int(await connection.fetchval("SELECT coalesce(max(version), 0) FROM ngx.migration"))
    if found > supported_version():
        raise JournalTooNew(found=found, supported=supported_version())
    return found


async def migrate(session: Session, *, row_security: RowSecurity) -> int:
    """The version, after applying what is missing. Raises JournalTooNew, ConfigError."""
    async with session.statement() as connection:
        is_current = await checked_version(connection) == supported_version()
    if is_current and row_security == "off":
        return supported_version()
    async with session.transaction() as connection:
        await connection.execute(_NO_LIMITS)
        await connection.execute(f"SELECT pg_advisory_xact_lock({LOCK})")
        if not is_current:
            await _bring_forward(connection)
        if row_security != "off":
            await _secure_rows(connection, is_demanded=row_security == "on")
    return supported_version()


async def _bring_forward(connection: Connection) -> None:
    await connection.execute(_LEDGER)
    version = await checked_version(connection)
    for number, sql in migrations("postgres"):
        if number > version:
            await connection.execute(sql)
            await connection.execute("INSERT INTO ngx.migration (version) VALUES ($1)", number)


async def _secure_rows(connection: Connection, *, is_demanded: bool) -> None:
    """Applies the policies once for each text of theirs: doing so locks the tables for a moment."""
    if not await connection.fetchval("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = 'authenticated')"):
        if is_demanded:
            raise ConfigError("row security needs a database role named authenticated, as Supabase has")
        return
    sql = resources.files("ngx_agents.state.migrations").joinpath("supabase_rls.sql").read_text(encoding="utf-8")
    digest = hashlib.sha256(sql.encode()).hexdigest()
    known = await connection.fetchval("SELECT digest FROM ngx.applied WHERE name = 'supabase_rls'")
    if known == digest:
        return
    await connection.execute(sql)
    await connection.execute(
        "INSERT INTO ngx.applied (name, digest) VALUES ('supabase_rls', $1)"
        " ON CONFLICT (name) DO UPDATE SET digest = excluded.digest",
        digest,
    )
