"""The bounds of a server, divided among its workers."""

from __future__ import annotations

import pytest

from ngx_agents.app.config import load_config, read_config
from ngx_agents.app.config_checks import troubles
from ngx_agents.app.shares import DIVIDED, share_of

POSTGRES = {"NGX_JOURNAL_URL": "postgresql://db/ngx", "NGX_SECRET_KEY": "k" * 32}


@pytest.mark.parametrize("workers", [2, 3, 7])
def test_the_shares_add_up_to_the_whole(workers: int) -> None:
    config = load_config(environ={**POSTGRES, "NGX_WORKERS": str(workers)}).config
    shares = [share_of(config, worker, workers) for worker in range(workers)]
    assert len(set(DIVIDED)) == len(DIVIDED), "what stands there twice would be divided twice"
    for section, field in DIVIDED:
        parts = [getattr(getattr(share, section), field) for share in shares]
        assert sum(parts) == getattr(getattr(config, section), field)
        assert max(parts) - min(parts) <= 1
    assert {share.vertex.quota_instances for share in shares} == {workers}


def test_everybody_gets_at_least_one_and_nothing_of_nothing() -> None:
    config = load_config(environ={**POSTGRES, "NGX_TURNS_MAX_RUNNING": "2", "NGX_JOURNAL_MEMORY_BYTES": "0"}).config
    shares = [share_of(config, worker, 8) for worker in range(8)]
    assert [share.turns.max_running for share in shares] == [1] * 8
    assert {share.journal.memory_bytes for share in shares} == {0}


@pytest.mark.parametrize(
    ("environ", "trouble"),
    [
        ({"NGX_WORKERS": "2"}, "[server] workers = 2 needs [journal] url"),
        ({"NGX_WORKERS": "2", **POSTGRES, "NGX_JOURNAL_LOCAL_ACCEPTANCE": "true"}, "[journal] local_acceptance needs"),
    ],
)
def test_several_workers_are_refused_where_a_file_belongs_to_one(environ: dict[str, str], trouble: str) -> None:
    assert [found for found in troubles(read_config(environ=environ).config) if found.startswith(trouble)]
