"""`ngx shards`: shows where the shards are, and moves one between two databases while they are in use."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path

from ngx_agents.cli.table import table
from ngx_agents.clock import SystemClock
from ngx_agents.state.ids import SHARDS
from ngx_agents.state.shard_move import MoveSettings, ShardMover
from ngx_agents.state.sharded_map import ShardMap, ShardServer, read_shard_file

DETAILS = """\
The file names the databases and where each of the 256 shards was first put:
  {"servers": {"a": "postgresql://…", "b": "postgresql://…"}, "places": {"0-127": "a", "128-255": "b"}}
A server with standbys that answer questions about history: {"url": "…", "replicas": ["…"]}.
It needs direct URLs, not a pooler's, and mode 600: it holds passwords. Where a shard went since, the databases know.

A move copies the shard while it is in use, then refuses its writes for as long as the rest and --lease-s take. When a
move dies, run the same command again: it goes on. --back undoes one that was not handed over.

examples:
  ngx shards show --file shards.json
  ngx shards move 7 b --file shards.json
  ngx shards move 7 --back --file shards.json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    show = actions.add_parser("show", help="print where every shard is")
    show.set_defaults(action=_show)
    move = actions.add_parser("move", help="move one shard to another database")
    move.add_argument("shard", type=int, help="0 to 255")
    move.add_argument("to", nargs="?", help="the database's name in the file")
    move.add_argument("--back", action="store_true", help="undo a move that was begun and not handed over")
    move.add_argument(
        "--lease-s",
        type=float,
        default=MoveSettings().lease_s,
        help="how long any server may go by what it heard last (default: %(default)s)",
    )
    move.set_defaults(action=_move)
    for action in (show, move):
        action.add_argument(
            "--file", type=Path, default=Path("shards.json"), help="the shard file (default: %(default)s)"
        )


def run(args: argparse.Namespace) -> int:
    if args.action is _move and (args.to is None) != args.back:
        print("ngx: say where to move the shard, or --back", file=sys.stderr)
        return 2
    code: int = asyncio.run(args.action(args))
    return code


async def _show(args: argparse.Namespace) -> int:
    places, servers = read_shard_file(args.file)
    seen = await ShardMover(places, _urls(servers), clock=SystemClock()).look()
    print(table(("shards", "at", "epoch", "state"), _ranges(seen)))
    return 0


async def _move(args: argparse.Namespace) -> int:
    places, servers = read_shard_file(args.file)
    settings = MoveSettings(lease_s=args.lease_s)
    mover = ShardMover(places, _urls(servers), clock=SystemClock(), settings=settings, on_step=_told)
    if args.back:
        print(f"shard {args.shard} is at {await mover.roll_back(args.shard)}")
        return 0
    moved = await mover.move(args.shard, args.to)
    print(f"shard {moved.shard} is at {moved.target}: {moved.rows} rows, no writes for {moved.frozen_s:.2f} s")
    return 0


def _urls(servers: Mapping[str, ShardServer]) -> dict[str, str]:
    return {name: server.url for name, server in servers.items()}


async def _told(step: str) -> None:
    print(step, file=sys.stderr)


def _ranges(seen: ShardMap) -> list[tuple[str, ...]]:
    """Neighbours that are alike share a line."""
    rows: list[tuple[str, ...]] = []
    alike = groupby(range(SHARDS), key=lambda shard: (seen.place_of(shard), seen.epoch_of(shard), _state(seen, shard)))
    for (at, epoch, state), shards in alike:
        members = list(shards)
        name = str(members[0]) if len(members) == 1 else f"{members[0]}-{members[-1]}"
        rows.append((name, at, str(epoch), state))
    return rows


def _state(seen: ShardMap, shard: int) -> str:
    place = seen.state_of(shard, seen.place_of(shard))
    return place.state if place is not None else "serving"
