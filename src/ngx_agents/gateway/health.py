"""For load balancers and monitoring: is the loop alive, is the gate open, what do the numbers say. No credentials."""

from __future__ import annotations

import asyncio

from ngx_agents.gateway.deps import GatewayDeps
from ngx_agents.gateway.exchange import Exchange
from ngx_agents.gateway.wire import Liveness, Readiness
from ngx_agents.telemetry.metrics import CONTENT_TYPE


class HealthRoutes:
    def __init__(self, deps: GatewayDeps) -> None:
        self._deps = deps

    async def live(self, exchange: Exchange) -> None:
        """Says only that the event loop turns, and how fast: dependencies must not get an instance killed."""
        clock = self._deps.clock
        asked_s = clock.monotonic_s()
        await asyncio.sleep(0)
        lag_s = clock.monotonic_s() - asked_s
        await exchange.reply_json(Liveness(status="alive", loop_lag_s=round(lag_s, 6)))

    async def ready(self, exchange: Exchange) -> None:
        is_ready = self._deps.ready()
        modes = self._deps.modes
        body = Readiness(
            status="ready" if is_ready else "not_ready",
            mode=modes.current.label,
            reasons=modes.reasons,
            journal=self._deps.journal_mode(),
            model=self._deps.model_name,
        )
        if is_ready:
            await exchange.reply_json(body)
        else:
            await exchange.reply_json(body, 503, ((b"retry-after", b"1"),))

    async def metrics(self, exchange: Exchange) -> None:
        told = self._deps.exposition
        text = self._deps.metrics.render() if told is None else await told()
        await exchange.reply(200, text, ((b"content-type", CONTENT_TYPE.encode()),))
