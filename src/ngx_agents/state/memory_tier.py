"""Memory in front of a journal: recent messages and profiles, kept current by the writes that pass through.

It is a Journal itself, so nobody has to know whether it is there. Right also where others write to the journal: a copy
of messages is used only when it reaches exactly up to the message that the caller names (`RecentMessages.before`) and
as far back as the caller asks, a profile only until an acceptance or a grant of the owner tells another version.
Bounded in bytes, least recently used out first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from ngx_agents.state import commands as c
from ngx_agents.state.journal import Journal
from ngx_agents.state.model import Message, Owner, Profile
from ngx_agents.state.state_commands import VersionedProfile

MAX_BYTES = 64 * 2**20
MAX_MESSAGES = 400
MAX_WAITING = 200
MESSAGE_OVERHEAD_BYTES = 400
PROFILE_BYTES = 1000
MAX_TOLD = 65_536
UNKNOWN = -1


class _Recent:
    """The newest messages of one conversation, up to (not including) `before`. `is_whole`: there are no older ones."""

    __slots__ = ("before", "is_kept", "is_whole", "messages", "size_bytes", "waiting")

    def __init__(self, messages: list[Message], before: int, *, is_whole: bool) -> None:
        self.messages = messages
        self.before = before
        self.is_whole = is_whole
        self.is_kept = False
        self.waiting: dict[str, Message] = {}
        self.size_bytes = MESSAGE_OVERHEAD_BYTES + sum(_size_bytes(message) for message in messages)


def _size_bytes(message: Message) -> int:
    return MESSAGE_OVERHEAD_BYTES + 2 * len(message.text)


class MemoryTier:
    """`max_bytes` bounds both kinds of copies together."""

    def __init__(self, journal: Journal, *, max_bytes: int = MAX_BYTES) -> None:
        self._journal = journal
        self._max_bytes = max_bytes
        self._size_bytes = 0
        self._recent: OrderedDict[str, _Recent] = OrderedDict()
        self._profiles: OrderedDict[Owner, VersionedProfile] = OrderedDict()
        self._told: OrderedDict[Owner, int] = OrderedDict()
        self._profile_writes = 0

    async def open(self) -> None:
        await self._journal.open()

    async def close(self) -> None:
        await self._journal.close()

    async def migrate(self) -> int:
        return await self._journal.migrate()

    async def claim(self, limit: int, *, instance: str, now: float) -> list[c.Grant]:
        grants = await self._journal.claim(limit, instance=instance, now=now)
        for grant in grants:
            self._tell_profile(grant.owner, grant.profile_version)
        return grants

    async def transact(self, commands: Sequence[c.Command]) -> list[Any]:
        for command in commands:
            self._expect(command)
        results = await self._journal.transact(commands)
        for command, result in zip(commands, results, strict=True):
            if not isinstance(result, BaseException):
                self._learn(command, result)
        return results

    async def query(self, question: c.Question) -> Any:
        if isinstance(question, c.RecentMessages):
            return await self._recent_messages(question)
        if isinstance(question, c.GetProfile):
            return await self._profile(question)
        return await self._journal.query(question)

    def kept_messages(self, question: c.RecentMessages) -> tuple[Message, ...] | None:
        """The answer, if it is here."""
        if question.before == 1:
            return ()
        run, is_whole = self.kept_run(question.conversation_id, question.before)
        return tuple(run[-question.limit :]) if is_whole or len(run) >= question.limit else None

    def kept_run(self, conversation_id: str, before: int) -> tuple[Sequence[Message], bool]:
        """What is here of the messages up to `before`, none missing between; and whether there are no older ones."""
        kept = self._recent.get(conversation_id)
        if kept is None or kept.before != before:
            return (), before == 1
        self._recent.move_to_end(conversation_id)
        return kept.messages, kept.is_whole

    def keep_messages(self, question: c.RecentMessages, messages: tuple[Message, ...]) -> None:
        """Takes in the answer to the question."""
        is_whole = len(messages) < question.limit
        self._keep(question.conversation_id, _Recent(list(messages), question.before, is_whole=is_whole))

    async def _recent_messages(self, question: c.RecentMessages) -> tuple[Message, ...]:
        kept = self.kept_messages(question)
        if kept is not None:
            return kept
        messages: tuple[Message, ...] = await self._journal.query(question)
        self.keep_messages(question, messages)
        return messages

    def kept_profile(self, owner: Owner) -> VersionedProfile | None:
        """The profile, if it is here and was not written elsewhere, as far as acceptances and grants told."""
        kept = self._profiles.get(owner)
        if kept is not None:
            self._profiles.move_to_end(owner)
        return kept

    def told_version(self, owner: Owner) -> int | None:
        """What the owner's last acceptance or grant told."""
        return self._told.get(owner)

    def keep_profile(self, owner: Owner, found: VersionedProfile) -> None:
        self._profiles[owner] = found
        while len(self._profiles) * PROFILE_BYTES > self._max_bytes // 4:
            self._profiles.popitem(last=False)

    async def _profile(self, question: c.GetProfile) -> Profile:
        owner = question.owner
        kept = self.kept_profile(owner)
        if kept is not None:
            return kept.profile
        writes, told = self._profile_writes, self._told.get(owner)
        found: VersionedProfile = await self._journal.query(c.ReadProfile(owner=owner, known=told))
        if writes == self._profile_writes and told == self._told.get(owner):
            self.keep_profile(owner, found)
        return found.profile

    def _tell_profile(self, owner: Owner, version: int | None) -> None:
        """Another version than the one kept, or than the one being read, means that someone else has written it."""
        if version is None:
            return
        self._told[owner] = version
        self._told.move_to_end(owner)
        if len(self._told) > MAX_TOLD:
            self._told.popitem(last=False)
        kept = self._profiles.get(owner)
        if kept is not None and kept.version != version:
            del self._profiles[owner]

    def _expect(self, command: c.Command) -> None:
        """Forgets what the write will change before it is known to be done: its caller may not stay to learn it."""
        if isinstance(command, c.PutProfile | c.EraseUser):
            self._profile_writes += 1
            self._profiles.pop(command.owner, None)

    def _learn(self, command: c.Command, result: Any) -> None:
        match command:
            case c.AcceptTurn():
                self._accepted(command, result)
            case c.FinishTurn():
                self._finished(command, result)
            case c.PutProfile():
                self._profile_writes += 1
                self._profiles.pop(command.owner, None)
            case c.DeleteConversation():
                self._forget(command.id)
            case c.ImportMessages() | c.Append():
                self._forget(command.conversation_id)
            case c.EraseUser():
                self._profile_writes += 1
                self.clear()
            case c.ReplayTurn() | c.Expire(kind="conversations" | "messages"):
                self.forget_messages()
            case _:
                pass

    def _accepted(self, command: c.AcceptTurn, result: c.Accepted) -> None:
        self._tell_profile(command.owner, result.profile_version)
        if result.replayed:
            return
        kept = self._recent.get(command.conversation_id)
        if result.coalesced or (kept is not None and len(kept.waiting) >= MAX_WAITING):
            self._forget(command.conversation_id)
            return
        if kept is None:
            is_first = result.user_seq == 1
            fresh = _Recent([], 1 if is_first else UNKNOWN, is_whole=is_first)
            kept = self._keep(command.conversation_id, fresh)
        asked = Message(
            id=command.message_id, seq=result.user_seq, role="user", text=command.text, created_at=command.now,
            turn_id=command.turn_id,
        )  # fmt: skip
        kept.waiting[command.turn_id] = asked
        self._grow(kept, _size_bytes(asked))
        self._evict()

    def _finished(self, command: c.FinishTurn, result: c.Finished) -> None:
        if result.next is not None:
            self._tell_profile(result.next.owner, result.next.profile_version)
        kept = self._recent.get(command.conversation_id)
        if kept is None:
            return
        asked = kept.waiting.pop(command.turn_id, None)
        if asked is None or asked.seq != kept.before:
            self._forget(command.conversation_id)
            return
        kept.messages.append(asked)
        if command.message is not None and result.message_seq is not None:
            command.message.seq = result.message_seq
            kept.messages.append(command.message)
            self._grow(kept, _size_bytes(command.message))
        kept.before = asked.seq + 2
        if len(kept.messages) > MAX_MESSAGES:
            self._grow(kept, -sum(_size_bytes(message) for message in kept.messages[: -MAX_MESSAGES // 2]))
            kept.messages, kept.is_whole = kept.messages[-MAX_MESSAGES // 2 :], False
        self._evict()

    def _keep(self, conversation_id: str, fresh: _Recent) -> _Recent:
        """Puts a copy in the place of the former one; questions that still wait go over to it."""
        former = self._recent.get(conversation_id)
        if former is not None:
            fresh.waiting = {key: asked for key, asked in former.waiting.items() if asked.seq >= fresh.before}
        self._forget(conversation_id)
        fresh.size_bytes += sum(_size_bytes(asked) for asked in fresh.waiting.values())
        self._recent[conversation_id] = fresh
        fresh.is_kept = True
        self._size_bytes += fresh.size_bytes
        self._evict()
        return fresh

    def _grow(self, kept: _Recent, size_bytes: int) -> None:
        kept.size_bytes += size_bytes
        if kept.is_kept:
            self._size_bytes += size_bytes

    def _forget(self, conversation_id: str) -> None:
        gone = self._recent.pop(conversation_id, None)
        if gone is not None:
            gone.is_kept = False
            self._size_bytes -= gone.size_bytes

    def _evict(self) -> None:
        while self._size_bytes > self._max_bytes and self._recent:
            self._forget(next(iter(self._recent)))

    def forget_messages(self) -> int:
        """How many copies went: something changed in the middle of conversations that nobody named; it is rare."""
        count = len(self._recent)
        self._recent.clear()
        self._size_bytes = 0
        return count

    def clear(self) -> None:
        self.forget_messages()
        self._profiles.clear()
