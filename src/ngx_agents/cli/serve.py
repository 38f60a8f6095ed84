"""`ngx serve`: runs the server until it is told to stop."""

from __future__ import annotations

import argparse

from ngx_agents.cli.binding import explained_binding
from ngx_agents.cli.flags import add_config_flags, loaded_config

DETAILS = """\
SIGTERM or Ctrl-C stops it: running turns get time to finish (drain_s); a second Ctrl-C does not wait.

examples:
  ngx serve                                on http://127.0.0.1:8000, data in ~/.local/share/ngx-agents
  ngx serve --port 8080 --data-dir .data   elsewhere
  ngx serve --host 0.0.0.0 --auth api_key  for others; make a key with: ngx keys create --user ana
  ngx serve --role worker --agents progress_tracker   one agent for all, over Redis (docs/instances.md)
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config_flags(parser)


def run(args: argparse.Namespace) -> int:
    loaded = loaded_config(args)
    from ngx_agents.app.server import serve

    server = loaded.config.server
    with explained_binding(server.host, server.port, setting="--port or NGX_PORT"):
        return serve(loaded)
