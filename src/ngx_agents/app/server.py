"""`ngx serve`: one process, or several behind one socket.

What a process does not need is not imported by it: a supervisor is a third of the size of a server.
"""

from __future__ import annotations

import asyncio
import sys

from ngx_agents.app.addresses import advertised, listening
from ngx_agents.app.config import LoadedConfig
from ngx_agents.app.config_sections import Config
from ngx_agents.app.roles import serves_agents_alone
from ngx_agents.telemetry.log import configure


def serve(loaded: LoadedConfig) -> int:
    """Runs until a signal; returns the exit code. Raises NgxError, or OSError when the address cannot be bound."""
    config = loaded.config
    configure(config.server.log_level)
    if config.server.workers > 1:
        from ngx_agents.app.supervisor import Supervisor

        return asyncio.run(Supervisor(config).run())
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve_agents(config) if serves_agents_alone(config) else _serve_alone(config))


async def _serve_alone(config: Config) -> int:
    from ngx_agents.app.http_server import banner, serve_on
    from ngx_agents.app.lifespan import running

    with listening(config.server.host, config.server.port) as listener:
        address = listener.getsockname()
        async with running(config, address=advertised(config, address)) as program:

            def tell(_: object) -> None:
                sys.stdout.write(banner(program, address))
                sys.stdout.flush()

            return await serve_on([listener], program, ready=tell)


async def _serve_agents(config: Config) -> int:
    from ngx_agents.app.agent_server import running_agents
    from ngx_agents.app.http_server import agents_banner, serve_on

    with listening(config.server.host, config.server.port) as listener:
        address = listener.getsockname()
        async with running_agents(config) as program:

            def tell(_: object) -> None:
                sys.stdout.write(agents_banner(program, address))
                sys.stdout.flush()

            return await serve_on([listener], program, ready=tell)
