"""`ngx config`: what the settings are and where they came from."""

from __future__ import annotations

import argparse
import json
import sys

from ngx_agents.app.config import LoadedConfig
from ngx_agents.app.config_checks import troubles
from ngx_agents.app.setting import Setting
from ngx_agents.cli.flags import add_config_flags, loaded_config
from ngx_agents.cli.table import table

DETAILS = """\
Secrets are masked. Trouble that keeps a server from starting is reported on stderr.

examples:
  ngx config                          all settings
  ngx config --check                  exit 0 when a server can start with them, 2 otherwise
  ngx config --json | jq .            for scripts
  NGX_PORT=8080 ngx config            see what a variable does
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--check", action="store_true", help="print only trouble; exit with 2 when there is any")
    how.add_argument("--json", action="store_true", help="print JSON: {setting: {value, origin}}")
    how.add_argument("--markdown", action="store_true", help="print the reference page of all settings")
    add_config_flags(parser)


def run(args: argparse.Namespace) -> int:
    if args.markdown:
        from ngx_agents.app.config_docs import markdown

        sys.stdout.write(markdown())
        return 0
    loaded = loaded_config(args, checked=False)
    found = list(troubles(loaded.config))
    if args.json:
        print(json.dumps(_as_json(loaded), indent=2, ensure_ascii=False))
    elif not args.check:
        print(table(("setting", "value", "from"), loaded.shown()))
    for trouble in found:
        print(f"ngx: {trouble}", file=sys.stderr)
    if args.check and not found:
        print("the configuration is sound")
    return 2 if args.check and found else 0


def _as_json(loaded: LoadedConfig) -> dict[str, dict[str, object]]:
    return {
        one.name: {"value": _plain(one, loaded.value(one)), "origin": loaded.origins[one.name]}
        for one in loaded.settings
    }


def _plain(one: Setting, value: object) -> object:
    """`value` for JSON, with its type where it has nothing to hide."""
    if isinstance(value, tuple):
        return [_plain(one, each) for each in value]
    return one.shown(value) if isinstance(value, str) else value
