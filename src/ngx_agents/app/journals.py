"""Which journal the configuration means, and what stands before it: Postgres by its URL, SQLite otherwise; what goes on
while Postgres is away; copies in memory and, where instances share something, in Redis."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from ngx_agents.app.config_sections import Config
from ngx_agents.clock import Clock, Rng
from ngx_agents.coordination.shared import Shared
from ngx_agents.resilience.courtesy import Courtesy
from ngx_agents.state.expiry import Retention
from ngx_agents.state.failover import FailoverJournal
from ngx_agents.state.journal import Journal
from ngx_agents.state.local_acceptance import LocalAcceptance
from ngx_agents.state.local_acceptance_aside import Aside
from ngx_agents.state.local_log import LocalLog
from ngx_agents.state.memory_tier import MemoryTier
from ngx_agents.state.postgres import PostgresJournal
from ngx_agents.state.shared_tier import SharedTier
from ngx_agents.state.sqlite import SqliteJournal
from ngx_agents.telemetry.metrics import Metrics


def journal_of(
    config: Config, *, clock: Clock, metrics: Metrics, courtesy: Courtesy | None = None, exclusive: bool = True
) -> Journal:
    """`exclusive` False is for a tool beside a running server. Raises ConfigError for a URL that cannot be read."""
    if config.is_on_postgres and config.journal.url is not None:
        return PostgresJournal(config.journal.url, clock=clock, rng=Rng(), metrics=metrics)
    return SqliteJournal(config.journal_path, courtesy=courtesy, exclusive=exclusive)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiers:
    """`journal` is what everything asks; `failover` knows how the database is, None on SQLite."""

    journal: Journal
    failover: FailoverJournal | None


def tiers_of(config: Config, *, clock: Clock, metrics: Metrics, courtesy: Courtesy, shared: Shared | None) -> Tiers:
    """The journal with all that stands before it, made and not opened.

    Failover stands on top: what it takes locally needs the copies below it, which outlive the database's absence.
    """
    memory = MemoryTier(
        journal_of(config, clock=clock, metrics=metrics, courtesy=courtesy), max_bytes=config.journal.memory_bytes
    )
    top: Journal = memory
    if shared is not None:
        top = SharedTier(memory, shared, ttl_s=config.journal.shared_ttl_s, metrics=metrics)
    if not config.is_on_postgres:
        return Tiers(journal=top, failover=None)
    acceptance = _acceptance(config, clock, courtesy) if config.journal.local_acceptance else None
    failover = FailoverJournal(top, clock=clock, metrics=metrics, acceptance=acceptance)
    return Tiers(journal=failover, failover=failover)


def retention_of(config: Config) -> Retention:
    """Raises ConfigError."""
    days = config.journal.conversations_kept_days
    return Retention(
        turns_s=config.journal.turns_kept_days * 86_400.0,
        conversations_s=days * 86_400.0 if days else None,
    )


def _acceptance(config: Config, clock: Clock, courtesy: Courtesy) -> LocalAcceptance:
    """In the data directory; a log of another journal is refused there."""
    folder = config.data_path
    origin = hashlib.sha256((config.journal.url or "").encode()).hexdigest()
    log = LocalLog(folder / "local.log", courtesy=courtesy)
    return LocalAcceptance(log, Aside(folder / "local.aside.jsonl", now=clock.now_s), origin=origin)
