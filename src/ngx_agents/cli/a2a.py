"""`ngx a2a`: looks at messages between agents that were given up, and sends them again."""

from __future__ import annotations

import argparse
import asyncio
import sys
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import TypeAlias

from ngx_agents.a2a.dead_letters import DeadLetter, DeadLetters, dead_letters
from ngx_agents.app.secret_key import secret_keys
from ngx_agents.cli.flags import add_config_flags, loaded_config
from ngx_agents.cli.table import table
from ngx_agents.clock import SystemClock
from ngx_agents.errors import ConfigError, InvalidRequest, NotFound

Opened: TypeAlias = AbstractAsyncContextManager[DeadLetters]
DETAILS = """\
Between processes, messages travel over Redis. One whose every taker died, or that cannot be read, is kept as a dead
letter for a week, the newest thousand of each agent. So is one that no process with our secret key sent; that one is
never sent again. Sent again, it goes one way: whoever asked has been told.

examples:
  ngx a2a dead nutrition
  ngx a2a replay nutrition 1790000000000-0
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    dead = actions.add_parser("dead", help="print an agent's dead letters, newest first")
    dead.set_defaults(action=_dead)
    replay = actions.add_parser("replay", help="send dead letters again")
    replay.set_defaults(action=_replay)
    for action in (dead, replay):
        action.add_argument("agent", help="the agent they were for")
        add_config_flags(action, "redis.url", "server.data_dir")
    dead.add_argument("--limit", type=int, default=100, help="how many at most (default: %(default)s)")
    replay.add_argument("id", nargs="+", help="as `ngx a2a dead` prints it")
    replay.add_argument("--within-s", type=float, default=60.0, help="how long each has (default: 60)")


def run(args: argparse.Namespace) -> int:
    config = loaded_config(args, checked=False).config
    if not config.redis.url:
        raise ConfigError("NGX_REDIS_URL is not set: without it messages stay in the process and none is kept")
    letters = dead_letters(config.redis.url, args.agent, keys=secret_keys(config), clock=SystemClock())
    code: int = asyncio.run(args.action(args, letters))
    return code


async def _dead(args: argparse.Namespace, opened: Opened) -> int:
    async with opened as letters:
        rows = [_row(letter) for letter in await letters.list(limit=max(1, args.limit))]
    print(table(("id", "given up", "reason", "class", "message"), rows))
    return 0


async def _replay(args: argparse.Namespace, opened: Opened) -> int:
    failed = False
    async with opened as letters:
        for letter_id in args.id:
            try:
                await letters.replay(letter_id, within_s=args.within_s)
            except (NotFound, InvalidRequest) as error:
                failed = True
                print(f"ngx: {error}", file=sys.stderr)
            else:
                print(f"{letter_id} waits for {args.agent} again")
    return int(failed)


def _row(letter: DeadLetter) -> tuple[str, ...]:
    at = datetime.fromtimestamp(letter.at_s, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    parcel = letter.parcel
    return letter.id, at, letter.reason, "" if parcel is None else str(parcel.turn_class), parcel.id if parcel else ""
