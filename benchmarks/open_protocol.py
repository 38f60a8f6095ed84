"""`python -m benchmarks.open_protocol`: what SendMessage of A2A costs here, and with the SDK's default handler.

Both are asked over JSON-RPC by the same caller, both complete a task with one artifact. Ours is `ngx serve` with its
test agent: the task is stored in SQLite, synced, before it is acknowledged and when it ends, and its events are kept.
The SDK's keeps tasks in memory (its default). Rounds of the two alternate; the servers on one core, the caller on the
other.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

import aiohttp
import uvicorn
import uvloop
from typing_extensions import override

from benchmarks.processes import REST_CORES, SERVER_CORES, Process, free_port, ngx_server, spawned

AT_ONCE = 32
HEADERS = {"Content-Type": "application/json", "A2A-Version": "1.0"}
BODY = json.dumps(
    {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "SendMessage",
        "params": {"message": {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "echo hello there"}]}},
    }
).encode()


def default_handler(port: int) -> None:
    """Serves the SDK's default handler with an executor that does as little as the protocol allows."""
    os.environ["OTEL_INSTRUMENTATION_A2A_SDK_ENABLED"] = "false"
    from a2a.server.agent_execution import AgentExecutor, RequestContext
    from a2a.server.events import EventQueue
    from a2a.server.request_handlers import DefaultRequestHandler
    from a2a.server.routes import create_jsonrpc_routes
    from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
    from a2a.types import AgentCapabilities, AgentCard, AgentInterface, AgentSkill, Part, Task, TaskState, TaskStatus
    from starlette.applications import Starlette

    class Echo(AgentExecutor):
        @override
        async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
            task_id, context_id = context.task_id or "", context.context_id or ""
            status = TaskStatus(state=TaskState.TASK_STATE_SUBMITTED)
            await event_queue.enqueue_event(Task(id=task_id, context_id=context_id, status=status))
            updater = TaskUpdater(event_queue, task_id, context_id)
            await updater.start_work()
            await updater.add_artifact([Part(text="hello there")], name="answer")
            await updater.complete()

        @override
        async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
            raise NotImplementedError

    card = AgentCard(
        name="echo", description="echo", version="1", capabilities=AgentCapabilities(streaming=True),
        default_input_modes=["text/plain"], default_output_modes=["text/plain"],
        skills=[AgentSkill(id="echo", name="echo", description="echo", tags=["echo"])],
        supported_interfaces=[AgentInterface(url="http://x", protocol_binding="JSONRPC", protocol_version="1.0")],
    )  # fmt: skip
    handler = DefaultRequestHandler(agent_executor=Echo(), task_store=InMemoryTaskStore(), agent_card=card)
    app = Starlette(routes=create_jsonrpc_routes(handler, "/a2a"))
    uvicorn.run(app, port=port, log_level="error", loop="uvloop", http="httptools", access_log=False)


@contextmanager
def sdk() -> Iterator[Process]:
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.open_protocol", "--serve-default", str(port)]
    with spawned(command, cores=SERVER_CORES, url=f"http://127.0.0.1:{port}") as process:
        yield process


async def round_of(server: Process, headers: dict[str, str], seconds: float) -> tuple[float, float]:
    """(tasks per second, the server's CPU seconds per task). Raises RuntimeError for an answer that is no task."""
    done, until_s = 0, time.perf_counter() + seconds
    connector = aiohttp.TCPConnector(limit=AT_ONCE)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def ask() -> None:
            nonlocal done
            while time.perf_counter() < until_s:
                async with session.post(f"{server.url}/a2a", data=BODY, headers=headers) as answer:
                    told = await answer.read()
                if b"TASK_STATE_COMPLETED" not in told:
                    raise RuntimeError(f"not a completed task: {told[:300]!r}")
                done += 1

        cpu_s, began_s = server.cpu_s(), time.perf_counter()
        await asyncio.gather(*(ask() for _ in range(AT_ONCE)))
        return done / (time.perf_counter() - began_s), (server.cpu_s() - cpu_s) / done


async def _until_up(server: Process, headers: dict[str, str]) -> None:
    async with aiohttp.ClientSession() as session:
        for _ in range(300):
            try:
                async with session.post(f"{server.url}/a2a", data=BODY, headers=headers) as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)
    raise RuntimeError("the server did not come up")


async def measured(ours: Process, theirs: Process, own_headers: dict[str, str], seconds: float, rounds: int) -> str:
    await _until_up(ours, own_headers)
    await _until_up(theirs, HEADERS)
    found: dict[str, list[tuple[float, float]]] = {"ours": [], "sdk": []}
    for _ in range(rounds + 1):
        found["ours"].append(await round_of(ours, own_headers, seconds))
        found["sdk"].append(await round_of(theirs, HEADERS, seconds))
    lines = []
    for name, values in found.items():
        rate, cpu_s = (median(one[place] for one in values[1:]) for place in (0, 1))
        lines.append(f"{name:5} {rate:8.0f} tasks/s  {cpu_s * 1000:.3f} ms CPU a task")
    ratio = median(one[0] for one in found["ours"][1:]) / median(one[0] for one in found["sdk"][1:])
    return "\n".join([*lines, f"ours ÷ sdk: {ratio:.2f} × the throughput"])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.open_protocol", description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="length of a round (default: 4)")
    parser.add_argument(
        "--rounds", type=int, default=5, help="rounds of each, after one that is thrown away (default: 5)"
    )
    parser.add_argument("--serve-default", type=int, metavar="PORT", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve_default:
        default_handler(args.serve_default)
        return
    os.sched_setaffinity(0, REST_CORES)
    settings = {"NGX_A2A_TEST_AGENT": "true"}
    with ngx_server("http://127.0.0.1:9", cores=SERVER_CORES, settings=settings) as ours, sdk() as theirs:
        own = {**HEADERS, "Authorization": f"Bearer {ours.api_key}"}
        print(uvloop.run(measured(ours, theirs, own, args.seconds, args.rounds)))


if __name__ == "__main__":
    main()
