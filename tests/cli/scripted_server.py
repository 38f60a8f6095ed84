"""A server that speaks the turn routes from a script: one script per connection, so that a test can break streams."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

DROP = "drop"
WAIT_FOR_CANCEL = "wait"
HANG = "hang"
Step = tuple[str, str, dict[str, Any]] | str
ACCEPTED = ("1-1", "turn.accepted", {"turn_id": "t_1", "conversation_id": "c_1", "position": 0})


def delta(event_id: str, text: str) -> Step:
    return event_id, "text.delta", {"text": text, "agent": "coach"}


def completed(event_id: str, **fields: Any) -> Step:
    done = {"turn_id": "t_1", "source": "model", "model": "m-1", "location": "global", "agents": ["coach"]}
    return event_id, "turn.completed", done | fields


class ScriptedServer:
    """`requests` are the stream requests so far, as (method, path, headers, body)."""

    def __init__(self, *scripts: list[Step] | web.Response) -> None:
        self._scripts = list(scripts)
        self.requests: list[tuple[str, str, dict[str, str], Any]] = []
        self.cancelled = asyncio.Event()
        self.url = ""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[ScriptedServer]:
        app = web.Application()
        app.router.add_post("/v1/conversations", self._new_conversation)
        app.router.add_post("/v1/conversations/{id}/turns", self._stream)
        app.router.add_get("/v1/turns/{id}/events", self._stream)
        app.router.add_post("/v1/turns/{id}/cancel", self._cancel)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield self
        finally:
            await runner.cleanup()

    async def _new_conversation(self, request: web.Request) -> web.Response:
        return web.json_response({"id": "c_1"}, status=201)

    async def _cancel(self, request: web.Request) -> web.Response:
        self.cancelled.set()
        return web.json_response({"status": "running"}, status=202)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        body = await request.json() if request.can_read_body else None
        self.requests.append((request.method, request.path, dict(request.headers), body))
        script = self._scripts.pop(0)
        if isinstance(script, web.Response):
            return script
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for step in script:
            if step == DROP:
                assert request.transport is not None
                request.transport.abort()
            elif step == WAIT_FOR_CANCEL:
                await self.cancelled.wait()
            elif step == HANG:
                await asyncio.Event().wait()
            else:
                event_id, name, data = step
                await response.write(f"id: {event_id}\nevent: {name}\ndata: {json.dumps(data)}\n\n".encode())
        return response
