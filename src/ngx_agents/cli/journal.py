"""`ngx journal`: what was accepted locally while the database was away, and what the database then refused."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from ngx_agents.cli.flags import add_config_flags, loaded_config
from ngx_agents.cli.table import table
from ngx_agents.clock import SystemClock
from ngx_agents.errors import NgxError, NotFound
from ngx_agents.state.local_acceptance_aside import Aside, AsideRecord
from ngx_agents.state.local_acceptance_entries import Entry, decoded
from ngx_agents.state.local_log import LocalLog

DETAILS = """\
Local acceptance keeps new turns on this machine's disk while the database is away, and tells them to it afterwards.
What the database refuses then (the conversation was deleted, another instance went on with it) is never lost: it is set
aside here with the reason, until somebody has looked at it and discards it.

examples:
  ngx journal aside                    what was set aside, and why
  ngx journal aside --json             with the whole commands, for scripts
  ngx journal discard ID               after it was settled by hand
  ngx journal pending                  what is on this disk alone (while no server runs)
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    aside = actions.add_parser("aside", help="print what the database refused, with the reasons")
    aside.add_argument("--json", action="store_true", help="print JSON, one record a line, with the whole commands")
    aside.set_defaults(action=_aside)
    discard = actions.add_parser("discard", help="forget one record that was set aside")
    discard.add_argument("id", help="the record's id, as `ngx journal aside` prints it")
    discard.set_defaults(action=_discard)
    pending = actions.add_parser("pending", help="print what was accepted locally and is not in the database yet")
    pending.set_defaults(action=_pending)
    for action in (aside, discard, pending):
        add_config_flags(action, "server.data_dir")


def run(args: argparse.Namespace) -> int:
    folder = loaded_config(args, checked=False).config.data_path
    code: int = args.action(args, folder)
    return code


def _kept(folder: Path) -> Aside:
    return Aside(folder / "local.aside.jsonl", now=SystemClock().now_s)


def _aside(args: argparse.Namespace, folder: Path) -> int:
    records = _kept(folder).records()
    if args.json:
        for record in records:
            print(msgspec.json.encode(record).decode())
        return 0
    print(table(("id", "at", "tenant", "user", "conversation", "reason"), [_row(record) for record in records]))
    return 0


def _discard(args: argparse.Namespace, folder: Path) -> int:
    if not _kept(folder).discard(args.id):
        raise NotFound(f"nothing of the id {args.id} was set aside: `ngx journal aside` prints what was")
    print(f"{args.id} is forgotten")
    return 0


def _pending(args: argparse.Namespace, folder: Path) -> int:
    path = folder / "local.log"
    payloads = asyncio.run(_payloads(path)) if path.exists() else []
    entries = [entry for payload in payloads if (entry := _entry(payload)) is not None]
    if len(entries) < len(payloads):
        print(f"ngx: {len(payloads) - len(entries)} records cannot be read", file=sys.stderr)
    lanes = Counter((entry.command.owner, entry.conversation_id) for entry in entries)
    rows = [(owner.tenant, owner.user, lane, str(count)) for (owner, lane), count in lanes.items()]
    print(table(("tenant", "user", "conversation", "commands"), rows))
    return 0


async def _payloads(path: Path) -> list[bytes]:
    """Raises JournalLocked while a server has the log."""
    log = LocalLog(path)
    payloads = await log.open()
    await log.close()
    return payloads


def _entry(payload: bytes) -> Entry | None:
    try:
        return decoded(payload)
    except NgxError:
        return None


def _row(record: AsideRecord) -> tuple[str, ...]:
    at = datetime.fromtimestamp(record.at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    reason = f"{record.code}: {json.dumps(record.reason, ensure_ascii=False)[1:-1]}"
    return record.id, at, record.tenant, record.user, record.conversation_id, reason
