"""Recent messages and profiles that instances share, between memory and the journal: for a turn that changes instance.

It is a Journal itself, around a MemoryTier. Nothing has to be invalidated: messages are stored under the number of the
next question (`RecentMessages.before`), a profile under its version, and an answer is taken only for exactly the number
that the turn's acceptance or grant told. What is out of reach, damaged or of someone else is a miss, and counted.
Puts go out in tasks of their own, at most MAX_UNSENT at once; `close` cancels what is left.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import msgspec

from ngx_agents.coordination.commands import Drop, DropGroup, GetVersioned, PutNewer, Versioned
from ngx_agents.coordination.shared import Shared
from ngx_agents.coordination.tasks import Tasks
from ngx_agents.errors import SharedRefused, SharedUnavailable
from ngx_agents.state import commands as c
from ngx_agents.state.manager_shared import bare
from ngx_agents.state.memory_tier import MemoryTier
from ngx_agents.state.model import Message, Owner, Profile
from ngx_agents.state.state_commands import VersionedProfile
from ngx_agents.telemetry.metrics import Metrics

SHARED_MESSAGES = 40
MAX_UNSENT = 256
Body = TypeVar("Body")


class _Recent(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """`is_whole`: there are no older messages."""

    messages: tuple[Message, ...]
    is_whole: bool


class _Envelope(msgspec.Struct, Generic[Body], frozen=True, array_like=True, kw_only=True):
    """`key` and `owner` say whose it is, whatever place it was found in."""

    key: str
    owner: Owner
    body: Body


_encode = msgspec.msgpack.Encoder().encode
_decode_recent = msgspec.msgpack.Decoder(_Envelope[_Recent]).decode
_decode_profile = msgspec.msgpack.Decoder(_Envelope[Profile]).decode


class SharedTier:
    """`ttl_s` is the life of what is shared. `shared` is opened and closed by the caller, the journal by this."""

    def __init__(self, memory: MemoryTier, shared: Shared, *, ttl_s: float, metrics: Metrics) -> None:
        self._memory = memory
        self._shared = shared
        self._ttl_s = ttl_s
        self._tasks = Tasks()
        self._unsent = 0
        self._reads = metrics.counter(
            "ngx_shared_tier_reads_total", "What was not in memory, by kind and outcome.", "kind", "outcome"
        )
        self._failures = metrics.counter("ngx_shared_tier_failures_total", "Asked of what is shared in vain.", "reason")

    async def open(self) -> None:
        await self._memory.open()
        await self._tasks.open()

    async def close(self) -> None:
        await self._tasks.close()
        await self._memory.close()

    async def migrate(self) -> int:
        return await self._memory.migrate()

    async def claim(self, limit: int, *, instance: str, now: float) -> list[c.Grant]:
        return await self._memory.claim(limit, instance=instance, now=now)

    async def transact(self, commands: Sequence[c.Command]) -> list[Any]:
        results = await self._memory.transact(commands)
        for command, result in zip(commands, results, strict=True):
            if not isinstance(result, BaseException):
                await self._learn(command)
        return results

    async def query(self, question: c.Question) -> Any:
        if isinstance(question, c.RecentMessages):
            kept = self._memory.kept_messages(question)
            return kept if kept is not None else await self._recent_messages(question)
        if isinstance(question, c.GetProfile):
            profile = self._memory.kept_profile(question.owner)
            return profile.profile if profile is not None else await self._profile(question)
        return await self._memory.query(question)

    async def _recent_messages(self, question: c.RecentMessages) -> tuple[Message, ...]:
        key = _messages_key(question.conversation_id)
        found: _Recent | None = None
        shared = await self._get(key)
        if shared is not None and shared.version == question.before:
            found = self._opened(_decode_recent, shared.value, key, question.owner)
        if found is None or not (found.is_whole or len(found.messages) >= question.limit):
            self._reads.labels("messages", "miss").inc()
            messages: tuple[Message, ...] = await self._memory.query(question)
            return messages
        self._reads.labels("messages", "hit").inc()
        self._memory.keep_messages(question, found.messages[-question.limit :])
        return found.messages[-question.limit :]

    async def _profile(self, question: c.GetProfile) -> Profile:
        owner, told = question.owner, self._memory.told_version(question.owner)
        if told:
            key = _profile_key(owner)
            shared = await self._get(key)
            if shared is not None and shared.version == told:
                found: Profile | None = self._opened(_decode_profile, shared.value, key, owner)
                if found is not None and told == self._memory.told_version(owner):
                    self._reads.labels("profile", "hit").inc()
                    self._memory.keep_profile(owner, VersionedProfile(version=told, profile=found))
                    return found
        self._reads.labels("profile", "miss").inc()
        profile: Profile = await self._memory.query(question)
        kept = self._memory.kept_profile(owner)
        if kept is not None and kept.version:
            self._put(_profile_key(owner), owner, kept.profile, version=kept.version)
        return profile

    async def _learn(self, command: c.Command) -> None:
        match command:
            case c.FinishTurn():
                self._share_messages(command)
            case c.DeleteConversation():
                await self._ask(Drop((_messages_key(command.id),)))
            case c.EraseUser():
                await self._ask(DropGroup(_group(command.owner)))
            case _:
                pass

    def _share_messages(self, command: c.FinishTurn) -> None:
        """What the next question of the conversation will want. Not in memory up to there: what is shared may be wrong
        now, as after the replay of a dead turn."""
        before = command.user_seq + 2
        run, is_whole = self._memory.kept_run(command.conversation_id, before)
        if not run:
            self._start(Drop((_messages_key(command.conversation_id),)))
            return
        recent = _Recent(
            messages=bare(tuple(run[-SHARED_MESSAGES:])), is_whole=is_whole and len(run) <= SHARED_MESSAGES
        )
        self._put(_messages_key(command.conversation_id), command.owner, recent, version=before)

    def _opened(self, decode: Any, value: bytes, key: str, owner: Owner) -> Any:
        try:
            envelope = decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            envelope = None
        if envelope is None or envelope.key != key or envelope.owner != owner:
            self._failures.labels("corrupt").inc()
            return None
        return envelope.body

    async def _get(self, key: str) -> Versioned | None:
        try:
            return await self._shared.ask(GetVersioned(key))
        except (SharedUnavailable, SharedRefused):
            self._failures.labels("unavailable").inc()
            return None

    def _put(self, key: str, owner: Owner, body: _Recent | Profile, *, version: int) -> None:
        value = _encode(_Envelope(key=key, owner=owner, body=body))
        self._start(PutNewer(key, value, version, self._ttl_s, _group(owner)))

    def _start(self, command: PutNewer | Drop) -> None:
        if self._unsent >= MAX_UNSENT:
            self._failures.labels("unsent").inc()
            return
        self._unsent += 1
        self._tasks.spawn(self._sent(command))

    async def _sent(self, command: PutNewer | Drop) -> None:
        try:
            await self._ask(command)
        finally:
            self._unsent -= 1

    async def _ask(self, command: PutNewer | Drop | DropGroup) -> None:
        try:
            await self._shared.ask(command)
        except SharedUnavailable:
            self._failures.labels("unavailable").inc()
        except SharedRefused:
            self._failures.labels("refused").inc()


def _messages_key(conversation_id: str) -> str:
    return f"recent:{{{conversation_id}}}"


def _profile_key(owner: Owner) -> str:
    return f"profile:{{{_digest(owner)}}}"


def _group(owner: Owner) -> str:
    return f"recent-of:{_digest(owner)}"


def _digest(owner: Owner) -> str:
    named = f"{len(owner.tenant)}:{owner.tenant}{owner.user}".encode("utf-8", "surrogatepass")
    return hashlib.sha256(named).hexdigest()[:32]
