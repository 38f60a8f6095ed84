"""The failure ladder of the database, as a Journal in front of one: normal, read-only or local, and back by itself.

While the journal is away history is still served (by replicas, if there are any behind this) and new turns are refused
with the time to wait; with local acceptance they are taken on this instance's disk instead, where it can go on alone.
When the journal is back, everything of an owner that was taken locally is told to it before anything new of that owner.
A prober writes to see whether it is back; callers never wait for a journal that is known to be away. What was asked is
done by a task of its own, so a caller that leaves undoes nothing. `mode`, `reason` and `report` say how things stand.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from ngx_agents.clock import Clock
from ngx_agents.errors import JournalError, JournalUnavailable, NgxError
from ngx_agents.state import commands as c
from ngx_agents.state.failover_ladder import Ladder, LadderRules, Losses
from ngx_agents.state.failover_local import LocalSide
from ngx_agents.state.journal import Journal
from ngx_agents.state.local_acceptance import LocalAcceptance
from ngx_agents.telemetry.log import event_log
from ngx_agents.telemetry.metrics import Metrics

log = event_log("state")
JournalMode = Literal["normal", "replaying", "local", "read-only"]
MODES: tuple[JournalMode, ...] = ("normal", "replaying", "local", "read-only")
PROBE = c.ReleaseLane(conversation_id="c_00" + "0" * 26, epoch=-1)
"""Changes nothing, but goes the whole way of a write: lock, statement, commit."""
REFUSED = "the journal is away: history is served, new turns are refused"


class FailoverSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`busy_s` is how long a replay waits for a conversation in which another turn runs; then it is kept aside."""

    rules: LadderRules = LadderRules()
    probe_every_s: float = 0.5
    probe_within_s: float = 2.0
    busy_s: float = 75.0


class JournalReport(msgspec.Struct, frozen=True, kw_only=True):
    """`reason` is empty in mode normal. `pending` commands are on this disk alone; `retry_after_s` is for callers."""

    mode: JournalMode
    reason: str
    since_s: float
    retry_after_s: float
    pending: int


class FailoverJournal:
    """`acceptance` None: no local acceptance, mode read-only instead. One for each database, which tells `losses`."""

    def __init__(
        self,
        journal: Journal,
        *,
        clock: Clock,
        metrics: Metrics | None = None,
        settings: FailoverSettings | None = None,
        acceptance: LocalAcceptance | None = None,
        losses: Losses | None = None,
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._settings = settings or FailoverSettings()
        self._ladder = Ladder(self._settings.rules, clock=clock)
        self._tasks: asyncio.TaskGroup | None = None
        self._prober: asyncio.Task[None] | None = None
        self._in_flight = 0
        self._at_work: set[asyncio.Task[list[Any] | NgxError]] = set()
        self._succeeded_s = clock.monotonic_s()
        metrics = metrics or Metrics()
        modes = metrics.gauge("ngx_journal_mode", "1 for the mode that the journal is in.", "mode")
        self._modes = {mode: modes.labels(mode) for mode in MODES}
        self._told_mode: JournalMode = "normal"
        if losses is not None:
            losses.heard_by(self._lost)
        self._local: LocalSide | None = None
        if acceptance is not None:
            self._local = LocalSide(
                acceptance, tell=self._tell, ask=journal.query, clock=clock, metrics=metrics,
                busy_s=self._settings.busy_s,
            )  # fmt: skip

    @property
    def mode(self) -> JournalMode:
        if not self._ladder.is_away:
            return "normal" if self._local is None or self._local.is_empty else "replaying"
        return "local" if self._local is not None and not self._local.trouble else "read-only"

    @property
    def reason(self) -> str:
        """Why it is not in mode normal, in one line; empty when it is."""
        if self._ladder.is_away:
            more = f"; {self._local.trouble}" if self._local is not None and self._local.trouble else ""
            return self._ladder.reason + more
        return "" if self.mode == "normal" else "what was accepted locally is being told to the journal"

    @property
    def report(self) -> JournalReport:
        return JournalReport(
            mode=self.mode,
            reason=self.reason,
            since_s=self._ladder.since_s,
            retry_after_s=self._retry_after_s,
            pending=self._local.pending if self._local is not None else 0,
        )

    @property
    def _retry_after_s(self) -> float:
        return max(1.0, self._ladder.successes_needed * self._settings.probe_every_s * 2)

    async def open(self) -> None:
        """Raises what the journal's and the local log's `open` raise."""
        if self._local is not None:
            await self._local.open()
        try:
            await self._journal.open()
        except BaseException:
            if self._local is not None:
                await self._local.close()
            raise
        self._tasks = asyncio.TaskGroup()
        await self._tasks.__aenter__()

    async def migrate(self) -> int:
        """The version, 0 while the journal is away. What a former process accepted locally is told to it first."""
        version = 0
        try:
            version = await self._journal.migrate()
            await self._probe()
        except JournalUnavailable as error:
            self._ladder.fall(str(error))
        if self._ladder.is_away or version == 0:
            self._ladder.fall("the journal could not be reached at the start")
        elif self._local is not None:
            await self._replay()
        self._tell_mode()
        if self._tasks is not None and self._prober is None:
            self._prober = self._tasks.create_task(self._look_after())
        return version

    async def close(self) -> None:
        tasks, self._tasks = self._tasks, None
        if tasks is not None:
            if self._prober is not None:
                self._prober.cancel()
            await tasks.__aexit__(None, None, None)
        await self._journal.close()
        if self._local is not None:
            await self._local.close()

    async def transact(self, commands: Sequence[c.Command]) -> list[Any]:
        if self._local is None:
            return await self._plainly(commands)
        if self._tasks is None:
            raise JournalUnavailable("the journal is closed")
        if not commands and self._at_work:
            await asyncio.wait(set(self._at_work))
        if not self._ladder.is_away and self._local.is_clear_of(commands):
            return await self._normally(commands)
        return await self._locally(self._local, commands)

    async def query(self, question: c.Question) -> Any:
        if self._local is None or self._local.is_empty:
            return await self._journal.query(question)
        return await self._local.answer(question)

    async def claim(self, limit: int, *, instance: str, now: float) -> list[c.Grant]:
        if not self._ladder.is_away:
            try:
                return await self._journal.claim(limit, instance=instance, now=now)
            except JournalUnavailable as error:
                self._failed(error)
                raise
        if self._local is None:
            raise self._refusal()
        return self._local.claim(limit, instance)

    async def _plainly(self, commands: Sequence[c.Command]) -> list[Any]:
        if self._ladder.is_away:
            raise self._refusal()
        return await self._tell(commands)

    async def _normally(self, commands: Sequence[c.Command]) -> list[Any]:
        """Straight to the journal; what that could not take because it is away now is taken locally."""
        assert self._local is not None
        commands = self._local.translated(commands)
        try:
            return await self._tell(commands)
        except JournalUnavailable:
            if not self._is_away() or self._tasks is None:
                raise
        return await self._locally(self._local, commands)

    async def _locally(self, local: LocalSide, commands: Sequence[c.Command]) -> list[Any]:
        assert self._tasks is not None
        task = self._tasks.create_task(self._supervised(local, commands))
        self._at_work.add(task)
        task.add_done_callback(self._at_work.discard)
        return await _settled(task)

    async def _supervised(self, local: LocalSide, commands: Sequence[c.Command]) -> list[Any] | NgxError:
        try:
            return await self._carefully(local, commands)
        except NgxError as error:
            return error
        except Exception:
            log.exception("local_log.broke")
            return JournalError("the command could not be taken locally")

    async def _carefully(self, local: LocalSide, commands: Sequence[c.Command]) -> list[Any]:
        """With the owners' locks held: locally while away, else to the journal behind what it lacks of these owners."""
        async with local.locked(commands):
            if self._is_away():
                return await local.take(commands, self._refusal())
            try:
                await local.replay_of(commands)
                return await self._tell(local.translated(commands))
            except JournalUnavailable:
                if not self._is_away():
                    raise
            return await local.take(commands, self._refusal())

    def _is_away(self) -> bool:
        return self._ladder.is_away

    async def _tell(self, commands: Sequence[c.Command]) -> list[Any]:
        """To the journal itself, which is learnt from, whatever comes of it."""
        self._in_flight += 1
        try:
            results = await self._journal.transact(commands)
        except JournalUnavailable as error:
            self._failed(error)
            raise
        finally:
            self._in_flight -= 1
        self._succeeded_s = self._clock.monotonic_s()
        self._ladder.succeeded()
        if self._local is not None:
            self._local.learn(commands, results)
        return results

    def _failed(self, error: NgxError) -> None:
        self._ladder.failed(str(error))
        self._tell_mode()

    def _lost(self, reason: str) -> None:
        """Counts towards going away only: whether it is back is the prober's to find out."""
        if not self._ladder.is_away:
            self._ladder.failed(reason)
            self._tell_mode()

    def _refusal(self) -> JournalUnavailable:
        return JournalUnavailable(REFUSED, retry_after_s=self._retry_after_s)

    async def _look_after(self) -> None:
        """Probes while the journal is away or suspiciously silent, and replays what was taken locally."""
        while True:
            await self._clock.sleep(self._settings.probe_every_s)
            silent_s = self._clock.monotonic_s() - self._succeeded_s
            if self._ladder.is_away or (self._in_flight and silent_s > self._settings.probe_within_s):
                await self._probe()
            if not self._ladder.is_away and self._local is not None:
                await self._replay()
            self._tell_mode()

    async def _probe(self) -> None:
        try:
            async with asyncio.timeout(self._settings.probe_within_s):
                [result] = await self._journal.transact([PROBE])
        except TimeoutError:
            self._ladder.failed("the database does not answer")
        except NgxError as error:
            self._ladder.failed(str(error))
        else:
            if isinstance(result, NgxError):
                self._ladder.failed(str(result))
            else:
                self._succeeded_s = self._clock.monotonic_s()
                self._ladder.succeeded()

    async def _replay(self) -> None:
        assert self._local is not None
        try:
            await self._local.replay_all()
        except JournalUnavailable as error:
            log.warning("local_log.not_replayed", reason=str(error))

    def _tell_mode(self) -> None:
        mode = self.mode
        for one, cell in self._modes.items():
            cell.set(float(one == mode))
        if mode != self._told_mode:
            log.warning("journal.mode", mode=mode, reason=self.reason)
            self._told_mode = mode


async def _settled(task: asyncio.Task[list[Any] | NgxError]) -> list[Any]:
    """The task's results, which come also when its caller leaves; the error that it gives is raised here."""
    results = await asyncio.shield(task)
    if isinstance(results, NgxError):
        raise results
    return results
