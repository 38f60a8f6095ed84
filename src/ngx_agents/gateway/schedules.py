"""Schedules over HTTP: messages that the caller has sent to the team by themselves."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from ngx_agents.errors import InvalidRequest, NotFound
from ngx_agents.gateway.batch_wire import ConversationId
from ngx_agents.gateway.decode import decoded, known_id, text_of
from ngx_agents.gateway.deps import GatewayDeps
from ngx_agents.gateway.exchange import Exchange
from ngx_agents.gateway.operation import Operation, operation_of
from ngx_agents.gateway.settings import GatewaySettings
from ngx_agents.gateway.wire import AgentId, Locale, TurnText
from ngx_agents.resilience.modes import Mode
from ngx_agents.state.commands import (
    DeleteSchedule,
    GetConversation,
    GetSchedule,
    ListSchedules,
    PutSchedule,
    Schedule,
)
from ngx_agents.state.ids import shard_of
from ngx_agents.turns.schedules.calendar import EVERY_DAY, Rule, next_after

MAX_BODY_BYTES = 262_144
LocalTime = Annotated[str, Meta(pattern="^([01][0-9]|2[0-3]):[0-5][0-9]$")]
Weekdays = Annotated[list[Annotated[int, Meta(ge=1, le=7)]], Meta(min_length=1, max_length=7)]


class ScheduleBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`text` is sent at the local time `at` on `weekdays` (1 Monday to 7 Sunday) of the IANA time zone `zone`.

    It goes to `conversation_id`, or to a conversation that is made for it.
    """

    at: LocalTime
    zone: Annotated[str, Meta(min_length=1, max_length=64)]
    text: TurnText
    weekdays: Weekdays = msgspec.field(default_factory=lambda: list(EVERY_DAY))
    agent: AgentId | None = None
    locale: Locale | None = None
    conversation_id: ConversationId | None = None
    is_paused: bool = False


class ScheduleView(Struct, frozen=True, kw_only=True):
    """A schedule as it stands; times are Unix seconds. `next_at` is null while it is paused.

    `last_turn_id` is the turn that was made last, `late_s` how much later than it was due, `skipped` how often it was
    due without being sent. `held_by`: it is due and waits for this operating mode to end.
    """

    id: str
    at: str
    weekdays: tuple[int, ...]
    zone: str
    text: str
    agent: str | None
    locale: str | None
    conversation_id: str
    is_paused: bool
    created_at: float
    next_at: float | None
    last_due_at: float | None
    last_run_at: float | None
    last_turn_id: str | None
    late_s: float | None
    skipped: int
    held_by: str | None


class ScheduleList(Struct, frozen=True):
    """Oldest first."""

    items: tuple[ScheduleView, ...]


class ScheduleRoutes:
    def __init__(self, deps: GatewayDeps, settings: GatewaySettings) -> None:
        self._deps = deps
        self._journal = deps.journal
        self._max_schedules = settings.max_schedules
        self._decoder = msgspec.json.Decoder(ScheduleBody)

    async def create_schedule(self, exchange: Exchange) -> None:
        schedule = await self._told(exchange, None)
        await self._deps.tell(PutSchedule(schedule=schedule, max_schedules=self._max_schedules))
        location = (b"location", b"/v1/me/schedules/" + schedule.id.encode())
        await exchange.reply_json(self._view(schedule), 201, (location,))

    async def replace_schedule(self, exchange: Exchange) -> None:
        """What was sent already stays told."""
        schedule = await self._told(exchange, await self._found(exchange))
        await self._deps.tell(PutSchedule(schedule=schedule, max_schedules=self._max_schedules))
        await exchange.reply_json(self._view(schedule))

    async def schedules(self, exchange: Exchange) -> None:
        found = await self._journal.query(ListSchedules(owner=exchange.principal.owner))
        await exchange.reply_json(ScheduleList(tuple(self._view(schedule) for schedule in found)))

    async def schedule(self, exchange: Exchange) -> None:
        await exchange.reply_json(self._view(await self._found(exchange)))

    async def delete_schedule(self, exchange: Exchange) -> None:
        schedule_id = known_id("s", exchange.parameters["schedule_id"])
        if not await self._deps.tell(DeleteSchedule(id=schedule_id, owner=exchange.principal.owner)):
            raise NotFound("there is no such schedule")
        await exchange.reply(204, b"", ())

    async def _found(self, exchange: Exchange) -> Schedule:
        schedule_id = known_id("s", exchange.parameters["schedule_id"])
        found: Schedule | None = await self._journal.query(GetSchedule(id=schedule_id, owner=exchange.principal.owner))
        if found is None:
            raise NotFound("there is no such schedule")
        return found

    async def _told(self, exchange: Exchange, former: Schedule | None) -> Schedule:
        """The schedule of the body; one that replaces another keeps its id, conversation and past."""
        body = decoded(self._decoder, await exchange.body(MAX_BODY_BYTES))
        rule = Rule(at=body.at, weekdays=tuple(sorted(set(body.weekdays))), zone=body.zone)
        rule.check()
        if body.agent is not None and not self._deps.team.knows(body.agent):
            raise InvalidRequest("no agent of this team has that id", field="agent")
        owner, now_s = exchange.principal.owner, self._deps.engine.clock.now_s()
        shard = shard_of(owner.user)
        if former is None:
            former = Schedule(
                id=self._deps.ids.new("s", shard), owner=owner, at="", weekdays=(), zone="", text="",
                conversation_id=self._deps.ids.new("c", shard), created_at=now_s, next_at=0.0,
            )  # fmt: skip
        if body.conversation_id is not None and body.conversation_id != former.conversation_id:
            await self._check_conversation(exchange, body.conversation_id)
        return msgspec.structs.replace(
            former, at=rule.at, weekdays=rule.weekdays, zone=rule.zone, text=text_of(body.text, "text"),
            agent=body.agent, locale=body.locale, is_paused=body.is_paused, next_at=next_after(rule, now_s),
            conversation_id=body.conversation_id or former.conversation_id,
        )  # fmt: skip

    async def _check_conversation(self, exchange: Exchange, conversation_id: str) -> None:
        question = GetConversation(id=conversation_id, owner=exchange.principal.owner)
        if await self._journal.query(question) is None:
            raise InvalidRequest("no such conversation", field="conversation_id")

    def _view(self, schedule: Schedule) -> ScheduleView:
        modes = self._deps.modes
        is_held = (
            modes.at_least(Mode.DEGRADED_1)
            and not schedule.is_paused
            and schedule.next_at <= self._deps.engine.clock.now_s()
        )
        late_s = None
        if schedule.last_run_at is not None and schedule.last_due_at is not None:
            late_s = schedule.last_run_at - schedule.last_due_at
        return ScheduleView(
            id=schedule.id, at=schedule.at, weekdays=schedule.weekdays, zone=schedule.zone, text=schedule.text,
            agent=schedule.agent, locale=schedule.locale, conversation_id=schedule.conversation_id,
            is_paused=schedule.is_paused, created_at=schedule.created_at,
            next_at=None if schedule.is_paused else schedule.next_at, last_due_at=schedule.last_due_at,
            last_run_at=schedule.last_run_at, last_turn_id=schedule.last_turn_id, late_s=late_s,
            skipped=schedule.skipped, held_by=modes.current.label if is_held else None,
        )  # fmt: skip


def schedule_operations(routes: ScheduleRoutes) -> list[Operation]:
    one = "/v1/me/schedules/{schedule_id}"
    return [
        operation_of(
            "POST /v1/me/schedules", routes.create_schedule,
            summary="Have a message sent at a local time on some weekdays",
            answers={201: (ScheduleView,)}, body=ScheduleBody,
        ),
        operation_of("GET /v1/me/schedules", routes.schedules, summary="The schedules", answers={200: (ScheduleList,)}),
        operation_of(f"GET {one}", routes.schedule, summary="One schedule", answers={200: (ScheduleView,)}),
        operation_of(
            f"PUT {one}", routes.replace_schedule, summary="Replace a schedule, pause it or go on with it",
            answers={200: (ScheduleView,)}, body=ScheduleBody,
        ),
        operation_of(f"DELETE {one}", routes.delete_schedule, summary="Delete a schedule", answers={204: ()}),
    ]  # fmt: skip
