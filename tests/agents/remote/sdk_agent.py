"""An agent on the A2A SDK's own server, as a process: what it does is the first word of what it is told.

`python -m tests.agents.remote.sdk_agent PORT BINDING [--unary]`; prints its base URL once it can be asked.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

os.environ["OTEL_INSTRUMENTATION_A2A_SDK_ENABLED"] = "false"

import uvicorn
from a2a.helpers.proto_helpers import (
    new_data_part,
    new_raw_part,
    new_task_from_user_message,
    new_text_message,
    new_text_part,
)
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes, create_rest_routes
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types import AgentCapabilities, AgentCard, AgentInterface, AgentSkill, TaskState
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route


class WeatherAgent(AgentExecutor):
    """Remembers the contexts it was asked in and the tasks that were cancelled."""

    def __init__(self) -> None:
        self.contexts: list[str] = []
        self.cancelled: list[str] = []

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        text = context.get_user_input()
        word = text.split()[0] if text else ""
        self.contexts.append(context.context_id or "")
        if word == "message":
            await event_queue.enqueue_event(new_text_message(f"You said: {text}"))
            return
        task = context.current_task
        was_asking = task is not None and task.status.state == TaskState.TASK_STATE_INPUT_REQUIRED
        if task is None:
            task = new_task_from_user_message(context.message)
            await event_queue.enqueue_event(task)
        updater = TaskUpdater(event_queue, task.id, task.context_id)
        await updater.start_work()
        behave = getattr(self, f"_{word}", self._chunks)
        if was_asking:
            behave = self._city
        await behave(updater)

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        self.cancelled.append(context.task_id or "")
        await TaskUpdater(event_queue, context.task_id or "", context.context_id or "").cancel()

    async def _chunks(self, updater: TaskUpdater) -> None:
        pieces = ["Rain until noon. ", "Then it clears up. ", "Wind from the west."]
        for number, piece in enumerate(pieces):
            last = number == len(pieces) - 1
            await updater.add_artifact(
                [new_text_part(piece)], artifact_id="forecast", name="Forecast", append=number > 0, last_chunk=last
            )
        await updater.complete()

    async def _data(self, updater: TaskUpdater) -> None:
        await updater.add_artifact([new_text_part("See the table.")], artifact_id="words")
        parts = [
            new_data_part({"rain_mm": [0, 3, 8]}),
            new_raw_part(b"PNG", media_type="image/png", filename="map.png"),
        ]
        await updater.add_artifact(parts, artifact_id="table", name="Rain by day")
        await updater.complete()

    async def _slow(self, updater: TaskUpdater) -> None:
        await asyncio.sleep(30)

    async def _die(self, updater: TaskUpdater) -> None:
        await updater.add_artifact([new_text_part("It will be sunny. And ")], artifact_id="forecast")
        await asyncio.sleep(0.2)
        os._exit(9)

    async def _fail(self, updater: TaskUpdater) -> None:
        await updater.failed(updater.new_agent_message([new_text_part("secret inner trouble")]))

    async def _reject(self, updater: TaskUpdater) -> None:
        await updater.reject()

    async def _ask(self, updater: TaskUpdater) -> None:
        await updater.requires_input(updater.new_agent_message([new_text_part("For which city?")]))

    async def _city(self, updater: TaskUpdater) -> None:
        await updater.add_artifact([new_text_part("There it rains.")], artifact_id="forecast")
        await updater.complete()

    async def _replace(self, updater: TaskUpdater) -> None:
        await updater.add_artifact([new_text_part("It will snow. ")], artifact_id="forecast")
        await updater.add_artifact([new_text_part("It will not snow. Sorry.")], artifact_id="forecast")
        await updater.complete()

    async def _flood(self, updater: TaskUpdater) -> None:
        for number in range(4000):
            await updater.add_artifact([new_text_part("rain " * 400)], artifact_id="forecast", append=number > 0)
        await updater.complete()


def card(url: str, binding: str, *, is_streaming: bool) -> AgentCard:
    return AgentCard(
        name="Weather",
        description="Forecasts rain and wind",
        version="1",
        supported_interfaces=[AgentInterface(url=url, protocol_binding=binding, protocol_version="1.0")],
        capabilities=AgentCapabilities(streaming=is_streaming),
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
        skills=[
            AgentSkill(
                id="forecast",
                name="Forecast",
                description="The weather of the next days",
                tags=["weather", "forecast", "rain", "pronóstico", "lluvia"],
                examples=["Will it rain tomorrow in Lima?", "¿Va a llover mañana?", "What is the weather like today?"],
            ),
            AgentSkill(id="tides", name="Tides", description="High and low water", tags=["tide"]),
        ],
    )


def application(port: int, binding: str, *, is_streaming: bool) -> Starlette:
    agent = WeatherAgent()
    shown = card(f"http://127.0.0.1:{port}/a2a", binding, is_streaming=is_streaming)
    handler = DefaultRequestHandler(agent_executor=agent, task_store=InMemoryTaskStore(), agent_card=shown)

    async def seen(_: Request) -> JSONResponse:
        return JSONResponse({"contexts": agent.contexts, "cancelled": agent.cancelled})

    if binding == "JSONRPC":
        spoken: list[Any] = create_jsonrpc_routes(handler, "/a2a")
    else:
        spoken = create_rest_routes(handler, path_prefix="/a2a")
    return Starlette(routes=[*create_agent_card_routes(shown), *spoken, Route("/seen", seen)])


def main() -> None:
    port, binding = int(sys.argv[1]), sys.argv[2]
    app = application(port, binding, is_streaming="--unary" not in sys.argv)

    class Server(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            sys.stdout.write(f"http://127.0.0.1:{port}\n")
            sys.stdout.flush()

    Server(uvicorn.Config(app, port=port, log_level="critical", lifespan="off")).run()


if __name__ == "__main__":
    main()
