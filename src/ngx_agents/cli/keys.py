"""`ngx keys`: makes, lists and revokes API keys, directly in the journal, also beside a running server."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime

from ngx_agents.cli.flags import add_config_flags
from ngx_agents.cli.journal_access import run_on_journal
from ngx_agents.cli.table import table
from ngx_agents.clock import SystemClock
from ngx_agents.errors import NgxError, NotFound
from ngx_agents.gateway.api_keys import new_api_key
from ngx_agents.state.commands import ApiKey, ListKeys, PutKey, RevokeKey
from ngx_agents.state.ids import Ids, shard_of
from ngx_agents.state.journal import Journal
from ngx_agents.state.model import Owner

DETAILS = """\
Works on the journal of the configuration, with or without a server running on it. A key is shown once, when
it is made: only its hash is stored. A running server refuses a revoked key after 10 seconds at the latest.

examples:
  ngx keys create --user ana --tenant acme
  ngx keys create --user ops --role operator    may call /v1/admin
  ngx keys list
  ngx keys revoke k_3c01KB…
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    create = actions.add_parser("create", help="make a key and print its secret, once")
    create.add_argument("--user", required=True, help="whose key it is")
    create.add_argument("--tenant", default="default", help="the customer the user belongs to (default: %(default)s)")
    create.add_argument("--role", action="append", default=[], choices=["operator"], help="grant a role")
    create.set_defaults(action=_create)
    listing = actions.add_parser("list", help="print all keys, without their secrets")
    listing.set_defaults(action=_list)
    revoke = actions.add_parser("revoke", help="refuse a key from now on")
    revoke.add_argument("id", help="the key's id, as `ngx keys list` prints it")
    revoke.set_defaults(action=_revoke)
    for action in (create, listing, revoke):
        add_config_flags(action, "server.data_dir")


def run(args: argparse.Namespace) -> int:
    return run_on_journal(args)


async def _create(args: argparse.Namespace, journal: Journal) -> int:
    clock = SystemClock()
    secret, digest = new_api_key()
    key = ApiKey(
        id=Ids(clock).new("k", shard_of(args.user)),
        digest=digest,
        owner=Owner(args.tenant, args.user),
        roles=tuple(sorted(set(args.role))),
        created_at=clock.now_s(),
    )
    await _done(journal, PutKey(key=key))
    print(f"{key.id}: this is the only time the secret is shown", file=sys.stderr)
    print(secret)
    return 0


async def _list(args: argparse.Namespace, journal: Journal) -> int:
    keys: tuple[ApiKey, ...] = await journal.query(ListKeys())
    print(table(("id", "tenant", "user", "roles", "created", "revoked"), [_row(key) for key in keys]))
    return 0


async def _revoke(args: argparse.Namespace, journal: Journal) -> int:
    if not await _done(journal, RevokeKey(id=args.id, now=SystemClock().now_s())):
        raise NotFound(f"there is no key {args.id}: `ngx keys list` prints them")
    print(f"{args.id} is revoked")
    return 0


async def _done(journal: Journal, command: PutKey | RevokeKey) -> object:
    result: object
    [result] = await journal.transact([command])
    if isinstance(result, NgxError):
        raise result
    return result


def _row(key: ApiKey) -> tuple[str, ...]:
    revoked = "" if key.revoked_at is None else _date(key.revoked_at)
    return key.id, key.owner.tenant, key.owner.user, ",".join(key.roles), _date(key.created_at), revoked


def _date(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
