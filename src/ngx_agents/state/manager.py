"""StateManager: the conversations of each owner, each with a compact state and its messages, in tiers before a journal.

The journal is the truth. A load gives the newest state: from memory at once when this manager alone has the journal,
else after asking the journal for the conversation's stamp. Who knows a version and needs none newer says `at_least`,
and is served from memory or from what instances share without asking the journal. What callers get is theirs.
Saves compare and set; nothing that could not be read or written is taken for empty or for done.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from ngx_agents.clock import Clock, SystemClock
from ngx_agents.coordination.shared import Shared
from ngx_agents.coordination.tasks import Tasks
from ngx_agents.errors import ConfigError, InvalidRequest, NgxError, NotFound, StateConflict
from ngx_agents.state import commands as c
from ngx_agents.state.blob_commands import Blob, BlobInfo
from ngx_agents.state.blobs import new_blob
from ngx_agents.state.codec import Codec
from ngx_agents.state.expiry import Retention, Sweeper
from ngx_agents.state.ids import Ids, shard_in, shard_of
from ngx_agents.state.journal import Journal
from ngx_agents.state.manager_memory import order_of_version
from ngx_agents.state.manager_names import check_storable, conversation_key
from ngx_agents.state.manager_reads import MAX_RECENT, RECENT, Conversation, ConversationReader
from ngx_agents.state.manager_tiers import Tiers
from ngx_agents.state.model import Message, Owner, Page, Source
from ngx_agents.state.sqlite import SqliteJournal
from ngx_agents.state.sqlite_memory import MemoryJournal
from ngx_agents.state.state_commands import Appended, Consent, ErasureReceipt, Stamp, next_version
from ngx_agents.telemetry.metrics import Metrics


class StateManager:
    """States and messages of conversations, by owner.

    `cache_enabled` and `cache_ttl` (seconds) are of the copies in memory and in `shared`; a state whose encoding has
    `compression_threshold` bytes or more is compressed, one over `max_state_size` bytes refused; every
    `cleanup_interval` seconds what `retention` lets go is swept. `journal` is used and not closed; without one, the
    manager has a SQLite file of its own at `path`, or in memory. `shared` is opened and closed by the caller.
    """

    def __init__(  # noqa: PLR0913  # the specification's constructor, and the manager's surroundings
        self,
        *,
        cache_enabled: bool = True,
        cache_ttl: float = 7200,
        compression_enabled: bool = True,
        compression_threshold: int = 1024,
        max_state_size: int = 10_485_760,
        cleanup_interval: float = 3600,
        journal: Journal | None = None,
        path: Path | str | None = None,
        shared: Shared | None = None,
        clock: Clock | None = None,
        metrics: Metrics | None = None,
        retention: Retention | None = None,
    ) -> None:
        if cache_ttl <= 0:
            raise ConfigError("cache_ttl is above 0")
        if journal is not None and path is not None:
            raise ConfigError("a state manager has either a journal or a path")
        self._clock = clock or SystemClock()
        self._metrics = metrics or Metrics()
        self._ids = Ids(self._clock)
        self._codec: Codec[dict[str, Any]] = Codec(
            dict, is_compressed=compression_enabled, threshold_bytes=compression_threshold, max_bytes=max_state_size
        )
        self._max_text_bytes = max_state_size
        self._is_alone = journal is None
        own = SqliteJournal(Path(path)) if path is not None else MemoryJournal()
        self._journal: Journal = journal if journal is not None else own
        self._tiers = Tiers(self._clock, ttl_s=cache_ttl) if cache_enabled else None
        if self._tiers is not None and shared is not None:
            self._tiers.share(shared, instance=self._ids.new("k", 0), ttl_s=cache_ttl, metrics=self._metrics)
        self._reader = ConversationReader(
            self._journal, self._tiers, self._codec, is_alone=self._is_alone, metrics=self._metrics
        )
        self._sweeper = Sweeper(
            self._journal,
            self._clock,
            instance=self._ids.new("k", 0),
            interval_s=cleanup_interval,
            retention=retention or Retention(),
            metrics=self._metrics,
        )
        self._tasks = Tasks()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Raises ConfigError, JournalLocked, JournalTooNew, JournalUnavailable."""
        async with AsyncExitStack() as stack:
            if self._is_alone:
                stack.push_async_callback(self._journal.close)
                await self._journal.open()
                await self._journal.migrate()
            await self._tasks.open()
            stack.push_async_callback(self._tasks.close)
            if self._tiers is not None:
                await self._tiers.open()
                stack.push_async_callback(self._tiers.close)
            self._tasks.spawn(self._sweeper.run(self._sweep_memory))
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def load(
        self, owner: Owner, conversation_id: str, *, at_least: int | None = None, recent: int = RECENT
    ) -> Conversation:
        """The conversation now, with its newest `recent` messages (0 to 1000); empty when there is none.

        `at_least`: a version that the caller knows; a state this new will do, with the messages of its time.
        Raises StateCorrupt, JournalUnavailable, InvalidRequest.
        """
        return await self._reader.load(
            conversation_key(owner, conversation_id), owner, at_least=at_least, recent=recent
        )

    async def save(
        self, owner: Owner, conversation_id: str, state: dict[str, Any], *, expected_version: int | None = None
    ) -> int:
        """Stores the state over version `expected_version` (0: none yet; None: any); the new version. Versions grow.

        Raises StateConflict, StateTooLarge (the former stands), InvalidRequest, NotFound (an id of someone else's),
        JournalUnavailable (unknown whether it was stored: load to see).
        """
        if not isinstance(state, dict):
            raise InvalidRequest("a state is a dict", field="state")
        key = conversation_key(owner, conversation_id)
        body = self._codec.encode(state)
        command = c.PutState(
            conversation_id=key, owner=owner, body=body, now=self._clock.now_s(), expected_version=expected_version
        )
        try:
            stamp: Stamp = await self._told(command, key)
        except StateConflict as conflict:
            if self._tiers is not None:
                self._tiers.met(key, conflict.found)
            raise
        if self._tiers is not None:
            self._tiers.saved(key, owner, stamp=stamp, body=body)
        return stamp.version

    async def append(
        self,
        owner: Owner,
        conversation_id: str,
        role: Literal["user", "assistant"],
        text: str,
        *,
        agent: str | None = None,
        source: Source | None = None,
    ) -> int:
        """Adds a message after all others; its number, which grows. Concurrent appends are all kept, in one order.

        Raises InvalidRequest, NotFound (an id of someone else's), JournalUnavailable (unknown whether it was added).
        """
        key = conversation_key(owner, conversation_id)
        if role not in ("user", "assistant"):
            raise InvalidRequest("a role is user or assistant", field="role")
        check_storable(text, "text")
        if len(text) > self._max_text_bytes:
            raise InvalidRequest(f"a message has at most {self._max_text_bytes} characters", field="text")
        now = self._clock.now_s()
        message = Message(
            id=self._ids.new("m", shard_in(key)), seq=0, role=role, text=text, created_at=now, turn_id="",
            agent=agent, source=source,
        )  # fmt: skip
        command = c.Append(conversation_id=key, owner=owner, messages=(message,), now=now)
        appended: Appended = await self._told(command, key)
        [message.seq] = appended.seqs
        if self._tiers is not None:
            self._tiers.appended(key, owner, appended=appended, messages=(message,))
        return message.seq

    async def messages(
        self, owner: Owner, conversation_id: str, *, limit: int = 100, cursor: str | None = None
    ) -> Page:
        """A page of all messages, oldest first; `next` is the `cursor` of the page after it. Raises InvalidRequest."""
        key = conversation_key(owner, conversation_id)
        if not 1 <= limit <= MAX_RECENT:
            raise InvalidRequest(f"limit is from 1 to {MAX_RECENT}", field="limit")
        try:
            page: Page = await self._journal.query(
                c.ListMessages(conversation_id=key, owner=owner, limit=limit, cursor=cursor)
            )
        except NotFound:
            return Page(())
        return page

    async def delete(self, owner: Owner, conversation_id: str) -> bool:
        """Whether there was one. Raises ConversationBusy while a turn is open, JournalUnavailable."""
        key = conversation_key(owner, conversation_id)
        deleted: bool = await self._told(c.DeleteConversation(id=key, owner=owner), key)
        if self._tiers is not None and deleted:
            await self._tiers.forget(key, owner, order=order_of_version(next_version(0, self._clock.now_s())))
        return deleted

    async def export(self, owner: Owner) -> dict[str, Any]:
        """Everything stored about the owner, as JSON-ready values; attachments without their bytes."""
        exported: dict[str, Any] = await self._journal.query(c.ExportUser(owner=owner))
        return exported

    async def erase(self, owner: Owner) -> ErasureReceipt:
        """Erases all of the owner's data. Raises ConversationBusy while a turn is open, JournalUnavailable."""
        erased: dict[str, int] = await self._told(c.EraseUser(owner=owner), None)
        if self._tiers is not None:
            await self._tiers.erase_owner(owner)
        return ErasureReceipt(id=self._ids.new("e", shard_of(owner.user)), at=self._clock.now_s(), erased=erased)

    async def attach(
        self, owner: Owner, data: bytes, media_type: str, *, conversation_id: str | None = None
    ) -> BlobInfo:
        """Stores an attachment of at most 5 MB; it goes with its conversation. The same again is stored once.

        Raises BodyTooLarge, UnsupportedMediaType, InvalidRequest (not what it is said to be), NotFound.
        """
        key = conversation_key(owner, conversation_id) if conversation_id is not None else None
        blob = new_blob(owner, data, media_type, now=self._clock.now_s(), conversation_id=key)
        await self._told(c.PutBlob(owner=owner, blob=blob), None)
        return blob.info

    async def attachment(self, owner: Owner, blob_id: str) -> Blob | None:
        blob: Blob | None = await self._journal.query(c.GetBlob(id=blob_id, owner=owner))
        return blob

    async def consent(self, owner: Owner, kind: str, *, version: str, is_given: bool = True) -> Consent:
        """Records what the user decided about `kind`, having been shown the text `version`."""
        check_storable(kind, "kind")
        check_storable(version, "version")
        consent = Consent(kind=kind, version=version, is_given=is_given, at=self._clock.now_s())
        await self._told(c.PutConsent(owner=owner, consent=consent), None)
        return consent

    async def consents(self, owner: Owner) -> tuple[Consent, ...]:
        """The latest decision of each kind."""
        consents: tuple[Consent, ...] = await self._journal.query(c.GetConsents(owner=owner))
        return consents

    async def _told(self, command: c.Command, key: str | None) -> Any:
        """The command's result. `key` is of the conversation it changes: when nobody waits to learn the outcome any
        more, its copies are not trusted until all that was handed in is done."""
        try:
            [result] = await self._journal.transact([command])
        except BaseException:
            if key is not None and self._tiers is not None:
                self._tiers.distrust(key)
                self._tasks.spawn(self._settle(key, self._tiers))
            raise
        if isinstance(result, BaseException):
            raise result
        return result

    async def _settle(self, key: str, tiers: Tiers) -> None:
        try:
            await self._journal.transact([])
        except NgxError:
            pass  # what cannot be reached has nothing under way that could still be done here
        finally:
            tiers.trust(key)

    def _sweep_memory(self, have_messages_gone: bool) -> int:
        if self._tiers is None:
            return 0
        return self._tiers.forget_all() if have_messages_gone else self._tiers.memory.sweep()
