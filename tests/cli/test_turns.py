from __future__ import annotations

import asyncio
from pathlib import Path

from ngx_agents.clock import SystemClock
from ngx_agents.state.commands import AcceptTurn, CreateConversation, FinishTurn
from ngx_agents.state.ids import Ids
from ngx_agents.state.model import Answer, Owner
from ngx_agents.state.sqlite import SqliteJournal
from tests.cli.command import ngx_here
from tests.cli.running_server import running_server

ANA = Owner("local", "local")


async def _leave_a_dead_turn(path: Path) -> str:
    """A turn that was given up, as a server that was killed again and again leaves it."""
    clock, journal = SystemClock(), SqliteJournal(path)
    ids, now = Ids(clock), clock.now_s()
    await journal.open()
    await journal.migrate()
    conversation, turn = ids.new("c", 1), ids.new("t", 1)
    accept = AcceptTurn(
        conversation_id=conversation, owner=ANA, turn_id=turn, message_id=ids.new("m", 1), text="hola", turn_class=1,
        when_busy="enqueue", now=now, deadline_at=now + 60, grant_to="k",
    )  # fmt: skip
    create = CreateConversation(id=conversation, owner=ANA, title="", now=now)
    _, accepted = await journal.transact([create, accept])
    finish = FinishTurn(
        conversation_id=conversation, owner=ANA, turn_id=turn, user_seq=accepted.user_seq, epoch=accepted.epoch,
        status="dead", answer=Answer(code="dead", message="given up after 5 attempts"), last_seq=1, now=now,
    )  # fmt: skip
    [finished] = await journal.transact([finish])
    assert not isinstance(finished, BaseException), finished
    await journal.close()
    return turn


def test_a_dead_turn_is_shown_with_its_reason_and_runs_again_when_replayed(tmp_path):
    (tmp_path / "data").mkdir()
    turn = asyncio.run(_leave_a_dead_turn(tmp_path / "data" / "journal.db"))
    shown = ngx_here("turns", "dead", "--data-dir", "data", cwd=tmp_path)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert turn in shown.stdout
    assert "given up after 5 attempts" in shown.stdout
    with running_server(tmp_path) as (_, url):
        done = ngx_here("turns", "replay", turn, "--data-dir", "data", cwd=tmp_path)
        assert done.stdout == f"{turn} waits in its conversation again\n"
        assert _status(url, turn) == "completed"
    again = ngx_here("turns", "replay", turn, "--data-dir", "data", cwd=tmp_path)
    assert (again.returncode, again.stderr) == (1, f"ngx: {turn} is not a dead turn\n")
    assert turn not in ngx_here("turns", "dead", "--data-dir", "data", cwd=tmp_path).stdout


def test_an_unknown_turn_is_told_and_fails(tmp_path):
    done = ngx_here("turns", "replay", "t_nothing", "--data-dir", "data", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "ngx: t_nothing is not a dead turn\n")


def _status(url: str, turn: str) -> str:
    import json
    import time
    import urllib.request

    until_s = time.monotonic() + 10
    while True:
        with urllib.request.urlopen(f"{url}/v1/turns/{turn}") as answer:
            status: str = json.load(answer)["status"]
        if status not in ("queued", "running") or time.monotonic() > until_s:
            return status
        time.sleep(0.05)
