"""From mode degraded 2: interactive turns that nobody has watched for a minute are stopped.

What was said until then is kept. A turn is watched while somebody listens to its events or waits for its end, here or
by way of another instance. One task of the engine's, cancelled with it.
"""

from __future__ import annotations

from ngx_agents.clock import Clock
from ngx_agents.resilience.modes import Mode, Modes
from ngx_agents.telemetry.log import event_log
from ngx_agents.turns.registry import TurnRegistry

INTERACTIVE = 1
UNWATCHED = "unwatched"
log = event_log("turns")


async def stop_unwatched(turns: TurnRegistry, modes: Modes, *, clock: Clock, after_s: float) -> None:
    """Looks until cancelled; `after_s` is how long nobody may have watched."""
    watched_s: dict[str, float] = {}
    while True:
        await clock.sleep(min(1.0, after_s / 4))
        now_s = clock.monotonic_s()
        if modes.current < Mode.DEGRADED_2:
            watched_s.clear()
            continue
        running = {live.id: live for live in turns if live.started and live.turn_class == INTERACTIVE}
        for turn_id in watched_s.keys() - running.keys():
            del watched_s[turn_id]
        for live in running.values():
            if live.has_audience or live.id not in watched_s:
                watched_s[live.id] = now_s
            elif now_s >= watched_s[live.id] + after_s and live.stop_code is None:
                log.info("turn.unwatched", turn_id=live.id)
                live.stop(UNWATCHED)
