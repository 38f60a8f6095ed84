"""Sends the messages of schedules that are due. Every instance looks; the journal lets one of them send each.

What was missed while nobody looked, or while the mode was degraded 1 or worse, is sent late and only for the last time
that it was due: the times before it are counted as skipped. Producer: the task of `run`.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ngx_agents.clock import Clock, Rng
from ngx_agents.errors import NgxError
from ngx_agents.resilience.modes import Modes
from ngx_agents.state.commands import DueSchedules, Fired, FireSchedule, Grant, Schedule
from ngx_agents.state.ids import Ids, shard_in
from ngx_agents.state.journal import Journal
from ngx_agents.telemetry.log import event_log
from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.turns.engine import TurnEngine
from ngx_agents.turns.lookout import Enter, Lookout
from ngx_agents.turns.schedules.calendar import Rule, missed, next_after
from ngx_agents.turns.settings import CLASS_TIMEOUT_S

BACKGROUND = 2
PAGE = 50
MAX_PAGES = 40
log = event_log("turns")


class ScheduleSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Looks are at most `look_s` apart, so a message is sent at most about as late."""

    look_s: float = 1.0


class ScheduleRunner:
    """`run` goes on until it is cancelled."""

    def __init__(  # noqa: PLR0913  # what it works with, all by name
        self,
        *,
        engine: TurnEngine,
        journal: Journal,
        modes: Modes,
        enter: Enter,
        ids: Ids,
        clock: Clock,
        rng: Rng,
        metrics: Metrics,
        settings: ScheduleSettings | None = None,
    ) -> None:
        self._engine = engine
        self._journal = journal
        self._lookout = Lookout("schedules", engine=engine, modes=modes, enter=enter, clock=clock, rng=rng)
        self._ids = ids
        self._clock = clock
        self._settings = settings or ScheduleSettings()
        self._sent = metrics.counter("ngx_schedules_sent_total", "Messages of schedules that were sent here.").labels()
        self._skipped = metrics.counter("ngx_schedules_skipped_total", "Times that passed without being sent.").labels()

    async def run(self) -> None:
        await self._lookout.run(self._look, self._clock.sleep, failed_s=self._settings.look_s)

    async def _look(self) -> float:
        self._lookout.begin_look()
        if not self._lookout.is_held:
            await self._fire_due()
        return self._settings.look_s

    async def _fire_due(self) -> None:
        after = (0.0, "")
        for _ in range(MAX_PAGES):
            question = DueSchedules(now=self._clock.now_s(), limit=PAGE, after=after)
            page: tuple[Schedule, ...] = await self._journal.query(question)
            for schedule in page:
                await self._fire(schedule)
            if len(page) < PAGE or self._engine.running >= self._engine.places:
                return
            after = (page[-1].next_at, page[-1].id)

    async def _fire(self, schedule: Schedule) -> None:
        """One that cannot be sent now stays due."""
        if self._lookout.is_put_off(schedule.owner):
            return
        ticket = await self._lookout.ticket(schedule.owner, BACKGROUND)
        if ticket is None:
            return
        command = self._command(schedule)

        async def take(room: int) -> Sequence[Grant]:
            [fired] = await self._journal.transact([command])
            if isinstance(fired, BaseException):
                raise fired
            if not isinstance(fired, Fired):
                return ()
            self._tell(command)
            return () if fired.grant is None else (fired.grant,)

        try:
            await self._engine.begin_granted([ticket], take)
        except NgxError as refused:
            log.warning("schedule.not_sent", schedule_id=schedule.id, code=refused.code)

    def _command(self, schedule: Schedule) -> FireSchedule:
        now_s = self._clock.now_s()
        rule = Rule(at=schedule.at, weekdays=schedule.weekdays, zone=schedule.zone)
        due_at, skipped = missed(rule, since_s=schedule.next_at, now_s=now_s)
        return FireSchedule(
            id=schedule.id, owner=schedule.owner, seen_at=schedule.next_at, due_at=due_at,
            next_at=next_after(rule, now_s), skipped=skipped,
            turn_id=self._ids.new("t", shard_in(schedule.conversation_id)), turn_class=BACKGROUND,
            instance=self._engine.instance, now=now_s, deadline_at=now_s + CLASS_TIMEOUT_S[BACKGROUND],
        )  # fmt: skip

    def _tell(self, sent: FireSchedule) -> None:
        self._sent.inc()
        self._skipped.inc(sent.skipped)
        late_s = round(sent.now - sent.due_at, 1)
        log.info("schedule.sent", schedule_id=sent.id, turn_id=sent.turn_id, late_s=late_s, skipped=sent.skipped)
