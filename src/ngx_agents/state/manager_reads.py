"""How a StateManager reads a conversation: from the first tier that is known to be new enough."""

from __future__ import annotations

from collections.abc import Callable
from operator import methodcaller
from typing import Any

import msgspec

from ngx_agents.errors import InvalidRequest, StateCorrupt
from ngx_agents.state import commands as c
from ngx_agents.state.codec import Codec
from ngx_agents.state.journal import Journal
from ngx_agents.state.manager_memory import KEPT_MESSAGES, Copy
from ngx_agents.state.manager_tiers import Tiers
from ngx_agents.state.model import Message, Owner
from ngx_agents.state.state_commands import StoredState
from ngx_agents.telemetry.metrics import Metrics

RECENT = 20
MAX_RECENT = 1000
_fresh: Callable[[Message], Message] = methodcaller("__copy__")  # a quarter of what copy.copy needs


class Conversation(msgspec.Struct, frozen=True, kw_only=True):
    """What `load` gives: the caller's own, to change at will. `version` is 0 and `state` empty when none was saved.

    `messages` are the newest, oldest first.
    """

    state: dict[str, Any]
    version: int
    messages: tuple[Message, ...]


class ConversationReader:
    """`tiers` None: every load asks the journal. `is_alone`: nobody else writes to the journal."""

    def __init__(
        self,
        journal: Journal,
        tiers: Tiers | None,
        codec: Codec[dict[str, Any]],
        *,
        is_alone: bool,
        metrics: Metrics,
    ) -> None:
        self._journal = journal
        self._tiers = tiers
        self._decode = codec.decode
        self._is_alone = is_alone
        loads = metrics.counter("ngx_state_loads_total", "Conversations loaded, by where they were found.", "tier")
        self._from_memory, self._from_shared, self._from_journal = (
            loads.labels(tier) for tier in ("memory", "shared", "journal")
        )

    async def load(self, key: str, owner: Owner, *, at_least: int | None, recent: int) -> Conversation:
        """Raises StateCorrupt, JournalUnavailable, InvalidRequest."""
        _check(at_least, recent)
        tiers = self._tiers
        if tiers is None:
            return await self._read(key, owner, recent)
        copy = tiers.get(key, owner)
        if copy is not None and _reaches(copy, recent):
            version = copy.stamp.version
            if self._is_alone or (at_least is not None and version >= at_least) or await self._is_current(key, copy):
                self._from_memory.value += 1
                return self._given(copy, recent)
        elif at_least is not None:
            shared = await self._shared(key, owner, at_least=at_least, recent=recent)
            if shared is not None:
                return shared
        with tiers.reading(key) as reading:
            stored = await self._stored(key, owner, recent)
            if stored is None:
                return Conversation(state={}, version=0, messages=())
            given = self._given(stored, recent)
            tiers.read(key, _kept(stored), reading)
            return given

    async def _is_current(self, key: str, copy: Copy) -> bool:
        stamp = await self._journal.query(c.GetStamp(conversation_id=key, owner=copy.owner))
        return stamp == copy.stamp and copy.stamp.is_idle

    async def _shared(self, key: str, owner: Owner, *, at_least: int, recent: int) -> Conversation | None:
        assert self._tiers is not None
        copy = await self._tiers.get_shared(key, owner, at_least=at_least)
        if copy is None or not _reaches(copy, recent):
            return None
        try:
            given = self._given(copy, recent)
        except StateCorrupt:
            self._tiers.reject(key)
            return None
        self._from_shared.value += 1
        return given

    async def _read(self, key: str, owner: Owner, recent: int) -> Conversation:
        stored = await self._stored(key, owner, recent)
        if stored is None:
            return Conversation(state={}, version=0, messages=())
        return self._given(stored, recent)

    async def _stored(self, key: str, owner: Owner, recent: int) -> Copy | None:
        most = max(recent, KEPT_MESSAGES)
        self._from_journal.value += 1
        stored: StoredState | None = await self._journal.query(
            c.GetState(conversation_id=key, owner=owner, recent=most)
        )
        if stored is None:
            return None
        is_whole = len(stored.messages) < most
        return Copy(owner=owner, stamp=stored.stamp, body=stored.body, messages=stored.messages, is_whole=is_whole)

    def _given(self, copy: Copy, recent: int) -> Conversation:
        state = self._decode(copy.body) if copy.body else {}
        messages = tuple(map(_fresh, copy.messages[-recent:])) if recent else ()
        return Conversation(state=state, version=copy.stamp.version, messages=messages)


def _check(at_least: int | None, recent: int) -> None:
    if not 0 <= recent <= MAX_RECENT:
        raise InvalidRequest(f"recent is from 0 to {MAX_RECENT}", field="recent")
    if at_least is not None and at_least < 1:
        raise InvalidRequest("at_least is a version that was saved", field="at_least")


def _reaches(copy: Copy, recent: int) -> bool:
    return copy.is_whole or recent <= len(copy.messages)


def _kept(stored: Copy) -> Copy:
    if len(stored.messages) <= KEPT_MESSAGES:
        return stored
    return msgspec.structs.replace(stored, messages=stored.messages[-KEPT_MESSAGES:], is_whole=False)
