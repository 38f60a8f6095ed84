"""From mode degraded 2: interactive turns that nobody watches for a while are stopped, so that others get their places.

What was said until then is kept. A turn is watched while somebody listens to its events, waits for its end or asks how
it stands, here or by way of another instance, and when a webhook is told of its end. An instance that only passes on
what runs elsewhere, for nobody, tells its owner so; the owner stops it if nobody else listens there. One task of the
engine's, cancelled with it.
"""

from __future__ import annotations

from collections.abc import Callable

from ngx_agents.clock import Clock
from ngx_agents.resilience.modes import Mode, Modes
from ngx_agents.telemetry.log import event_log
from ngx_agents.turns.live import LiveTurn
from ngx_agents.turns.registry import TurnRegistry

INTERACTIVE = 1
UNWATCHED = "unwatched"
log = event_log("turns")


async def stop_unwatched(
    turns: TurnRegistry, modes: Modes, *, clock: Clock, after_s: float, stop: Callable[[LiveTurn], None]
) -> None:
    """Looks until cancelled; `after_s` is how long nobody may have watched. `stop` ends a turn, wherever it runs."""
    watched_s: dict[str, float] = {}
    while True:
        await clock.sleep(min(1.0, after_s / 4))
        now_s = clock.monotonic_s()
        if modes.current < Mode.DEGRADED_2:
            watched_s.clear()
            continue
        running = {live.id: live for live in turns if _runs(live)}
        for turn_id in watched_s.keys() - running.keys():
            del watched_s[turn_id]
        for live in running.values():
            if live.was_watched() or live.id not in watched_s:
                watched_s[live.id] = now_s
            elif now_s >= watched_s[live.id] + after_s:
                watched_s[live.id] = now_s
                log.info("turn.unwatched", turn_id=live.id)
                stop(live)


def may_be_stopped(live: LiveTurn, modes: Modes) -> bool:
    """Whether a turn that runs here ends when one other instance, which listens to it, says that nobody watches it."""
    is_watched = live.stream.listeners > 1 or live.is_awaited or live.is_posted
    return live.turn_class == INTERACTIVE and modes.at_least(Mode.DEGRADED_2) and not is_watched


def _runs(live: LiveTurn) -> bool:
    is_at_work = live.started or live.runs_elsewhere
    return is_at_work and live.turn_class == INTERACTIVE and live.stop_code is None
