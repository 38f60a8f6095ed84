"""How a server leaves without a request that fails.

Told once: it says that it is not ready and, for `delay_s`, still serves everything, so that load balancers notice
first. Then it takes no new turns; running ones may finish. What still runs when their time is over is given back to the
journal, and its listeners are sent elsewhere. Only then are connections closed. Told twice: at once.
"""

from __future__ import annotations

import asyncio

from typing_extensions import override

from ngx_agents.telemetry.log import event_log
from ngx_agents.turns.engine import TurnEngine

log = event_log("app")


class Leaving:
    """Whoever is told to stop: signals call `tell`, the first time to leave in order, again to leave at once."""

    def __init__(self) -> None:
        self._told = asyncio.Event()
        self._is_hurried = asyncio.Event()

    @property
    def is_leaving(self) -> bool:
        """Whether the server was told to stop: it is not ready from then on."""
        return self._told.is_set()

    @property
    def is_hurried(self) -> bool:
        return self._is_hurried.is_set()

    def tell(self) -> None:
        if self.is_leaving:
            self._is_hurried.set()
        self._told.set()


class Drain(Leaving):
    """One task runs `run`."""

    def __init__(self, engine: TurnEngine, *, delay_s: float) -> None:
        super().__init__()
        self._engine = engine
        self._delay_s = delay_s

    @override
    def tell(self) -> None:
        super().tell()
        if self.is_hurried:
            self._engine.begin_drain(0.0)

    async def run(self) -> None:
        """Returns when there is nothing left to wait for."""
        await self._told.wait()
        log.debug("drain.began")
        try:
            async with asyncio.timeout(self._delay_s):
                await self._is_hurried.wait()
        except TimeoutError:
            pass
        self._engine.begin_drain(0.0 if self.is_hurried else None)
        await self._engine.hand_over()
        log.debug("drain.ended")
