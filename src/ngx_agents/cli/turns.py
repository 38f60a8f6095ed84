"""`ngx turns`: looks at turns that were given up after too many attempts, and lets them run again."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime

from ngx_agents.cli.controls import operator_here
from ngx_agents.cli.flags import add_config_flags
from ngx_agents.cli.journal_access import run_on_journal
from ngx_agents.cli.table import table
from ngx_agents.clock import SystemClock
from ngx_agents.errors import NotFound
from ngx_agents.gateway.admin.audit import AuditTrail
from ngx_agents.state.commands import ListDead, ReplayTurn
from ngx_agents.state.ids import Ids
from ngx_agents.state.journal import Journal
from ngx_agents.state.model import Page, Turn

DETAILS = """\
A turn that was begun five times and never ended is `dead`: it no longer holds up its conversation. What it was asked is
kept. Replayed, it waits in its conversation again; a running server takes it up within a second.

examples:
  ngx turns dead
  ngx turns replay t_3c01KB… t_3c01KC…
"""
PAGE = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    dead = actions.add_parser("dead", help="print the turns that were given up, newest first")
    dead.set_defaults(action=_dead)
    replay = actions.add_parser("replay", help="let turns run again")
    replay.add_argument("id", nargs="+", help="a turn's id, as `ngx turns dead` prints it")
    replay.add_argument("--within-s", type=float, default=60.0, help="how long it has (default: 60)")
    replay.set_defaults(action=_replay)
    for action in (dead, replay):
        add_config_flags(action, "server.data_dir")


def run(args: argparse.Namespace) -> int:
    return run_on_journal(args)


async def _dead(args: argparse.Namespace, journal: Journal) -> int:
    rows: list[tuple[str, ...]] = []
    cursor: str | None = None
    while True:
        page: Page = await journal.query(ListDead(limit=PAGE, cursor=cursor))
        rows.extend(_row(turn) for turn in page.items)
        cursor = page.next
        if cursor is None:
            break
    print(table(("id", "tenant", "user", "conversation", "attempts", "accepted", "reason"), rows))
    return 0


async def _replay(args: argparse.Namespace, journal: Journal) -> int:
    clock, failed = SystemClock(), False
    trail = AuditTrail(journal, Ids(clock), clock)
    for turn_id in args.id:
        now = clock.now_s()
        command = ReplayTurn(turn_id=turn_id, now=now, deadline_at=now + args.within_s)
        try:
            await trail.change(operator_here(), "turn.replay", f"turn/{turn_id}", command=command)
        except NotFound:
            failed = True
            print(f"ngx: {turn_id} is not a dead turn", file=sys.stderr)
        else:
            print(f"{turn_id} waits in its conversation again")
    return int(failed)


def _row(turn: Turn) -> tuple[str, ...]:
    accepted = datetime.fromtimestamp(turn.accepted_at, UTC).strftime("%Y-%m-%d %H:%M:%S")
    reason = turn.answer.message if turn.answer is not None and turn.answer.message else ""
    owner = turn.owner
    return turn.id, owner.tenant, owner.user, turn.conversation_id, str(turn.attempts), accepted, reason
