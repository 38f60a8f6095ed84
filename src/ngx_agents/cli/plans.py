"""`ngx plans`: what the users of a plan may do."""

from __future__ import annotations

import argparse

from ngx_agents.cli.controls import add_control_actions
from ngx_agents.cli.journal_access import run_on_journal

DETAILS = """\
Without a plan of that name, tenants have the plan `default`; set `default` to change what everybody has.
A running server follows within 5 seconds. Every change is in the audit log.

examples:
  ngx plans set gold --turns-per-minute 300 --turns-per-day 50000
  ngx plans list
  ngx plans remove gold
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    add_control_actions(actions, "plan")


def run(args: argparse.Namespace) -> int:
    return run_on_journal(args)
