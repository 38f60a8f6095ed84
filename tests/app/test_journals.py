"""Which tiers the configuration puts before the journal."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from ngx_agents.app.config_sections import Config, JournalConfig, ServerConfig
from ngx_agents.app.journals import journal_of, tiers_of
from ngx_agents.clock import SystemClock
from ngx_agents.coordination.commands import GetVersioned
from ngx_agents.coordination.local_shared import LocalShared
from ngx_agents.resilience.courtesy import Courtesy
from ngx_agents.state.failover_late import LateJournal
from ngx_agents.state.replicas import ReplicaJournal
from ngx_agents.state.sharded import ShardedJournal
from ngx_agents.telemetry.metrics import Metrics
from tests.state.journal_conformance import accept, conversation, finish, tell


@pytest.mark.parametrize("is_on", [True, False])
async def test_copies_are_shared_unless_the_switch_is_off(tmp_path: Path, *, is_on: bool) -> None:
    config = Config(server=ServerConfig(data_dir=str(tmp_path)), journal=JournalConfig(shared_copies=is_on))
    shared = LocalShared(SystemClock())
    await shared.open()
    tiers = tiers_of(config, clock=SystemClock(), metrics=Metrics(), courtesy=Courtesy(), shared=shared)
    await tiers.journal.open()
    await tiers.journal.migrate()
    lane = await conversation(tiers.journal)
    turn = await tell(tiers.journal, accept(lane))
    await tell(tiers.journal, finish(lane, turn.turn_id, turn.epoch))
    for _ in range(20):
        await asyncio.sleep(0)  # what is shared goes out in a task of its own
    found = await shared.ask(GetVersioned(f"recent:{{{lane}}}"))
    assert (found is not None) is is_on
    await tiers.journal.close()
    await shared.close()


def test_a_shard_file_gives_a_server_its_standbys(tmp_path: Path) -> None:
    servers = {"a": "postgresql://h/a", "b": {"url": "postgresql://h/b", "replicas": ["postgresql://r/b"]}}
    path = tmp_path / "shards.json"
    path.write_text(json.dumps({"servers": servers, "places": {"0-127": "a", "128-255": "b"}}))
    journal = journal_of(
        Config(journal=JournalConfig(shards=str(path))), clock=SystemClock(), metrics=Metrics(), losses=None
    )
    assert isinstance(journal, ShardedJournal)
    assert {name: type(one) for name, one in journal._journals.items()} == {"a": LateJournal, "b": ReplicaJournal}
