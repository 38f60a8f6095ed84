"""`ngx flags`: feature flags by tenant, plan and share of the users."""

from __future__ import annotations

import argparse

from ngx_agents.cli.controls import add_control_actions
from ngx_agents.cli.journal_access import run_on_journal

DETAILS = """\
A user's place in the share depends on the flag's name, so the users of one flag's 10 % are not those of another's.

The house itself knows:
  cheaper-model   answers come from the cheaper model ([budgets] cheaper_model)

examples:
  ngx flags set cheaper-model --share-percent 10
  ngx flags set cheaper-model --tenants acme,umbrella --share-percent 100
  ngx flags set cheaper-model --is-on no
  ngx flags list
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    add_control_actions(actions, "flag")


def run(args: argparse.Namespace) -> int:
    return run_on_journal(args)
