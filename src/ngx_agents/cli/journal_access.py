"""The journal of the configuration, opened for a command beside a running server."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable

from ngx_agents.app.config_checks import journal_troubles
from ngx_agents.app.journals import journal_of
from ngx_agents.cli.flags import loaded_config
from ngx_agents.clock import SystemClock
from ngx_agents.errors import ConfigError
from ngx_agents.state.journal import Journal
from ngx_agents.telemetry.metrics import Metrics

Action = Callable[[argparse.Namespace, Journal], Awaitable[int]]


def run_on_journal(args: argparse.Namespace) -> int:
    """Does `args.action` with the journal open; its exit code. Raises ConfigError, NgxError of the journal."""
    return asyncio.run(_run(args, args.action))


async def _run(args: argparse.Namespace, action: Action) -> int:
    config = loaded_config(args, checked=False).config
    for trouble in journal_troubles(config):
        raise ConfigError(trouble)
    journal = journal_of(config, clock=SystemClock(), metrics=Metrics(), exclusive=False)
    try:
        await journal.open()
        await journal.migrate()
        return await action(args, journal)
    finally:
        await journal.close()
