"""`ngx restore`: puts a backup in the place of the SQLite journal. No server may be running on it."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path

from ngx_agents.app.config_checks import journal_troubles
from ngx_agents.cli.backup import told
from ngx_agents.cli.flags import add_config_flags, loaded_config
from ngx_agents.clock import SystemClock
from ngx_agents.errors import ConfigError
from ngx_agents.state.sqlite_backup import restore

DETAILS = """\
The backup is checked first; the journal that it replaces is kept beside it. What was said after the backup is only
in that. Shared caches (Redis) may hold newer copies for up to their time to live: start with another namespace.

examples:
  ngx restore /backups/journal-2026-11-24.db
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="the backup")
    add_config_flags(parser, "server.data_dir")


def run(args: argparse.Namespace) -> int:
    config = loaded_config(args, checked=False).config
    for trouble in journal_troubles(config):
        raise ConfigError(trouble)
    at = datetime.fromtimestamp(SystemClock().now_s(), UTC)
    copied = restore(config.journal_path, args.file, suffix=f".before-{at:%Y%m%dT%H%M%S%fZ}")
    print(f"{config.journal_path}: {told(copied)}, verified")
    if copied.former is not None:
        print(f"the former journal is {copied.former}")
    return 0
