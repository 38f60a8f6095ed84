"""An agent in another process, over Redis. Start it twice or more, in as many terminals as you like:

    python examples/a2a_processes.py serve redis://127.0.0.1:6379
    python examples/a2a_processes.py ask redis://127.0.0.1:6379

Kill a server while others run: its messages are answered by them. They believe one another by `NGX_SECRET_KEY`, which
all of them must have; the example has one of its own where it is not set.
"""

import asyncio
import contextlib
import os
import sys
import time

from ngx_agents import A2AServer
from ngx_agents.a2a.message import A2AMessage
from ngx_agents.a2a.redis_carrier import RedisCarrier
from ngx_agents.a2a.refusals import AgentAbsent
from ngx_agents.clock import Rng, SystemClock
from ngx_agents.telemetry.metrics import Metrics

KEY = os.environ.get("NGX_SECRET_KEY", "only for trying this example out").encode()


async def nutrition(message: A2AMessage) -> dict[str, object]:
    return {"food": message.payload, "protein_g": 18, "process": os.getpid()}


async def serve(a2a: A2AServer) -> None:
    a2a.register("nutrition", nutrition)
    print(f"process {os.getpid()} serves; Ctrl-C ends it", flush=True)
    await asyncio.Event().wait()


async def ask(a2a: A2AServer) -> None:
    for number in range(10):
        try:
            print(await a2a.request("nutrition", f"meal {number}", deadline_s=time.monotonic() + 10))
        except AgentAbsent as absent:
            print(absent)
        await asyncio.sleep(0.1)


async def main(role: str, url: str) -> None:
    carrier = RedisCarrier(url, keys=[KEY], clock=SystemClock(), rng=Rng(), metrics=Metrics())
    async with A2AServer(carrier=carrier) as a2a:
        await (serve(a2a) if role == "serve" else ask(a2a))


if len(sys.argv) != 3 or sys.argv[1] not in ("serve", "ask"):
    sys.exit(__doc__)
with contextlib.suppress(KeyboardInterrupt):
    asyncio.run(main(*sys.argv[1:]))
