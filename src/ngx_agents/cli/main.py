"""The `ngx` command: picks the subcommand and turns errors into one line and an exit code.

Exit codes: 0 done, 1 it did not work, 2 the command line or the configuration is wrong, 130 interrupted.
Only the file of the command that was named is imported, so that each starts fast.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from ngx_agents import __version__
from ngx_agents.errors import ConfigError, NgxError

COMMANDS = {
    "serve": "run the server",
    "chat": "talk to the team in the terminal",
    "mcp": "offer the team of a running server to MCP clients, over standard input and output",
    "agents": "print who is in the team",
    "keys": "create, list and revoke API keys",
    "tokens": "take JWTs back before they expire",
    "plans": "say what the users of a plan may do",
    "tenants": "give tenants and users their plans",
    "mode": "set the operating mode on all instances, or leave it to the signals",
    "flags": "switch features on for some",
    "budgets": "say what may be spent of the model, or stop it at once",
    "turns": "look at turns that were given up, and let them run again",
    "outbox": "look at what webhooks did not take, and send it again",
    "a2a": "look at messages between agents that were given up, and send them again",
    "backup": "copy the SQLite journal into a file, also beside a running server",
    "restore": "put a backup in the place of the SQLite journal",
    "journal": "look at what was accepted while the database was away, and what it then refused",
    "shards": "show where the shards are, and move one between two databases",
    "config": "print the effective settings and where each came from",
    "emulator": "run a Vertex AI emulator to develop against",
    "local-model": "run the small local model alone",
}

MODULES = {"flags": "feature_flags"}
"""Files that are not named for their command: `flags` holds the flags that set settings."""


def main() -> None:
    """The entry point of the installed command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that lacks a letter still gets the rest
    sys.exit(run(sys.argv[1:]))


def run(argv: Sequence[str]) -> int:
    """Runs one command line; returns its exit code."""
    args = new_parser(argv).parse_args(argv)
    try:
        code: int = args.run(args)
        sys.stdout.flush()
        return code
    except NgxError as exc:
        print(f"ngx: {exc}", file=sys.stderr)
        return 2 if isinstance(exc, ConfigError) else 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return _unread()
    except ExceptionGroup as group:
        if group.split(BrokenPipeError)[1] is not None:
            raise
        return _unread()


def _unread() -> int:
    """Whoever read our output has left; keeps the interpreter from complaining about it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1


def new_parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    """The command line, complete for the command that `argv` names."""
    parser = argparse.ArgumentParser(
        prog="ngx",
        description="NGX Agents: a server for teams of LLM agents.",
        epilog="start with:  ngx serve    and in another terminal:  ngx chat\nhelp of one command:  ngx COMMAND --help",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("-V", "--version", action="version", version=f"ngx {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        sub = commands.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if name in argv:
            command = import_module(f"ngx_agents.cli.{MODULES.get(name, name).replace('-', '_')}")
            command.add_arguments(sub)
            sub.epilog = command.DETAILS
            sub.set_defaults(run=command.run)
    return parser


if __name__ == "__main__":
    main()
