"""`ngx tenants`: customers, their plans, and what is otherwise for single users."""

from __future__ import annotations

import argparse

from ngx_agents.cli.controls import add_control_actions
from ngx_agents.cli.journal_access import run_on_journal
from ngx_agents.state.controls import ACCOUNT_JOIN

DETAILS = """\
A tenant that is not set has the plan `default`. A user's own word is over the tenant's.

examples:
  ngx tenants set acme --plan gold --running-turns 500
  ngx tenants set-user acme ana --may-be-critical yes
  ngx tenants set acme --is-suspended yes
  ngx tenants list
  ngx tenants list-user
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    add_control_actions(actions, "tenant")
    add_control_actions(actions, "account", word="-user", named=_account)


def _account(args: argparse.Namespace) -> str:
    return f"{args.tenant}{ACCOUNT_JOIN}{args.user}"


def run(args: argparse.Namespace) -> int:
    return run_on_journal(args)
