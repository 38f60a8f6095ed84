from __future__ import annotations

import asyncio
from pathlib import Path

from ngx_agents.state.commands import AddPost, ClaimPushes, SettlePush
from ngx_agents.state.model import Owner
from ngx_agents.state.sqlite import SqliteJournal
from tests.cli.command import ngx_here

ANA = Owner("acme", "ana")


async def _leave_a_dead_entry(path: Path) -> None:
    journal = SqliteJournal(path)
    await journal.open()
    await journal.migrate()
    await journal.transact(
        [
            AddPost(
                owner=ANA, kind="batch", subject="b_1", webhook_id="done", url="https://hooks.example/1", body=b"",
                content=b"x", now=1.0,
            ),
            ClaimPushes(instance="k", now=2.0, limit=1, lease_s=9.0),
            SettlePush(
                number=1, instance="k", owner=ANA, verdict="dead", now=3.0, attempts=10, reason="answered 503"
            ),
        ]
    )  # fmt: skip
    await journal.close()


def test_a_dead_entry_is_shown_with_its_reason_and_is_due_when_replayed(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    asyncio.run(_leave_a_dead_entry(tmp_path / "data" / "journal.db"))
    shown = ngx_here("outbox", "dead", "--data-dir", "data", cwd=tmp_path)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "answered 503" in shown.stdout
    done = ngx_here("outbox", "replay", "1", "--data-dir", "data", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "1 is due again\n")
    again = ngx_here("outbox", "replay", "1", "--data-dir", "data", cwd=tmp_path)
    assert (again.returncode, again.stderr) == (1, "ngx: 1 is not a dead entry\n")
