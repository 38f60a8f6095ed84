"""Reading from replicas without going back in time. A Journal in front of a primary and its streaming standbys.

What was written or read before is never missing: a history question goes to a replica only if that has replayed a
position at least as new as everything acknowledged before the question came. `everywhere` asks the primary for its
position (one tiny statement for all who wait), so it holds for what any instance wrote; `instance` compares with what
this instance itself wrote, read and was granted for the owner. A replica gets `wait_s`; then the primary answers. What
belongs to a running turn is always the primary's. When that is away, replicas answer whatever they can prove.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any, Literal

import msgspec

from ngx_agents.clock import Clock, Rng
from ngx_agents.errors import JournalUnavailable
from ngx_agents.state import commands as c
from ngx_agents.state.journal import Journal
from ngx_agents.state.model import Owner
from ngx_agents.state.replicas_floors import Floors
from ngx_agents.state.replicas_position import PrimaryPosition
from ngx_agents.state.replicas_standby import Standby
from ngx_agents.telemetry.metrics import Metrics

Freshness = Literal["everywhere", "instance"]
KEYS = Owner("", "")
"""Stands for the API keys, which belong to no one user's history."""
KEY_CHANGES = (c.PutKey, c.RevokeKey, c.EndKey)
HISTORY = (
    c.GetConversation, c.ListConversations, c.ListMessages, c.GetProfile, c.ListLogs, c.ListArtifacts, c.GetArtifact,
    c.ExportUser, c.ReadProfile,
)  # fmt: skip
"""Asked of replicas first."""


class ReplicaSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`wait_s` is how long a read waits for a replica to catch up; `watch_s` how often each is looked at."""

    freshness: Freshness = "everywhere"
    wait_s: float = 0.05
    position_s: float = 0.25
    watch_s: float = 0.5


class ReplicaJournal:
    """`replicas` makes the journal of each by its name; a name is a metric's label, an address is not."""

    def __init__(
        self,
        primary: Journal,
        replicas: Mapping[str, Callable[[], Journal]],
        *,
        clock: Clock,
        rng: Rng | None = None,
        metrics: Metrics | None = None,
        settings: ReplicaSettings | None = None,
    ) -> None:
        self._primary = primary
        self._clock = clock
        self._settings = settings or ReplicaSettings()
        rng, metrics = rng or Rng(), metrics or Metrics()
        position = PrimaryPosition(primary, clock=clock, rng=rng, within_s=self._settings.position_s)
        self._position = position
        self._standbys = [
            Standby(name, make, clock=clock, rng=rng, system=lambda: position.system) for name, make in replicas.items()
        ]
        self._floors = Floors()
        self._places: tuple[c.ShardPlace, ...] = ()
        self._stamping = asyncio.Event()
        self._turn = count()
        self._tasks: asyncio.TaskGroup | None = None
        self._background: list[asyncio.Task[None]] = []
        self._samples: deque[tuple[float, int]] = deque(maxlen=1200)
        reads = metrics.counter("ngx_journal_reads_total", "History questions, by who answered.", "source")
        self._by_replica, self._by_primary = reads.labels("replica"), reads.labels("primary")
        self._lag_bytes = metrics.gauge("ngx_journal_replica_lag_bytes", "Log not replayed yet.", "replica")
        self._lag_s = metrics.gauge("ngx_journal_replica_lag_seconds", "Age of the oldest such log.", "replica")
        self._up = metrics.gauge("ngx_journal_replica_up", "Whether the replica is asked.", "replica")

    async def open(self) -> None:
        await self._primary.open()
        self._tasks = asyncio.TaskGroup()
        await self._tasks.__aenter__()
        try:
            for standby in self._standbys:
                await standby.start(self._tasks)
        except BaseException:
            await self.close()
            raise
        self._position.start(self._tasks)
        self._background = [self._tasks.create_task(self._stamp()), self._tasks.create_task(self._watch())]

    async def close(self) -> None:
        tasks, self._tasks = self._tasks, None
        if tasks is not None:
            for task in self._background:
                task.cancel()
            self._position.stop()
            for standby in self._standbys:
                await standby.stop()
            await tasks.__aexit__(None, None, None)
        await self._primary.close()

    async def migrate(self) -> int:
        return await self._primary.migrate()

    async def transact(self, commands: Sequence[c.Command]) -> list[Any]:
        results = await self._primary.transact(commands)
        for command, result in zip(commands, results, strict=True):
            if not isinstance(result, BaseException):
                told = command.command if isinstance(command, c.Audited) else command
                self._noted(KEYS if isinstance(told, KEY_CHANGES) else getattr(told, "owner", None))
        return results

    async def claim(self, limit: int, *, instance: str, now: float) -> list[c.Grant]:
        grants = await self._primary.claim(limit, instance=instance, now=now)
        for grant in grants:
            self._noted(grant.owner)  # whoever accepted the turn may have been another instance
        return grants

    async def query(self, question: c.Question) -> Any:
        owner = _owner_of(question)
        if owner is None:
            answer = await self._primary.query(question)
            if isinstance(question, c.ListShardPlaces):
                self._heard_places(answer)
            return answer
        standby = await self._first_choice(question, owner)
        if standby is not None:
            try:
                return await self._ask(standby, question, owner)
            except JournalUnavailable:
                pass  # its breaker has counted it; the primary answers
        return await self._ask_primary(question, owner)

    def _heard_places(self, places: tuple[c.ShardPlace, ...]) -> None:
        """A shard that came has brought its users' data, which a standby has only from now on."""
        if places != self._places:
            self._places = places
            self._floors.wrote_all()
            self._stamping.set()

    async def _first_choice(self, question: c.Question, owner: Owner) -> Standby | None:
        """Who is asked before the primary. What can be proved without it goes first while it does not answer."""
        if self._tasks is None:
            return None
        place = await self._needed(owner) if isinstance(question, HISTORY) else None
        if place is None and self._position.is_away:
            place = self._floors.of(owner)
        return await self._fresh_enough(place)

    async def _needed(self, owner: Owner) -> int | None:
        """The position that an answer must have at least; None when it cannot be known."""
        if not any(standby.is_in_use for standby in self._standbys):
            return None
        known = self._floors.of(owner) if self._settings.freshness == "instance" else None
        return known if known is not None else await self._position.now()

    async def _fresh_enough(self, place: int | None) -> Standby | None:
        """One that has replayed the position; in turn, so that they share the work."""
        if place is None:
            return None
        first = next(self._turn) % len(self._standbys)
        ordered = self._standbys[first:] + self._standbys[:first]
        for standby in ordered:
            if standby.is_in_use and standby.place >= place:
                return standby
        for standby in ordered:
            if standby.is_in_use and not standby.is_behind:
                is_there = await standby.reached(place, within_s=self._settings.wait_s)
                return standby if is_there else None
        return None

    async def _ask(self, standby: Standby, question: c.Question, owner: Owner) -> Any:
        place = standby.place
        answer = await standby.query(question)
        self._floors.saw(owner, place)
        self._by_replica.inc()
        return answer

    async def _ask_primary(self, question: c.Question, owner: Owner) -> Any:
        try:
            answer = await self._primary.query(question)
        except JournalUnavailable:
            standby = await self._fresh_enough(self._floors.of(owner)) if self._tasks is not None else None
            if standby is None:
                raise
            return await self._ask(standby, question, owner)
        if isinstance(question, HISTORY):
            self._noted(owner)
            self._by_primary.inc()
        return answer

    def _noted(self, owner: Owner | None) -> None:
        """The primary has shown or taken something of the owner: nothing older may be shown from now on."""
        if owner is not None and self._standbys:
            self._floors.wrote(owner)
            self._stamping.set()

    async def _stamp(self) -> None:
        """Asks for the position of what was noted: once for all that was meanwhile."""
        while True:
            await self._stamping.wait()
            self._stamping.clear()
            mark = self._floors.mark()
            place = await self._position.now()
            if place is not None:
                self._floors.stamp(mark, place)
            else:
                self._stamping.set()
                await self._clock.sleep(self._settings.position_s)

    async def _watch(self) -> None:
        while True:
            place = await self._position.now()
            if place is not None:
                self._samples.append((self._clock.monotonic_s(), place))
            for standby in self._standbys:
                await standby.watch()
                self._up.labels(standby.name).set(float(standby.is_in_use))
                if place is not None:
                    self._lag_bytes.labels(standby.name).set(max(0, place - standby.place))
                    self._lag_s.labels(standby.name).set(self._age_s(standby.place))
            await self._clock.sleep(self._settings.watch_s)

    def _age_s(self, place: int) -> float:
        """How long ago the primary first had something that the place has not; 0 when there is no such thing."""
        now_s = self._clock.monotonic_s()
        return next((now_s - at_s for at_s, seen in self._samples if seen > place), 0.0)


def _owner_of(question: c.Question) -> Owner | None:
    """Whose floor an answer from a replica must respect; None for what replicas are never asked."""
    if isinstance(question, c.FindKey | c.KeysThatHold | c.ListKeys):
        return KEYS
    if isinstance(question, c.HolderOf):
        return None
    owner: Owner | None = getattr(question, "owner", None)
    return owner
