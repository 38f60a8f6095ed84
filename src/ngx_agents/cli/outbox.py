"""`ngx outbox`: looks at what webhooks did not take in all attempts, and sends it again."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime

from ngx_agents.cli.flags import add_config_flags
from ngx_agents.cli.journal_access import run_on_journal
from ngx_agents.cli.table import table
from ngx_agents.clock import SystemClock
from ngx_agents.state.commands import ListDeadPushes, ReplayPush
from ngx_agents.state.journal import Journal
from ngx_agents.state.push_commands import DeadPush

DETAILS = """\
What a webhook did not take in all attempts is kept, with the reason. Replayed, it is due at once and its attempts are
counted anew; a running server sends it within a second or two.

examples:
  ngx outbox dead
  ngx outbox replay 17 18
"""
MOST = 1000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    dead = actions.add_parser("dead", help="print what was given up, newest first")
    dead.set_defaults(action=_dead)
    replay = actions.add_parser("replay", help="send entries again")
    replay.add_argument("number", nargs="+", type=int, help="an entry's number, as `ngx outbox dead` prints it")
    replay.set_defaults(action=_replay)
    for action in (dead, replay):
        add_config_flags(action, "server.data_dir")


def run(args: argparse.Namespace) -> int:
    return run_on_journal(args)


async def _dead(args: argparse.Namespace, journal: Journal) -> int:
    found: tuple[DeadPush, ...] = await journal.query(ListDeadPushes(limit=MOST))
    heads = ("number", "kind", "about", "tenant", "user", "address", "attempts", "since", "reason")
    print(table(heads, [_row(entry) for entry in found]))
    return 0


async def _replay(args: argparse.Namespace, journal: Journal) -> int:
    found: tuple[DeadPush, ...] = await journal.query(ListDeadPushes(limit=MOST))
    now, failed = SystemClock().now_s(), False
    for number in args.number:
        commands = [ReplayPush(number=number, owner=entry.owner, now=now) for entry in found if entry.number == number]
        results = await journal.transact(commands) if commands else []
        for result in results:
            if isinstance(result, BaseException):
                raise result
        if any(results):
            print(f"{number} is due again")
        else:
            failed = True
            print(f"ngx: {number} is not a dead entry", file=sys.stderr)
    return int(failed)


def _row(entry: DeadPush) -> tuple[str, ...]:
    since = datetime.fromtimestamp(entry.at, UTC).strftime("%Y-%m-%d %H:%M:%S")
    owner = entry.owner
    return (
        str(entry.number), entry.kind, entry.subject, owner.tenant, owner.user, entry.url, str(entry.attempts), since,
        entry.reason,
    )  # fmt: skip
