"""The edge of a process that serves no callers: `/livez`, `/readyz`, `/metrics`, and nothing else. No credentials."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
from starlette.types import Receive, Scope, Send

from ngx_agents.clock import Clock
from ngx_agents.gateway.wire import Liveness
from ngx_agents.telemetry.metrics import CONTENT_TYPE, Metrics

JSON = b"application/json"


class Probes:
    """An ASGI application."""

    def __init__(self, metrics: Metrics, *, clock: Clock, ready: Callable[[], bool]) -> None:
        self._metrics = metrics
        self._clock = clock
        self._ready = ready

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        status, body, kind = await self._answer(scope["path"] if scope["method"] in ("GET", "HEAD") else "")
        headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
        if status == 503:
            headers.append((b"retry-after", b"1"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    async def _answer(self, path: str) -> tuple[int, bytes, bytes]:
        match path:
            case "/livez":
                asked_s = self._clock.monotonic_s()
                await asyncio.sleep(0)
                lag_s = round(self._clock.monotonic_s() - asked_s, 6)
                return 200, msgspec.json.encode(Liveness(status="alive", loop_lag_s=lag_s)), JSON
            case "/readyz":
                is_ready = self._ready()
                status = "ready" if is_ready else "not_ready"
                return (200 if is_ready else 503), msgspec.json.encode({"status": status}), JSON
            case "/metrics":
                return 200, self._metrics.render(), CONTENT_TYPE.encode()
            case _:
                pass
        problem = {"type": "about:blank", "title": "Not Found", "status": 404, "code": "not_found"}
        return 404, msgspec.json.encode(problem), b"application/problem+json"
