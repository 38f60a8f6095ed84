"""Webhooks of tasks: kept with their secrets sealed, and what is posted to them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from a2a.types import StreamResponse, TaskArtifactUpdateEvent, TaskPushNotificationConfig, TaskStatusUpdateEvent
from google.protobuf.json_format import MessageToJson

from ngx_agents.gateway.a2a.refusals import invalid
from ngx_agents.gateway.a2a.views import STATES, artifacts_of, question_of, timestamp
from ngx_agents.state.commands import GetTask
from ngx_agents.state.journal import Journal
from ngx_agents.state.model import Answer
from ngx_agents.state.push_commands import DuePush
from ngx_agents.state.task_commands import PushConfig, TaskRecord, TaskState, TaskTurn, state_of
from ngx_agents.turns.outbox.guard import Guard
from ngx_agents.turns.outbox.letter import Letter, Sealer

MEDIA_TYPE = "application/a2a+json"
TOKEN_HEADER = "X-A2A-Notification-Token"
MAX_CHARS = 4096


class Pushes:
    def __init__(self, journal: Journal, sealer: Sealer, guard: Guard) -> None:
        self._journal = journal
        self._sealer = sealer
        self._guard = guard

    async def stored(self, config: TaskPushNotificationConfig, config_id: str, *, now: float) -> PushConfig:
        """What is kept of it. Raises InvalidRequest (field `url`), InvalidParamsError."""
        auth = config.authentication
        secrets = {"token": config.token, "scheme": auth.scheme, "credentials": auth.credentials, "id": config_id}
        for field, value in secrets.items():
            if len(value) > MAX_CHARS or not value.isprintable():
                raise invalid("must be printable and not that long", field)
        if config.HasField("authentication") and not auth.scheme:
            raise invalid("Field is required.", "authentication.scheme")
        await self._guard.check(config.url)
        kept = TaskPushNotificationConfig(id=config_id, url=config.url, token=config.token)
        if config.HasField("authentication"):
            kept.authentication.CopyFrom(auth)
        return PushConfig(
            id=config_id, url=config.url, body=self._sealer.seal(kept.SerializeToString()), created_at=now
        )

    def shown(self, config: PushConfig, *, task_id: str, tenant: str) -> TaskPushNotificationConfig:
        made = TaskPushNotificationConfig.FromString(self._sealer.open(config.body))
        made.task_id, made.tenant = task_id, tenant
        return made

    async def letters(self, due: DuePush) -> Sequence[Letter]:
        """One for each event that the entry makes. None of a task that is gone. Raises NgxError."""
        question = GetTask(id=due.subject, owner=due.owner, agent=due.agent, messages=0)
        record: TaskRecord | None = await self._journal.query(question)
        turn = next((turn for turn in record.turns if turn.id == due.turn_id), None) if record is not None else None
        if record is None or turn is None:
            return ()
        config = TaskPushNotificationConfig.FromString(self._sealer.open(due.config.body))
        headers = {"A2A-Version": "1.0"}
        if config.token:
            headers[TOKEN_HEADER] = config.token
        if config.authentication.scheme:
            headers["Authorization"] = f"{config.authentication.scheme} {config.authentication.credentials}".strip()
        return [
            Letter(content=_json(event), content_type=MEDIA_TYPE, headers=headers)
            for event in _events(record, turn, due)
        ]


def _json(event: StreamResponse) -> bytes:
    return MessageToJson(event, indent=None).encode()


def _events(record: TaskRecord, turn: TaskTurn, due: DuePush) -> list[StreamResponse]:
    """Told by the entry as it was noted, not by how the task stands when it is sent."""
    if due.status in ("queued", "running"):
        return [_status(record, "submitted" if due.status == "queued" else "working", due.at, turn=None)]
    if due.status == "completed" and turn.status == "cancelled":
        # it had asked its caller something when this was noted; the cancel that came since is told by the next entry
        asked = msgspec.structs.replace(
            turn, status="completed", answer=Answer(text=_text(turn), code="input_required")
        )
        return [_status(record, "input_required", due.at, turn=asked)]
    events = [
        StreamResponse(
            artifact_update=TaskArtifactUpdateEvent(
                artifact=artifact, append=False, last_chunk=True, task_id=record.id, context_id=record.context_id
            )
        )
        for artifact in artifacts_of(turn)
    ]
    state = state_of([turn]) if due.is_last else "working"
    return [*events, _status(record, state, due.at, turn=turn if due.is_last else None)]


def _text(turn: TaskTurn) -> str:
    return "" if turn.answer is None else turn.answer.text


def _status(record: TaskRecord, state: TaskState, at: float, *, turn: TaskTurn | None) -> StreamResponse:
    made = TaskStatusUpdateEvent(task_id=record.id, context_id=record.context_id)
    made.status.state = STATES[state]
    made.status.timestamp.CopyFrom(timestamp(at))
    if turn is not None and turn.answer is not None and (turn.outcome or turn.answer.message):
        made.status.message.CopyFrom(question_of(record, turn))
    return StreamResponse(status_update=made)
