"""The sweep of users' data by settings: each kind at its own age, what is not named for good."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.state.journal_conformance import ANA, NOW, conversation, ids, tell
from tests.state.journal_conformance_retention import talk
from tests.state.journal_conformance_states import DAY_S
from tests.state.manual_clock import ManualClock

from ngx_agents.app.config import Config
from ngx_agents.app.config_data import RetentionConfig
from ngx_agents.app.config_turns import OutboxConfig
from ngx_agents.app.journals import retention_of
from ngx_agents.errors import ConfigError
from ngx_agents.state import commands as c
from ngx_agents.state.blobs import new_blob
from ngx_agents.state.expiry import Retention, Sweeper
from ngx_agents.state.model import LogEntry
from ngx_agents.state.sqlite_memory import MemoryJournal
from ngx_agents.telemetry.metrics import Metrics


def log_of(kind: Any, day: int) -> c.AddLog:
    return c.AddLog(owner=ANA, entry=LogEntry(id=ids.new("l", 1), kind=kind, at=NOW + day * DAY_S, data={"n": day}))


def test_the_settings_say_what_goes_and_when() -> None:
    retention = RetentionConfig(messages_days=2, weight_days=1.5, attachments_days=3)
    found = retention_of(msgspec.structs.replace(Config(), retention=retention))
    assert (found.messages_s, found.attachments_s, found.artifacts_s) == (2 * DAY_S, 3 * DAY_S, None)
    assert found.logs_s == {"weight": 1.5 * DAY_S}
    outbox = OutboxConfig(dead_kept_days=2)
    assert retention_of(msgspec.structs.replace(Config(), outbox=outbox)).outbox_s == 2 * DAY_S
    assert {kind for (kind, _), _ in retention_of(Config()).limits} == {
        "idempotency",
        "turns",
        "batches",
        "audit",
        "outbox",
    }


def test_messages_are_never_kept_for_less_than_a_day() -> None:
    with pytest.raises(ConfigError):
        Retention(messages_s=DAY_S - 1)
    with pytest.raises(ConfigError):
        Retention(logs_s={"weight": -1})


async def test_a_sweep_lets_go_of_each_kind_at_its_own_age_and_counts_it() -> None:
    journal, clock, metrics = MemoryJournal(), ManualClock(), Metrics()
    await journal.open()
    await journal.migrate()
    lane = await conversation(journal)
    await talk(journal, lane, turns=4)
    for day in range(4):
        await tell(journal, log_of("weight", day))
        await tell(journal, log_of("sleep", day))
        blob = new_blob(ANA, f"{day}".encode(), "text/plain", now=NOW + day * DAY_S)
        await tell(journal, c.PutBlob(owner=ANA, blob=blob))
    sweeper = Sweeper(
        journal,
        clock,
        instance="one",
        interval_s=3600,
        retention=Retention(messages_s=2 * DAY_S, attachments_s=3 * DAY_S, logs_s={"weight": 1 * DAY_S}),
        metrics=metrics,
    )
    clock.pass_s(NOW + 4 * DAY_S - clock.now_s())
    gone = await sweeper.sweep()
    assert {kind: count for kind, count in gone.items() if count} == {"messages": 2, "attachments": 1, "logs_weight": 3}
    expired = metrics.counter("ngx_state_expired_total", "", "kind")
    assert [expired.labels(kind).value for kind in ("messages", "logs_weight", "artifacts")] == [2, 3, 0]
    other = Sweeper(journal, clock, instance="two", interval_s=3600, retention=Retention(), metrics=metrics)
    assert await other.sweep() == {}, "one instance sweeps"
    await journal.close()
