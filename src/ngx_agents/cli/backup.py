"""`ngx backup`: a verified copy of the SQLite journal as of one moment, also while a server writes to it."""

from __future__ import annotations

import argparse
from pathlib import Path

from ngx_agents.app.config_checks import journal_troubles
from ngx_agents.cli.flags import add_config_flags, loaded_config
from ngx_agents.errors import ConfigError
from ngx_agents.state.sqlite_backup import Copied, back_up

DETAILS = """\
The copy is checked before it takes its name; an older backup of that name stays until then. It holds everything
that users said and logged: keep it as carefully as the journal. For Postgres use pg_dump or its own backups.

examples:
  ngx backup /backups/journal-$(date +%F).db
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="where the copy goes")
    add_config_flags(parser, "server.data_dir")


def run(args: argparse.Namespace) -> int:
    config = loaded_config(args, checked=False).config
    for trouble in journal_troubles(config):
        raise ConfigError(trouble)
    copied = back_up(config.journal_path, args.file)
    print(f"{args.file}: {told(copied)}, verified")
    return 0


def told(copied: Copied) -> str:
    """What is in it, for people."""
    return f"{copied.conversations} conversations, {copied.size_bytes:,} bytes, schema {copied.schema_version}"
