"""Wake-up calls between instances: somewhere a lane waits for somebody to run it.

Only a hint, over whatever instances share: one that is lost costs the wait until the next look, one too many costs a
look in vain. Without anything shared there are none.
"""

from __future__ import annotations

from collections.abc import Callable

from ngx_agents.coordination.shared import Shared
from ngx_agents.errors import SharedUnavailable
from ngx_agents.telemetry.log import event_log

CHANNEL = "lanes"
log = event_log("turns")


class Hints:
    """`shared` None: nothing is told and nothing heard."""

    def __init__(self, shared: Shared | None) -> None:
        self._shared = shared

    @property
    def are_heard(self) -> bool:
        return self._shared is not None

    async def tell(self) -> None:
        """Wakes the other instances."""
        if self._shared is None:
            return
        try:
            await self._shared.publish(CHANNEL, b"")
        except SharedUnavailable as error:
            log.debug("hint.not_told", code=error.code)

    async def hear(self, wake: Callable[[], None]) -> None:
        """Calls `wake` for each hint, until cancelled."""
        if self._shared is None:
            return
        async for _ in self._shared.listen(CHANNEL):
            wake()
