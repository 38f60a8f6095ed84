"""`ngx turns`: looks at turns that were given up after too many attempts, and lets them run again."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime

from ngx_agents.cli.flags import add_config_flags
from ngx_agents.cli.journal_access import run_on_journal
from ngx_agents.cli.table import table
from ngx_agents.clock import SystemClock
from ngx_agents.errors import NotFound
from ngx_agents.state.commands import ListDead, ReplayTurn
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
    now = SystemClock().now_s()
    commands = [ReplayTurn(turn_id=each, now=now, deadline_at=now + args.within_s) for each in args.id]
    failed = False
    for turn_id, result in zip(args.id, await journal.transact(commands), strict=True):
        if isinstance(result, NotFound):
            failed = True
            print(f"ngx: {turn_id} is not a dead turn", file=sys.stderr)
        elif isinstance(result, BaseException):
            raise result
        else:
            print(f"{turn_id} waits in its conversation again")
    return int(failed)


def _row(turn: Turn) -> tuple[str, ...]:
    accepted = datetime.fromtimestamp(turn.accepted_at, UTC).strftime("%Y-%m-%d %H:%M:%S")
    reason = turn.answer.message if turn.answer is not None and turn.answer.message else ""
    owner = turn.owner
    return turn.id, owner.tenant, owner.user, turn.conversation_id, str(turn.attempts), accepted, reason
