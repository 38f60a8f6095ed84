"""From a message as it was sent to the turn that it becomes."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from typing import TypeAlias

from a2a.types import Message, SendMessageRequest
from a2a.utils.errors import ContentTypeNotSupportedError

from ngx_agents.a2a.message import MAX_DEPTH
from ngx_agents.a2a.refusals import CallsUnbounded
from ngx_agents.a2a.trail import URI, Trail, Trails
from ngx_agents.clock import Clock
from ngx_agents.errors import NotFound
from ngx_agents.gateway.a2a.call import Call
from ngx_agents.gateway.a2a.files import FILE_MODES, name_types, taken_out
from ngx_agents.gateway.a2a.parts import DEFAULT_MODES, JSON, TEXT, text_from
from ngx_agents.gateway.a2a.pushes import Pushes
from ngx_agents.gateway.a2a.refusals import invalid
from ngx_agents.gateway.a2a.settings import A2aSettings
from ngx_agents.gateway.a2a.updates import Tasks
from ngx_agents.gateway.decode import idempotency_key
from ngx_agents.state.blob_commands import Blob
from ngx_agents.state.commands import CreateConversation, PushConfig, TaskEntry
from ngx_agents.state.ids import Ids, derived, is_id, shard_of
from ngx_agents.turns.model import TurnRequest

MAX_ID_CHARS = 256
MODES = (*DEFAULT_MODES, *FILE_MODES)
Place: TypeAlias = tuple[str, str, CreateConversation | None]
"""The caller's name of the context, the conversation, and how it is made if this is its beginning."""
Asked: TypeAlias = tuple[TurnRequest, tuple[Blob, ...]]
"""The turn, and the files that are to be stored before it is accepted."""


class Intake:
    def __init__(self, tasks: Tasks, pushes: Pushes, *, ids: Ids, clock: Clock, settings: A2aSettings) -> None:
        self._tasks = tasks
        self._pushes = pushes
        self._ids = ids
        self._clock = clock
        self._settings = settings
        self._trails = Trails(settings.secret_keys)

    async def request(self, sent: SendMessageRequest, call: Call, agent: str | None, *, streamed: bool) -> Asked:
        """Raises InvalidParamsError, ContentTypeNotSupportedError, NotFound (its task), InvalidRequest, BodyTooLarge,
        CallsUnbounded."""
        message, owner = sent.message, call.principal.owner
        _check(message)
        own_modes = self._settings.input_modes.get(agent)
        if own_modes is None:
            name_types(message)
        trail = self._trail(message, call, agent)
        text = text_from(message, own_modes or MODES)
        _check_output(sent.configuration.accepted_output_modes, own_modes or ())
        context_id, conversation_id, begins = await self._place(message, call, agent)
        key = idempotency_key(call.idempotency_key)
        hashed = _hash(sent, agent) if key is not None else b""
        files: tuple[Blob, ...] = ()
        if own_modes is None:  # an agent with modes of its own reads its files itself
            now = self._clock.now_s()
            files = await taken_out(message, owner, conversation_id, url=call.url, now=now)
        is_task = bool(message.task_id) or not self._settings.answers_at_once(text, agent)
        request = TurnRequest(
            conversation_id=conversation_id,
            owner=owner,
            text=text,
            agent=agent,
            idempotency_key=key,
            idempotency_hash=hashed,
            attachments=tuple(blob.info.id for blob in files),
            is_streamed=streamed,
            begins=begins,
            task=_entry(message, context_id) if is_task else None,
            push=await self._push(sent) if is_task else None,
            trail=None if trail is None else str(trail),
            timeout_s=None if trail is None else trail.remaining_s,
        )
        return request, files

    def _trail(self, message: Message, call: Call, agent: str | None) -> Trail | None:
        """How it came here, where that was told. Raises InvalidRequest, CallsUnbounded beyond what the bus allows."""
        told = [call.trail] if call.trail else []
        if URI in message.metadata:
            said = message.metadata[URI]
            told.append(said if isinstance(said, str) else "")
        trail = self._trails.heard(told)
        if trail is not None and trail.depth >= MAX_DEPTH:
            raise CallsUnbounded(agent or "team", "depth", MAX_DEPTH)
        return trail

    async def _place(self, message: Message, call: Call, agent: str | None) -> Place:
        if message.task_id:
            record = await self._tasks.record(message.task_id, call.principal.owner, agent, messages=0)
            if message.context_id and message.context_id != record.context_id:
                raise invalid("the task belongs to another context", "message.contextId")
            return record.context_id, record.conversation_id, None
        return self._context(message.context_id, call)

    def _context(self, context_id: str, call: Call) -> Place:
        """A caller's own name of a context is as good as ours: it leads to a conversation of that caller alone."""
        owner = call.principal.owner
        shard = shard_of(owner.user)
        if is_id("c", context_id):
            return context_id, context_id, None
        if context_id:
            conversation_id = derived("c", shard, f"{owner.tenant}\0{owner.user}\0{context_id}")
        else:
            context_id = conversation_id = self._ids.new("c", shard)
        begins = CreateConversation(id=conversation_id, owner=owner, title="", now=self._clock.now_s())
        return context_id, conversation_id, begins

    async def _push(self, sent: SendMessageRequest) -> PushConfig | None:
        if not sent.configuration.HasField("task_push_notification_config"):
            return None
        config = sent.configuration.task_push_notification_config
        return await self._pushes.stored(config, config.id or self._ids.new("w", 0), now=self._clock.now_s())


def _entry(message: Message, context_id: str) -> TaskEntry:
    kept = Message()
    kept.CopyFrom(message)
    kept.task_id = kept.context_id = ""
    return TaskEntry(context_id=context_id, message=kept.SerializeToString(), task_id=message.task_id or None)


def _check(message: Message) -> None:
    for field, value in (
        ("messageId", message.message_id),
        ("contextId", message.context_id),
        ("taskId", message.task_id),
    ):
        if len(value) > MAX_ID_CHARS or not value.isprintable():
            raise invalid(f"must be printable and {MAX_ID_CHARS} characters at most", f"message.{field}")


def _check_output(accepted: Collection[str], modes: Collection[str]) -> None:
    known = {TEXT, JSON, "*/*", "text/*", "application/*", *modes}
    if accepted and known.isdisjoint(mode.partition(";")[0].strip().lower() for mode in accepted):
        raise ContentTypeNotSupportedError(message=f"the agent answers in {TEXT} and {JSON}")


def _hash(sent: SendMessageRequest, agent: str | None) -> bytes:
    """Of what is asked, however it came here."""
    if URI in sent.message.metadata:
        asked = SendMessageRequest()
        asked.CopyFrom(sent)
        del asked.message.metadata[URI]
        sent = asked
    return hashlib.sha256(f"a2a/{agent or ''}\0".encode() + sent.SerializeToString(deterministic=True)).digest()


def agent_path(tenant: str, known: Collection[str], default: str | None) -> str | None:
    """The agent that an agent path names: None for the team itself. Raises NotFound."""
    if not tenant:
        return default
    if tenant not in known:
        raise NotFound("there is no such agent")
    return tenant
