"""Turns that somebody waits for here and that run on another instance: their events come from there.

A turn that has not begun here is followed by a task of its own: it asks the journal who holds it, takes the owner's
events into the turn's own stream under their own ids, and goes on with the next owner after a takeover. So whoever
listens or waits here notices nothing; `text.reset` withdraws what a lost owner had said. It ends with the turn, when
the turn begins here, or when nobody waits any more (asked again, the turn is found again).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from ngx_agents.clock import Rng
from ngx_agents.errors import NgxError, NotFound, Unavailable
from ngx_agents.state.commands import Holder, HolderOf
from ngx_agents.state.model import TERMINAL, Owner, Turn
from ngx_agents.telemetry.log import event_log
from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.turns.events import terminal, text_data
from ngx_agents.turns.live import LiveTurn
from ngx_agents.turns.peers import Peers
from ngx_agents.turns.registry import TurnRegistry

log = event_log("turns")
LOOK_S = (0.1, 0.4)  # least and most between two looks at who holds a turn
SOON_S = (0.01, 0.02, 0.04, 0.08, 0.16)  # most before each of the first looks at a turn that is about to begin
ENDS = ("turn.completed", "turn.failed", "turn.cancelled")


class Relays:
    """`peers` None: there are no other instances, and nothing is followed. Tasks belong to the group given.

    `runs_turns` False: every turn begins elsewhere, most of them within milliseconds, so the first looks come soon.
    """

    def __init__(  # the engine's surroundings, all by name
        self,
        turns: TurnRegistry,
        peers: Peers | None,
        *,
        instance: str,
        metrics: Metrics,
        rng: Rng,
        runs_turns: bool = True,
    ) -> None:
        self._turns = turns
        self._peers = peers
        self._instance = instance
        self._rng = rng
        self._runs_turns = runs_turns
        self._following: dict[str, asyncio.Task[None]] = {}
        self._relayed = metrics.counter("ngx_events_relayed_total", "Events that came from other instances.").labels()

    def follow(self, live: LiveTurn, group: asyncio.TaskGroup, *, at_once: bool) -> None:
        """`at_once` False for a turn that most likely begins here soon."""
        if self._peers is None or live.is_here or live.id in self._following:
            return
        task = self._following[live.id] = group.create_task(self._follow(live, self._peers, at_once))
        task.add_done_callback(lambda _: self._following.pop(live.id, None))

    def stop(self) -> None:
        for task in list(self._following.values()):
            task.cancel()

    async def tell_stop(self, turn_id: str, owner: Owner, code: str) -> None:
        """Has a turn that runs elsewhere end; if its owner is gone, its next one reads the journal's flag."""
        if self._peers is None:
            return
        try:
            holder = await self._holder(turn_id, owner)
        except NgxError as error:
            log.warning("turn.stop_not_told", turn_id=turn_id, code=error.code)
            return
        if holder is None or holder.address is None or holder.instance == self._instance:
            return
        try:
            await self._peers.stop(holder.address, turn_id, owner, code=code)
        except Unavailable as error:
            log.warning("turn.stop_not_told", turn_id=turn_id, code=error.code)

    async def _follow(self, live: LiveTurn, peers: Peers, at_once: bool) -> None:
        looks = _looks(self._rng, soon=not self._runs_turns)
        if not at_once:
            await self._turns.clock.sleep(next(looks))
        while not live.is_here and not live.stream.closed:
            try:
                if await self._is_over(live, peers):
                    return
            except NgxError as error:
                if isinstance(error, NotFound):
                    live.abandon()
                    self._turns.remove(live.id)
                    return
                log.warning("turn.not_followed", turn_id=live.id, code=error.code)
            await self._turns.clock.sleep(next(looks))

    async def _is_over(self, live: LiveTurn, peers: Peers) -> bool:
        turn = await self._turns.stored(live.id, live.owner)
        if turn.status in TERMINAL:
            await self._settle(live, turn)
            return True
        holder = await self._holder(live.id, live.owner)
        if holder is None or holder.instance == self._instance or holder.address is None:
            return False
        if not live.has_audience and live.ticket is None:
            self._turns.remove(live.id)
            return True
        return await self._relay(live, peers, holder.address)

    async def _relay(self, live: LiveTurn, peers: Peers, address: str) -> bool:
        """Whether the turn ended. Raises Unavailable when its owner cannot be reached."""
        after = live.stream.last_id if live.runs_elsewhere else None
        live.runs_elsewhere = True
        async with peers.events(address, live.id, live.owner, after=after) as events:
            async for event in events:
                if live.is_here or live.stream.closed:
                    return True
                if event.name in ENDS:
                    await self._settle(live, await self._turns.stored(live.id, live.owner))
                    return True
                self._relayed.inc()
                live.stream.mirror(event.id, event.name, event.data)
        return False

    async def _settle(self, live: LiveTurn, turn: Turn) -> None:
        """The end as the journal has it, under the id that its owner gave it."""
        view = await self._turns.view_of(turn)
        if live.is_here or live.stream.closed:
            return
        self._turns.remove(live.id)
        live.stream.catch_up(text_data(view), view.artifacts)
        live.stream.place(turn.epoch, turn.last_seq)
        live.end(*terminal(view), view)

    async def _holder(self, turn_id: str, owner: Owner) -> Holder | None:
        holder: Holder | None = await self._turns.journal.query(HolderOf(turn_id=turn_id, owner=owner))
        return holder


def _looks(rng: Rng, *, soon: bool) -> Iterator[float]:
    """How long to wait before each look."""
    for most_s in SOON_S if soon else ():
        yield rng.uniform(most_s / 2, most_s)
    while True:
        yield rng.uniform(*LOOK_S)
