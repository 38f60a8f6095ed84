"""Which journal the configuration means: Postgres by its URL, SQLite otherwise."""

from __future__ import annotations

from ngx_agents.app.config_sections import Config
from ngx_agents.clock import Clock, Rng
from ngx_agents.resilience.courtesy import Courtesy
from ngx_agents.state.journal import Journal
from ngx_agents.state.postgres import PostgresJournal
from ngx_agents.state.sqlite import SqliteJournal
from ngx_agents.telemetry.metrics import Metrics


def journal_of(
    config: Config, *, clock: Clock, metrics: Metrics, courtesy: Courtesy | None = None, exclusive: bool = True
) -> Journal:
    """`exclusive` False is for a tool beside a running server. Raises ConfigError for a URL that cannot be read."""
    if config.is_on_postgres and config.journal.url is not None:
        return PostgresJournal(config.journal.url, clock=clock, rng=Rng(), metrics=metrics)
    return SqliteJournal(config.journal_path, courtesy=courtesy, exclusive=exclusive)
