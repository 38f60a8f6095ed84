"""`ngx keys`: makes, lists, rotates and revokes API keys, directly in the journal, also beside a running server."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime

import msgspec

from ngx_agents.agents.test_agent import ID as TEST_AGENT
from ngx_agents.cli.controls import operator_here
from ngx_agents.cli.flags import add_config_flags, loaded_config
from ngx_agents.cli.journal_access import run_on_journal
from ngx_agents.cli.table import table
from ngx_agents.clock import SystemClock
from ngx_agents.errors import ConfigError, InvalidRequest, NotFound
from ngx_agents.gateway.admin.audit import AuditTrail
from ngx_agents.gateway.admin.keys import KeyBody, Keys
from ngx_agents.state.commands import ApiKey
from ngx_agents.state.ids import Ids
from ngx_agents.state.journal import Journal

DETAILS = """\
Works on the journal of the configuration, with or without a server running on it. A key is shown once, when
it is made: only its hash is stored. A running server refuses a revoked key after 5 seconds at the latest.

examples:
  ngx keys create --user ana --tenant acme --name "Ana's script" --expires-days 90
  ngx keys create --user ana --agent progress_tracker    may ask this agent alone
  ngx keys create --user ops --role operator             may call /v1/admin
  ngx keys list
  ngx keys rotate k_3c01KB… --overlap-hours 24           a new key; the old one holds a day longer
  ngx keys revoke k_3c01KB…
"""
DAY_S = 86_400.0
HOUR_S = 3_600.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    create = actions.add_parser("create", help="make a key and print its secret, once")
    create.add_argument("--user", required=True, help="whose key it is")
    create.add_argument("--tenant", default="default", help="the customer the user belongs to (default: %(default)s)")
    create.add_argument("--role", action="append", default=[], choices=["operator"], help="grant a role")
    create.add_argument("--agent", action="append", default=[], help="an agent it may ask; without one, all")
    create.add_argument("--name", default="", help="what people call it")
    create.add_argument("--expires-days", type=float, help="after so many days it holds no longer")
    create.set_defaults(action=_create)
    listing = actions.add_parser("list", help="print all keys, without their secrets")
    listing.set_defaults(action=_list)
    rotate = actions.add_parser("rotate", help="make a new key like this one, which holds on for a while")
    rotate.add_argument("id", help="the key's id, as `ngx keys list` prints it")
    rotate.add_argument(
        "--overlap-hours", type=float, default=24.0, help="how long the old one holds (default: %(default)s)"
    )
    rotate.set_defaults(action=_rotate)
    revoke = actions.add_parser("revoke", help="refuse a key from now on")
    revoke.add_argument("id", help="the key's id, as `ngx keys list` prints it")
    revoke.set_defaults(action=_revoke)
    for action in (create, listing, rotate, revoke):
        add_config_flags(action, "server.data_dir")


def run(args: argparse.Namespace) -> int:
    return run_on_journal(args)


def _keys(journal: Journal, agents: frozenset[str] = frozenset()) -> Keys:
    """`agents` are those that a new key may be for."""
    clock = SystemClock()
    ids = Ids(clock)
    return Keys(journal, ids, AuditTrail(journal, ids, clock), knows=agents.__contains__)


def _agents(args: argparse.Namespace) -> frozenset[str]:
    """The team's, and those elsewhere that the configuration names."""
    from ngx_agents.agents.loader import load_team
    from ngx_agents.agents.tools.registry import build_tools

    config = loaded_config(args, checked=False).config
    elsewhere = [*config.remote_agents, *([TEST_AGENT] if config.a2a.test_agent else [])]
    return frozenset([*(agent.card.id for agent in load_team(tools=build_tools()).agents), *elsewhere])


async def _create(args: argparse.Namespace, journal: Journal) -> int:
    if args.expires_days is not None and not args.expires_days > 0:
        raise ConfigError("--expires-days: more than 0")
    known = _agents(args) if args.agent else frozenset()
    now_s = SystemClock().now_s()
    given = {
        "user": args.user,
        "tenant": args.tenant,
        "name": args.name,
        "roles": args.role,
        "agents": args.agent,
        "expires_at": None if args.expires_days is None else now_s + args.expires_days * DAY_S,
    }
    try:
        made = await _keys(journal, known).create(operator_here(), msgspec.convert(given, KeyBody), now_s)
    except (msgspec.ValidationError, InvalidRequest) as error:
        raise ConfigError(f"key: {error}") from error
    _shown(*made)
    return 0


async def _list(args: argparse.Namespace, journal: Journal) -> int:
    head = ("id", "tenant", "user", "name", "roles", "agents", "created", "expires", "revoked", "last used")
    print(table(head, [_row(key) for key in await _keys(journal).all()]))
    return 0


async def _rotate(args: argparse.Namespace, journal: Journal) -> int:
    if args.overlap_hours < 0:
        raise ConfigError("--overlap-hours: 0 or more")
    await _known(journal, args.id)
    overlap_s, now_s = args.overlap_hours * HOUR_S, SystemClock().now_s()
    _shown(*await _keys(journal).rotate(operator_here(), args.id, overlap_s, now_s))
    return 0


async def _revoke(args: argparse.Namespace, journal: Journal) -> int:
    await _known(journal, args.id)
    await _keys(journal).revoke(operator_here(), args.id, SystemClock().now_s())
    print(f"{args.id} is revoked")
    return 0


async def _known(journal: Journal, key_id: str) -> None:
    """Raises NotFound."""
    if all(key.id != key_id for key in await _keys(journal).all()):
        raise NotFound(f"there is no key {key_id}: `ngx keys list` prints them")


def _shown(key: ApiKey, secret: str) -> None:
    print(f"{key.id}: this is the only time the secret is shown", file=sys.stderr)
    print(secret)


def _row(key: ApiKey) -> tuple[str, ...]:
    times = (key.created_at, key.expires_at, key.revoked_at, key.last_used_at)
    who = (key.id, key.owner.tenant, key.owner.user, key.name, ",".join(key.roles), ",".join(key.agents))
    return (*who, *(_date(at) for at in times))


def _date(at_s: float | None) -> str:
    return "" if at_s is None else datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
