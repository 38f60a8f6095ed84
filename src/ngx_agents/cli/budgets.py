"""`ngx budgets`: what may be spent of the model, and the kill switch."""

from __future__ import annotations

import argparse

from ngx_agents.cli.controls import add_control_actions
from ngx_agents.cli.journal_access import run_on_journal

DETAILS = """\
A budget holds for each tenant, user, agent of a tenant, conversation or turn, or with --of for one of them. At its
limit: warn tells it in log and metrics, degrade asks the cheaper model, queue waits, block lets no turn begin; what
runs is answered by the agents' own tools. A stop does that at once, for `all`, `tenant:NAME` or `agent:ID`.

examples:
  ngx budgets set acme-month --scope tenant --of acme --cost-usd 500 --action block
  ngx budgets set per-user-day --scope user --period day --tokens 200000 --action degrade
  ngx budgets list
  ngx budgets set-stop tenant:acme --reason "a runaway script"
  ngx budgets remove-stop tenant:acme
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    add_control_actions(actions, "budget")
    add_control_actions(actions, "stop", word="-stop")


def run(args: argparse.Namespace) -> int:
    return run_on_journal(args)
