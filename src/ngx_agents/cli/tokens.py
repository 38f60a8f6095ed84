"""`ngx tokens`: takes JWTs back before they expire, directly in the journal, also beside a running server."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime

from ngx_agents.cli.controls import operator_here
from ngx_agents.cli.flags import add_config_flags, loaded_config
from ngx_agents.cli.journal_access import run_on_journal
from ngx_agents.cli.table import table
from ngx_agents.clock import SystemClock
from ngx_agents.errors import ConfigError
from ngx_agents.gateway.admin.audit import AuditTrail
from ngx_agents.gateway.admin.revocations import RevocationView, Revoking
from ngx_agents.state.control_board import ControlBoard
from ngx_agents.state.ids import Ids
from ngx_agents.state.journal import Journal
from ngx_agents.state.model import Owner
from ngx_agents.telemetry.metrics import Metrics

DETAILS = """\
A running server refuses what is taken back after 5 seconds at the latest, and remembers it until every such token has
expired ([auth] jwt_max_life_s). Who was meant to stay signs in again. Every change is in the audit log.

examples:
  ngx tokens revoke --user ana --tenant acme                  all that ana was given up to now
  ngx tokens revoke --user ana --issued-before 2026-11-24T09:00:00Z
  ngx tokens revoke --jti 5f0c9d                              the one token with this id
  ngx tokens list
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    revoke = actions.add_parser("revoke", help="refuse a token, or all of a user, from now on")
    what = revoke.add_mutually_exclusive_group(required=True)
    what.add_argument("--jti", help="the id (jti) of one token")
    what.add_argument("--user", help="whose tokens")
    revoke.add_argument("--tenant", default="default", help="the customer the user belongs to (default: %(default)s)")
    revoke.add_argument("--issued-before", metavar="TIME", help="only those issued before, ISO 8601 (default: now)")
    revoke.set_defaults(action=_revoke)
    listing = actions.add_parser("list", help="print what was taken back and could still be shown")
    listing.set_defaults(action=_list)
    for action in (revoke, listing):
        add_config_flags(action, "server.data_dir")


def run(args: argparse.Namespace) -> int:
    return run_on_journal(args)


def _revoking(args: argparse.Namespace, journal: Journal) -> Revoking:
    clock = SystemClock()
    life_s = loaded_config(args, checked=False).config.auth.jwt_max_life_s
    controls = ControlBoard(journal, clock=clock, metrics=Metrics())
    return Revoking(controls, AuditTrail(journal, Ids(clock), clock), clock, life_s=life_s)


async def _revoke(args: argparse.Namespace, journal: Journal) -> int:
    before, revoking = _time(args.issued_before), _revoking(args, journal)
    if args.jti is not None:
        if before is not None:
            raise ConfigError("--issued-before: one token is taken back whenever it was issued")
        made = await revoking.token(operator_here(), args.jti)
    else:
        made = await revoking.user(operator_here(), Owner(args.tenant, _name(args.user)), before)
    print(f"{made.id} is revoked")
    return 0


async def _list(args: argparse.Namespace, journal: Journal) -> int:
    rows = [_row(one) for one in await _revoking(args, journal).all()]
    print(table(("revoked", "issued before", "kept until"), rows))
    return 0


def _name(user: str) -> str:
    if not user or not user.isprintable():
        raise ConfigError("--user: a name that can sign in")
    return user


def _time(given: str | None) -> float | None:
    if given is None:
        return None
    try:
        at = datetime.fromisoformat(given)
    except ValueError:
        raise ConfigError(f"--issued-before: {given!r} is no time such as 2026-11-24T09:00:00Z") from None
    return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp()


def _row(one: RevocationView) -> tuple[str, ...]:
    return one.id, _date(one.issued_before), _date(one.until)


def _date(at_s: float | None) -> str:
    return "" if at_s is None else datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
