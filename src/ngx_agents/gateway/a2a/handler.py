"""The eleven methods of the protocol over the turn engine, the same for every binding.

Every method is of one caller and one agent path: what is another's looks absent. Nothing is held between calls but the
count of a caller's streams; whoever answers, at whatever instance, reads the journal.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec
from a2a.server.context import ServerCallContext
from a2a.server.request_handlers.request_handler import RequestHandler
from a2a.types import (
    AgentCard,
    CancelTaskRequest,
    DeleteTaskPushNotificationConfigRequest,
    GetExtendedAgentCardRequest,
    GetTaskPushNotificationConfigRequest,
    GetTaskRequest,
    ListTaskPushNotificationConfigsRequest,
    ListTaskPushNotificationConfigsResponse,
    ListTasksRequest,
    ListTasksResponse,
    Message,
    SendMessageRequest,
    SubscribeToTaskRequest,
    Task,
    TaskPushNotificationConfig,
)
from a2a.utils.errors import (
    InvalidAgentResponseError,
    TaskNotCancelableError,
    TaskNotFoundError,
    UnsupportedOperationError,
)
from typing_extensions import override

from ngx_agents.errors import Forbidden, NotFound, TurnFinished
from ngx_agents.gateway.a2a.call import call_of
from ngx_agents.gateway.a2a.cards import Cards
from ngx_agents.gateway.a2a.files import store
from ngx_agents.gateway.a2a.intake import Intake, agent_path
from ngx_agents.gateway.a2a.parts import agent_message, artifact_of
from ngx_agents.gateway.a2a.pushes import Pushes
from ngx_agents.gateway.a2a.refusals import check_fields, invalid, translating
from ngx_agents.gateway.a2a.settings import A2aSettings
from ngx_agents.gateway.a2a.updates import Event, Tasks, begun
from ngx_agents.gateway.a2a.views import NAMES, task_of
from ngx_agents.gateway.deps import GatewayDeps
from ngx_agents.gateway.entrance import About
from ngx_agents.gateway.first_aid import first_aid
from ngx_agents.gateway.open_streams import open_streams
from ngx_agents.state.commands import DeletePush, EndTask, ListPushes, ListTasks, PutPush
from ngx_agents.state.model import Owner
from ngx_agents.state.task_commands import ENDED, PushConfig, TaskPage, TaskRecord
from ngx_agents.turns.model import TurnRequest, TurnView

PAGE, MAX_PAGE = 50, 100
CANCEL_S = 10.0


class TaskHandler(RequestHandler):
    def __init__(
        self, deps: GatewayDeps, settings: A2aSettings, *, cards: Cards, intake: Intake, tasks: Tasks, pushes: Pushes
    ) -> None:
        self._deps = deps
        self._settings = settings
        self._cards = cards
        self._intake = intake
        self._tasks = tasks
        self._pushes = pushes
        self._streams = open_streams(settings.max_streams)

    # Messages

    @override
    async def on_message_send(self, params: SendMessageRequest, context: ServerCallContext) -> Task | Message:
        call = call_of(context)
        with translating(call):
            check_fields(params)
            length = _history_length(params.configuration)
            request, turn_id = await self._accepted(params, context, streamed=False)
            if request.task is None:
                return await self._message(request, turn_id)
            owner, task_id = call.principal.owner, request.task.task_id or turn_id
            if params.configuration.return_immediately:
                record = await self._tasks.record(task_id, owner, request.agent)
            else:
                record = await self._tasks.settled(
                    task_id, owner, request.agent, within_s=self._settings.wait_s, after=turn_id
                )
            return task_of(record, history_length=length)

    @override
    async def on_message_send_stream(
        self, params: SendMessageRequest, context: ServerCallContext
    ) -> AsyncGenerator[Event | Message]:
        call = call_of(context)
        with translating(call):
            check_fields(params)
            length = _history_length(params.configuration)
            owner = call.principal.owner
            with self._streams.one_of(owner):
                request, turn_id = await self._accepted(params, context, streamed=True)
                if request.task is None:
                    yield await self._message(request, turn_id)
                    return
                record = begun(await self._tasks.record(request.task.task_id or turn_id, owner, request.agent), turn_id)
                yield task_of(record, history_length=length)
                async with aclosing(self._followed(record, owner, until=ENDED | {"input_required"})) as events:
                    async for event in events:
                        yield event

    async def _accepted(
        self, params: SendMessageRequest, context: ServerCallContext, *, streamed: bool
    ) -> tuple[TurnRequest, str]:
        """The turn as it was asked for, and its id: durable."""
        call = call_of(context)
        agent = self._agent(context)
        request, files = await self._intake.request(params, call, agent, streamed=streamed)
        with first_aid(self._deps.team, request.text, request.locale) as is_emergency:
            ticket = await self._deps.entrance.enter(
                call.principal,
                turn_class=request.turn_class,
                size_bytes=call.size_bytes or params.ByteSize(),
                within_s=request.timeout_s,
                about=About(agent=request.agent, conversation_id=request.conversation_id, is_emergency=is_emergency),
            )
        with ticket:
            asked = msgspec.structs.replace(request, ticket=ticket, timeout_s=ticket.left_s(request.timeout_s))
            try:
                await store(self._deps, request, files, most_bytes=self._settings.attachments_bytes)
                accepted = await self._deps.engine.accept(asked)
            except NotFound as error:
                if request.task is not None and request.task.task_id is None:
                    raise invalid("there is no such context", "message.contextId") from error
                raise
        return request, accepted.turn_id

    async def _message(self, request: TurnRequest, turn_id: str) -> Message:
        view: TurnView = await self._deps.engine.wait(turn_id, request.owner)
        if view.status != "completed":
            raise InvalidAgentResponseError(message=view.message or "there is no answer")
        message = agent_message(turn_id, [view.text] if view.text else [], task_id="", context_id="")
        message.context_id = request.conversation_id
        for artifact in view.artifacts:
            message.parts.extend(artifact_of(artifact).parts)
        return message

    # Tasks

    @override
    async def on_get_task(self, params: GetTaskRequest, context: ServerCallContext) -> Task:
        with translating(call_of(context)):
            check_fields(params)
            length = _history_length(params)
            return task_of(await self._record(params.id, context, messages=length), history_length=length)

    @override
    async def on_list_tasks(self, params: ListTasksRequest, context: ServerCallContext) -> ListTasksResponse:
        with translating(call_of(context)):
            check_fields(params)
            length = _history_length(params)
            size = params.page_size if params.HasField("page_size") else PAGE
            if not 1 <= size <= MAX_PAGE:
                raise invalid(f"must be 1 to {MAX_PAGE}", "pageSize")
            has_since = params.HasField("status_timestamp_after")
            page: TaskPage = await self._deps.journal.query(
                ListTasks(
                    owner=call_of(context).principal.owner,
                    agent=self._agent(context),
                    limit=size,
                    cursor=params.page_token or None,
                    context_id=params.context_id or None,
                    state=NAMES.get(params.status),
                    since=params.status_timestamp_after.ToMilliseconds() / 1000 if has_since else None,
                    with_artifacts=params.include_artifacts,
                    messages=length,
                )
            )
            tasks = [
                task_of(record, history_length=length, with_artifacts=params.include_artifacts) for record in page.items
            ]
            return ListTasksResponse(
                tasks=tasks, next_page_token=page.next or "", page_size=size, total_size=page.total
            )

    @override
    async def on_cancel_task(self, params: CancelTaskRequest, context: ServerCallContext) -> Task:
        call = call_of(context)
        with translating(call):
            check_fields(params)
            owner, agent = call.principal.owner, self._agent(context)
            record = await self._record(params.id, context, messages=0)
            if record.state in ENDED and record.state != "canceled":
                raise TaskNotCancelableError
            now = self._deps.clock.now_s()
            await self._deps.tell(EndTask(task_id=params.id, owner=owner, agent=agent, now=now))
            for turn in reversed(record.turns):
                if turn.is_open:
                    await self._stop(turn.id, owner)
            return task_of(await self._tasks.settled(params.id, owner, agent, within_s=CANCEL_S))

    async def _stop(self, turn_id: str, owner: Owner) -> None:
        try:
            await self._deps.engine.cancel(turn_id, owner)
        except TurnFinished:
            return

    @override
    async def on_subscribe_to_task(
        self, params: SubscribeToTaskRequest, context: ServerCallContext
    ) -> AsyncGenerator[Event]:
        call = call_of(context)
        with translating(call):
            check_fields(params)
            owner = call.principal.owner
            with self._streams.one_of(owner):
                record = await self._record(params.id, context)
                if record.state in ENDED:
                    raise UnsupportedOperationError(message=f"the task has ended: {record.state}")
                yield task_of(record)
                async with aclosing(self._followed(record, owner, until=ENDED)) as events:
                    async for event in events:
                        yield event

    async def _followed(self, record: TaskRecord, owner: Owner, *, until: frozenset[str]) -> AsyncGenerator[Event]:
        try:
            events = self._tasks.follow(record, owner, until=until, within_s=self._settings.stream_s)
            async with aclosing(events):
                async for event in events:
                    yield event
        except TimeoutError:
            return

    # Webhooks

    @override
    async def on_create_task_push_notification_config(
        self, params: TaskPushNotificationConfig, context: ServerCallContext
    ) -> TaskPushNotificationConfig:
        call = call_of(context)
        with translating(call):
            check_fields(params)
            if not params.task_id:
                raise invalid("Field is required.", "taskId")
            await self._record(params.task_id, context, messages=0)
            config_id = params.id or self._deps.ids.new("w", 0)
            config = await self._pushes.stored(params, config_id, now=self._deps.clock.now_s())
            owner, agent = call.principal.owner, self._agent(context)
            await self._deps.tell(PutPush(task_id=params.task_id, owner=owner, agent=agent, config=config))
            return self._pushes.shown(config, task_id=params.task_id, tenant=params.tenant)

    @override
    async def on_get_task_push_notification_config(
        self, params: GetTaskPushNotificationConfigRequest, context: ServerCallContext
    ) -> TaskPushNotificationConfig:
        with translating(call_of(context)):
            check_fields(params)
            found = await self._configs(params.task_id, context, config_id=params.id)
            if not found:
                raise TaskNotFoundError(message="there is no such push notification config")
            return self._pushes.shown(found[0], task_id=params.task_id, tenant=params.tenant)

    @override
    async def on_list_task_push_notification_configs(
        self, params: ListTaskPushNotificationConfigsRequest, context: ServerCallContext
    ) -> ListTaskPushNotificationConfigsResponse:
        with translating(call_of(context)):
            check_fields(params)
            if not 0 <= params.page_size <= MAX_PAGE:
                raise invalid(f"must be 1 to {MAX_PAGE}", "pageSize")
            found = await self._configs(params.task_id, context)
            first = 0
            if params.page_token:
                first = next((n for n, config in enumerate(found, 1) if config.id == params.page_token), -1)
                if first < 0:
                    raise invalid("not a page token of this list", "pageToken")
            shown = found[first : first + (params.page_size or PAGE)]
            return ListTaskPushNotificationConfigsResponse(
                configs=[self._pushes.shown(one, task_id=params.task_id, tenant=params.tenant) for one in shown],
                next_page_token=shown[-1].id if shown and first + len(shown) < len(found) else "",
            )

    @override
    async def on_delete_task_push_notification_config(
        self, params: DeleteTaskPushNotificationConfigRequest, context: ServerCallContext
    ) -> None:
        call = call_of(context)
        with translating(call):
            check_fields(params)
            owner, agent = call.principal.owner, self._agent(context)
            await self._deps.tell(DeletePush(task_id=params.task_id, owner=owner, agent=agent, id=params.id))

    async def _configs(
        self, task_id: str, context: ServerCallContext, config_id: str | None = None
    ) -> tuple[PushConfig, ...]:
        owner = call_of(context).principal.owner
        found: tuple[PushConfig, ...] | None = await self._deps.journal.query(
            ListPushes(task_id=task_id, owner=owner, agent=self._agent(context), id=config_id)
        )
        if found is None:
            raise TaskNotFoundError
        return found

    # The card

    @override
    async def on_get_extended_agent_card(
        self, params: GetExtendedAgentCardRequest, context: ServerCallContext
    ) -> AgentCard:
        call = call_of(context)
        with translating(call):
            self._agent(context)
            return self._cards.card(context.tenant or call.agent, call.url, is_extended=True)

    def _agent(self, context: ServerCallContext) -> str | None:
        """Raises NotFound, also for an agent that the caller's key is not for."""
        call = call_of(context)
        path = context.tenant or call.agent
        known = {card.id for card in self._deps.team.cards()} if path else ()
        agent = agent_path(path, known, None if call.principal.agents is not None else self._settings.default_agent)
        try:
            return call.principal.agent_for(agent)
        except Forbidden as error:
            raise NotFound(str(error)) from error

    async def _record(self, task_id: str, context: ServerCallContext, *, messages: int | None = None) -> TaskRecord:
        owner = call_of(context).principal.owner
        return await self._tasks.record(task_id, owner, self._agent(context), messages=messages)


def _history_length(params: object) -> int | None:
    """Raises InvalidParamsError."""
    if not params.HasField("history_length"):  # type: ignore[attr-defined]  # one of three messages that have it
        return None
    length: int = params.history_length  # type: ignore[attr-defined]
    if length < 0:
        raise invalid("must be 0 or more", "historyLength")
    return length
