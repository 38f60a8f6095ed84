"""`ngx mode`: an operator's word on the operating mode, directly in the journal."""

from __future__ import annotations

import argparse

import msgspec

from ngx_agents.cli.controls import operator_here
from ngx_agents.cli.flags import add_config_flags
from ngx_agents.cli.journal_access import run_on_journal
from ngx_agents.clock import SystemClock
from ngx_agents.errors import ConfigError
from ngx_agents.gateway.admin.audit import AuditTrail
from ngx_agents.gateway.mode_switch import LONGEST_S, told
from ngx_agents.resilience.modes import MODES_BY_LABEL
from ngx_agents.state.control_board import ControlBoard
from ngx_agents.state.controls import OperatorMode
from ngx_agents.state.ids import Ids
from ngx_agents.state.journal import Journal
from ngx_agents.telemetry.metrics import Metrics

DETAILS = """\
It holds over all signals, in every process of every instance on the journal within 5 seconds, also after a restart,
until it is taken back or its time is over.

examples:
  ngx mode set degraded-3 --reason "quota cut" --for-s 3600
  ngx mode show
  ngx mode auto                                            leave it to the signals again
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    show = actions.add_parser("show", help="print what an operator set")
    show.set_defaults(action=_show)
    setting = actions.add_parser("set", help="set the mode, whatever the signals say")
    setting.add_argument("mode", choices=list(MODES_BY_LABEL))
    setting.add_argument("--reason", required=True, help="why; /readyz and the audit log tell it")
    setting.add_argument("--for-s", type=float, default=LONGEST_S, metavar="S", help="seconds (default: 30 days)")
    setting.set_defaults(action=_set)
    automatic = actions.add_parser("auto", help="leave the mode to the signals")
    automatic.set_defaults(action=_auto)
    for action in (show, setting, automatic):
        add_config_flags(action, "server.data_dir")


def run(args: argparse.Namespace) -> int:
    return run_on_journal(args)


async def _show(args: argparse.Namespace, journal: Journal) -> int:
    clock = SystemClock()
    board = ControlBoard(journal, clock=clock, metrics=Metrics())
    await board.refresh()
    word = board.operator_mode
    if word is None or word.until <= clock.now_s():
        print("left to the signals; /readyz of a server says what it is")
    else:
        print(f"{word.mode}: {word.reason} (by {word.by}, for {word.until - clock.now_s():.0f} s more)")
    return 0


async def _set(args: argparse.Namespace, journal: Journal) -> int:
    if not 0.0 < args.for_s <= LONGEST_S:
        raise ConfigError(f"--for-s is above 0 and at most {LONGEST_S:.0f}")
    owner = operator_here().owner
    values = {
        "mode": args.mode,
        "by": f"{owner.tenant}/{owner.user}",
        "reason": args.reason,
        "until": SystemClock().now_s() + args.for_s,
    }
    try:
        word = msgspec.convert(values, OperatorMode)
    except msgspec.ValidationError as error:
        raise ConfigError(f"mode: {error}") from error
    after = {"mode": args.mode, "reason": args.reason, "for_s": args.for_s}
    await _change(journal, "mode.set", word, after)
    print(f"{args.mode} within 5 seconds")
    return 0


async def _auto(args: argparse.Namespace, journal: Journal) -> int:
    await _change(journal, "mode.automatic", None, None)
    print("left to the signals within 5 seconds")
    return 0


async def _change(journal: Journal, action: str, word: OperatorMode | None, after: dict[str, object] | None) -> None:
    clock = SystemClock()
    trail = AuditTrail(journal, Ids(clock), clock)
    await trail.change(operator_here(), action, "mode", command=told(word, now=clock.now_s()), after=after)
