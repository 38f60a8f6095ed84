"""Questions while something is accepted locally: what the journal (or a replica) says, and what lies over it.

`ask` puts a question to the journal. A conversation that was begun here needs none of it; for others a journal that
does not answer makes the whole answer unavailable: nothing that is not complete is shown as if it were.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import msgspec

from ngx_agents.errors import JournalUnavailable, NotFound
from ngx_agents.state import commands as c
from ngx_agents.state.local_acceptance_overlay import Overlay
from ngx_agents.state.model import ConversationInfo, Message, Owner, Page
from ngx_agents.state.pages import page, place_of

Ask: TypeAlias = Callable[[c.Question], Awaitable[Any]]


async def answered(overlay: Overlay, question: c.Question, ask: Ask) -> Any:
    """The answer, with what lies over the journal. Raises what the question names, JournalUnavailable."""
    view = _VIEWS.get(type(question))
    return await (view(overlay, question, ask) if view is not None else ask(question))


async def _get_turn(overlay: Overlay, question: c.GetTurn, ask: Ask) -> Any:
    turn = overlay.turns.get(question.id)
    if turn is None:
        return await ask(question)
    return turn if turn.owner == question.owner else None


async def _get_conversation(overlay: Overlay, question: c.GetConversation, ask: Ask) -> ConversationInfo | None:
    lane = overlay.lanes.get(question.id)
    if lane is None:
        return await _asked(ask, question)
    if lane.owner != question.owner:
        return None
    if question.id in overlay.created:
        return _info(overlay, question.id)
    base: ConversationInfo | None = await ask(question)
    if base is None:
        return None
    more = len([one for one in overlay.messages[question.id] if one is not _asked_before(overlay, question.id)])
    return msgspec.structs.replace(base, messages=base.messages + more, updated_at=lane.updated_at or base.updated_at)


async def _asked(ask: Ask, question: c.Question) -> ConversationInfo | None:
    found: ConversationInfo | None = await ask(question)
    return found


def _asked_before(overlay: Overlay, lane_id: str) -> Message | None:
    """The question of the lane's running turn, which the journal has already."""
    base = overlay.bases.get(lane_id)
    return base.asked if base is not None else None


def _info(overlay: Overlay, lane_id: str) -> ConversationInfo:
    lane = overlay.lanes[lane_id]
    return ConversationInfo(
        id=lane_id, title=lane.title, created_at=lane.created_at, updated_at=lane.updated_at,
        messages=len(overlay.messages[lane_id]),
    )  # fmt: skip


async def _list_conversations(overlay: Overlay, question: c.ListConversations, ask: Ask) -> Page:
    """Those begun here are the newest: they stand before the journal's first page, which gets as much shorter."""
    mine = _begun_by(overlay, question.owner) if question.cursor is None else []
    room = max(1, question.limit - len(mine))
    base: Page = await ask(msgspec.structs.replace(question, limit=room))
    return Page((*mine, *base.items), base.next)


def _begun_by(overlay: Overlay, owner: Owner) -> list[ConversationInfo]:
    mine = [_info(overlay, lane_id) for lane_id, made in overlay.created.items() if made.owner == owner]
    return sorted(mine, key=lambda info: (info.created_at, info.id), reverse=True)


async def _list_messages(overlay: Overlay, question: c.ListMessages, ask: Ask) -> Page:
    lane = overlay.lanes.get(question.conversation_id)
    if lane is None:
        base: Page = await ask(question)
        return base
    if lane.owner != question.owner:
        raise NotFound("no such conversation")
    base = Page(())
    if question.conversation_id not in overlay.created:
        base = await ask(question)
        if base.next is not None:
            return base
    after = place_of(question.cursor) or (0.0, "")
    seen = {message.seq for message in base.items}
    local = [one for one in overlay.messages[question.conversation_id] if one.seq > after[0] and one.seq not in seen]
    return page([*base.items, *local], question.limit, lambda message: (message.seq, message.id))


async def _recent_messages(overlay: Overlay, question: c.RecentMessages, ask: Ask) -> tuple[Message, ...]:
    lane = overlay.lanes.get(question.conversation_id)
    if lane is None or lane.owner != question.owner:
        base: tuple[Message, ...] = await ask(question)
        return base
    local = [one for one in overlay.messages[question.conversation_id] if one.seq < question.before]
    if question.conversation_id in overlay.created or len(local) >= question.limit:
        return tuple(local[-question.limit :])
    before = local[0].seq if local else question.before
    more = msgspec.structs.replace(question, before=before, limit=question.limit - len(local))
    base = await ask(more)
    return (*base, *local)


async def _list_artifacts(overlay: Overlay, question: c.ListArtifacts, ask: Ask) -> Page:
    mine = [
        made
        for owner, made in overlay.artifacts.values()
        if owner == question.owner and question.turn_id in (None, made.turn_id)
    ]
    mine.sort(key=lambda made: (made.created_at, made.id), reverse=True)
    if question.turn_id in overlay.turns:
        return Page(tuple(mine[: question.limit]))
    if question.cursor is not None or not mine:
        found: Page = await ask(question)
        return found
    base: Page = await ask(msgspec.structs.replace(question, limit=max(1, question.limit - len(mine))))
    return Page((*mine, *base.items), base.next)


async def _get_artifact(overlay: Overlay, question: c.GetArtifact, ask: Ask) -> Any:
    owner, made = overlay.artifacts.get(question.id, (None, None))
    if made is None:
        return await ask(question)
    return made if owner == question.owner else None


async def _checkpoints(overlay: Overlay, question: c.Checkpoints, ask: Ask) -> Any:
    local = overlay.checkpoints.get(question.turn_id, {})
    if question.turn_id in overlay.turns:
        return dict(local)
    return {**await ask(question), **local}


async def _effects(overlay: Overlay, question: c.Effects, ask: Ask) -> Any:
    return {} if question.turn_id in overlay.turns else await ask(question)


async def _holder_of(overlay: Overlay, question: c.HolderOf, ask: Ask) -> Any:
    turn = overlay.turns.get(question.turn_id)
    if turn is None:
        return await ask(question)
    lane = overlay.lanes[turn.conversation_id]
    if turn.owner != question.owner or lane.running != turn.id or lane.lane_owner is None:
        return None
    return c.Holder(instance=lane.lane_owner, epoch=lane.epoch)


async def _export(overlay: Overlay, question: c.ExportUser, ask: Ask) -> Any:
    if question.owner in overlay.entries:
        raise JournalUnavailable("part of what is stored is not in the journal yet", retry_after_s=10.0)
    return await ask(question)


_VIEWS: dict[type, Callable[[Overlay, Any, Ask], Awaitable[Any]]] = {
    c.GetTurn: _get_turn,
    c.GetConversation: _get_conversation,
    c.ListConversations: _list_conversations,
    c.ListMessages: _list_messages,
    c.RecentMessages: _recent_messages,
    c.ListArtifacts: _list_artifacts,
    c.GetArtifact: _get_artifact,
    c.Checkpoints: _checkpoints,
    c.Effects: _effects,
    c.HolderOf: _holder_of,
    c.ExportUser: _export,
}
