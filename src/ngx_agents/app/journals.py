"""Which journal the configuration means, and what stands before it: Postgres by its URL, with standbys or in shards,
SQLite otherwise; what goes on while Postgres is away; copies in memory and, where instances share something, in Redis.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ngx_agents.app.config_sections import Config
from ngx_agents.clock import Clock, Rng
from ngx_agents.coordination.shared import Shared
from ngx_agents.resilience.courtesy import Courtesy
from ngx_agents.state.consent import ConsentGate
from ngx_agents.state.expiry import Retention
from ngx_agents.state.failover import FailoverJournal
from ngx_agents.state.failover_ladder import Losses
from ngx_agents.state.failover_late import LateJournal
from ngx_agents.state.journal import Journal
from ngx_agents.state.local_acceptance import LocalAcceptance
from ngx_agents.state.local_acceptance_aside import Aside
from ngx_agents.state.local_log import LocalLog
from ngx_agents.state.memory_tier import MemoryTier
from ngx_agents.state.model import LogKind
from ngx_agents.state.object_store import ObjectSettings, ObjectStore
from ngx_agents.state.object_tier import ObjectTier
from ngx_agents.state.postgres import PostgresJournal
from ngx_agents.state.replicas import ReplicaJournal
from ngx_agents.state.sharded import ShardedJournal
from ngx_agents.state.sharded_map import read_shard_file
from ngx_agents.state.shared_tier import SharedTier
from ngx_agents.state.sqlite import SqliteJournal
from ngx_agents.telemetry.metrics import Metrics

DAY_S = 86_400.0


def journal_of(  # what it is made of, all by name
    config: Config,
    *,
    clock: Clock,
    metrics: Metrics,
    courtesy: Courtesy | None = None,
    exclusive: bool = True,
    losses: Losses | None = None,
) -> Journal:
    """`exclusive` False is for a tool beside a running server. A Postgres that is away keeps a server from starting
    unless something can answer for it; `losses` hears of it then. Raises ConfigError for what cannot be read.
    """

    def postgres(url: str, *, on_lost: Callable[[str], None] | None = None) -> Callable[[], Journal]:
        return lambda: PostgresJournal(url, clock=clock, rng=Rng(), metrics=metrics, on_lost=on_lost)

    def with_replicas(url: str, replicas: Sequence[str], *, name: str) -> Journal:
        primary = LateJournal(
            postgres(url, on_lost=losses.tell if losses is not None else None), name=name, clock=clock
        )
        if not replicas:
            return primary
        named = {f"{name}-{number}": postgres(one) for number, one in enumerate(replicas, start=1)}
        return ReplicaJournal(primary, named, clock=clock, rng=Rng(), metrics=metrics)

    url, replicas, shards = config.journal.url, config.journal.replica_urls, config.journal.shards
    if shards is not None:
        places, servers = read_shard_file(Path(shards).expanduser().absolute())
        journals = {name: with_replicas(one.url, one.replicas, name=name) for name, one in servers.items()}
        return ShardedJournal(places, journals, clock=clock, metrics=metrics)
    if not config.is_on_postgres or url is None:
        return SqliteJournal(config.journal_path, courtesy=courtesy, exclusive=exclusive)
    if not replicas and not config.journal.local_acceptance:
        return postgres(url, on_lost=losses.tell if losses is not None else None)()
    return with_replicas(url, replicas, name="primary")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiers:
    """`journal` is what everything asks; `failover` knows how the database is, None on SQLite and on shards.

    `memory` is the tier that keeps copies in this process, `objects` the one that keeps attachments' bytes in
    an object store.
    """

    journal: Journal
    memory: MemoryTier
    failover: FailoverJournal | None
    objects: ObjectTier | None = None


def tiers_of(config: Config, *, clock: Clock, metrics: Metrics, courtesy: Courtesy, shared: Shared | None) -> Tiers:
    """The journal with all that stands before it, made and not opened.

    Failover stands on top: what it takes locally needs the copies below it, which outlive the database's absence. Over
    shards there is none: a server that is away concerns its own users alone, and they are refused by it.
    """
    losses = Losses()
    journal = journal_of(config, clock=clock, metrics=metrics, courtesy=courtesy, losses=losses)
    objects = None
    if (settings := _object_settings(config)) is not None:
        store = ObjectStore(settings, clock=clock, rng=Rng(), metrics=metrics)
        journal = objects = ObjectTier(journal, store)
    memory = MemoryTier(journal, max_bytes=config.journal.memory_bytes)
    top: Journal = memory
    if shared is not None and config.journal.shared_copies:
        top = SharedTier(memory, shared, ttl_s=config.journal.shared_ttl_s, metrics=metrics)
    if not config.is_on_postgres or config.journal.shards is not None:
        return Tiers(journal=_gated(top, config), memory=memory, failover=None, objects=objects)
    acceptance = _acceptance(config, clock, courtesy) if config.journal.local_acceptance else None
    failover = FailoverJournal(top, clock=clock, metrics=metrics, acceptance=acceptance, losses=losses)
    return Tiers(journal=_gated(failover, config), memory=memory, failover=failover, objects=objects)


def retention_of(config: Config) -> Retention:
    """Raises ConfigError."""
    kept = config.retention
    logs: dict[LogKind, float] = {
        "weight": kept.weight_days,
        "sleep": kept.sleep_days,
        "workout": kept.workout_days,
        "check_in": kept.check_in_days,
        "nutrition": kept.nutrition_days,
    }
    return Retention(
        turns_s=config.journal.turns_kept_days * DAY_S,
        batches_s=config.batches.kept_days * DAY_S,
        conversations_s=_kept_s(config.journal.conversations_kept_days),
        messages_s=_kept_s(kept.messages_days),
        artifacts_s=_kept_s(kept.artifacts_days),
        attachments_s=_kept_s(kept.attachments_days),
        audit_s=_kept_s(kept.audit_days),
        outbox_s=config.outbox.dead_kept_days * DAY_S,
        logs_s={kind: days * DAY_S for kind, days in logs.items() if days},
    )


def _kept_s(days: float) -> float | None:
    return days * DAY_S if days else None


def _object_settings(config: Config) -> ObjectSettings | None:
    blobs = config.blobs
    if blobs.url is None:
        return None
    return ObjectSettings(
        url=blobs.url,
        bucket=blobs.bucket or "",
        region=blobs.region,
        access_key=blobs.access_key or "",
        secret_key=blobs.secret_key or "",
        prefix=blobs.prefix,
        is_path_style=blobs.path_style,
        timeout_s=blobs.timeout_s,
    )


def _gated(journal: Journal, config: Config) -> Journal:
    return ConsentGate(journal) if config.journal.health_consent else journal


def _acceptance(config: Config, clock: Clock, courtesy: Courtesy) -> LocalAcceptance:
    """In the data directory; a log of another journal is refused there. A journal is its host and database."""
    folder, url = config.data_path, urlsplit(config.journal.url or "")
    place = f"{url.netloc.rpartition('@')[2]}{url.path}"
    origin = hashlib.sha256(place.encode()).hexdigest()
    log = LocalLog(folder / "local.log", courtesy=courtesy)
    return LocalAcceptance(log, Aside(folder / "local.aside.jsonl", now=clock.now_s), origin=origin)
