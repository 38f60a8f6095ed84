"""`python -m ngx_agents.vertex.local_model`: the process that `process.LocalModel` starts."""

from __future__ import annotations

import argparse
import sys

from ngx_agents.errors import ConfigError, NgxError
from ngx_agents.vertex.local_model.settings import LocalModelSettings


def main() -> int:
    parser = argparse.ArgumentParser(prog="ngx local-model", description="The small local model.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--niceness", type=int, default=10)
    parser.add_argument("--max-memory-bytes", type=int, default=LocalModelSettings().max_memory_bytes)
    parser.add_argument("--listener-fd", type=int, help="a listening socket of the parent's, instead of a port")
    args = vars(parser.parse_args())
    listener_fd: int | None = args.pop("listener_fd")
    parent = sys.stdin.buffer if listener_fd is not None else None
    try:
        if args["threads"] < 1:
            raise ConfigError("the local model needs at least one thread")
        from ngx_agents.vertex.local_model.server import run  # heavy, and not needed to refuse

        run(LocalModelSettings(**args), parent=parent, listener_fd=listener_fd)
    except NgxError as exc:
        sys.stderr.write(f"ngx: {exc}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
