"""`ngx mcp`: the team of a running server as an MCP server on standard input and output, for clients that start one."""

from __future__ import annotations

import argparse
import asyncio
import sys

from ngx_agents.cli.flags import add_config_flags, loaded_config
from ngx_agents.cli.mcp_bridge import Bridge, standard_streams

DETAILS = """\
Reads one JSON-RPC message a line, asks the server at [client] url (NGX_URL) with [client] api_key (NGX_API_KEY), and
writes its answers. Whose data it is, is said by the key. Nothing else is written to standard output.

examples:
  ngx mcp                                   in front of the server on this machine
  {"mcpServers": {"ngx": {"command": "ngx", "args": ["mcp"], "env": {"NGX_API_KEY": "…"}}}}
                                            in the configuration of an MCP client
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config_flags(parser, "client.url", "client.api_key")


def run(args: argparse.Namespace) -> int:
    client = loaded_config(args, checked=False).config.client
    asyncio.run(_serve(client.url, client.api_key))
    return 0


async def _serve(url: str, api_key: str | None) -> None:
    reader, write = await standard_streams(sys.stdin, sys.stdout)
    async with Bridge(url, api_key=api_key, write=write) as bridge:
        await bridge.carry(reader)
