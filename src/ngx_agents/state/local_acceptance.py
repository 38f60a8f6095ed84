"""Local acceptance: new turns are taken on this instance's own disk while the journal is away, and say so.

Only what this process can go on with alone is taken: new conversations, and lanes whose next number it knows. A command
is decided as the journal would decide it, appended to the log, and only then answered, marked `durability: "local"`.
One owner's commands come one after the other, also with the replay. What is refused changes nothing; a full or failing
disk refuses new turns and nothing else. Checkpoints are kept in memory alone: a turn that is lost with the process runs
again from its question.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any
from weakref import WeakValueDictionary

from ngx_agents.errors import JournalError, JournalUnavailable, NgxError
from ngx_agents.state import commands as c
from ngx_agents.state.local_acceptance_aside import Aside
from ngx_agents.state.local_acceptance_entries import Entry, LocalCommand, decoded, encoded
from ngx_agents.state.local_acceptance_known import KnownLane, KnownLanes
from ngx_agents.state.local_acceptance_overlay import Overlay
from ngx_agents.state.local_log import LocalLog
from ngx_agents.state.model import Owner
from ngx_agents.telemetry.log import event_log

log = event_log("state")
NOT_KNOWN = "the journal is away, and this instance cannot go on with the conversation alone"


class LocalAcceptance:
    """`origin` names the journal that the log belongs to, such as the URL's hash; a log of another one is refused."""

    def __init__(self, local_log: LocalLog, aside: Aside, *, origin: str) -> None:
        self.overlay = Overlay()
        self.known = KnownLanes()
        self.aside = aside
        self.trouble = ""
        self._log = local_log
        self._origin = origin
        self._locks: WeakValueDictionary[Owner, asyncio.Lock] = WeakValueDictionary()
        self._is_log_empty = True
        self._taking: Counter[Owner] = Counter()

    async def open(self) -> None:
        """Raises JournalLocked, JournalUnavailable, JournalError: a file that is not ours, or another journal's."""
        payloads = await self._log.open()
        try:
            await self._restore(payloads)
        except BaseException:
            await self._log.close()
            raise

    async def close(self) -> None:
        await self._log.close()

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left that the journal has not."""
        return not self.overlay.entries

    def concerns(self, owner: Owner) -> bool:
        """Whether something of the owner is here alone, or is about to be."""
        return owner in self.overlay.entries or self._taking[owner] > 0

    @property
    def pending(self) -> int:
        """Commands that the journal has not yet."""
        return sum(len(entries) for entries in self.overlay.entries.values())

    def lock(self, owner: Owner) -> asyncio.Lock:
        """Held while anything of the owner is taken or told to the journal. Keep the reference while it is held."""
        found = self._locks.get(owner)
        if found is None:
            found = self._locks[owner] = asyncio.Lock()
        return found

    def base_of(self, command: LocalCommand) -> KnownLane | None:
        """The lane as it stands in the journal, None for a new one.

        Raises JournalUnavailable when this process cannot go on with it alone.
        """
        if isinstance(command, c.CreateConversation):
            return None
        if isinstance(command, c.AcceptTurn) and (command.task is not None or command.push is not None):
            raise JournalUnavailable("tasks and webhooks need the journal", retry_after_s=5.0)
        lane_id = command.conversation_id
        if lane_id in self.overlay.lanes:
            base = self.overlay.bases.get(lane_id)
            if isinstance(command, c.AcceptTurn) and base is not None and base.waiting > 0:
                raise JournalUnavailable(NOT_KNOWN, retry_after_s=5.0)
            return base
        known = self.known.get(lane_id)
        if isinstance(command, c.FinishTurn):
            return _granted_by_journal(command, known)
        if known is None or known.owner != command.owner or known.waiting > 0:
            raise JournalUnavailable(NOT_KNOWN, retry_after_s=5.0)
        return known

    async def take(self, command: LocalCommand) -> Any:
        """The command's result, durable here. The owner's lock is held. Raises its typed errors, JournalUnavailable."""
        self._taking[command.owner] += 1
        try:
            return await self._take(command)
        finally:
            self._taking[command.owner] -= 1
            if not self._taking[command.owner]:
                del self._taking[command.owner]

    async def _take(self, command: LocalCommand) -> Any:
        base, lane_id = self.base_of(command), _lane_of(command)
        is_new = base is not None and lane_id not in self.overlay.lanes
        if base is not None and is_new:
            self.overlay.enter(lane_id, base)
        try:
            result, undo = self.overlay.decide(command, self.known.keys)
        except NgxError:
            if is_new:
                self.overlay.leave(lane_id)
            raise
        if undo is None:
            if is_new:
                self.overlay.leave(lane_id)
            return result
        entry = Entry(origin=self._origin, command=command, base=base if is_new else None)
        try:
            await self._append(entry)
        except BaseException:
            undo()
            if is_new:
                self.overlay.leave(lane_id)
            raise
        self.overlay.record(entry, result)
        return result

    async def clear(self) -> None:
        """Empties the log once everything is in the journal or kept aside, and nothing is on its way into it."""
        if self.is_empty and not self._taking and not self._is_log_empty:
            self._is_log_empty = True
            await self._log.clear()

    async def _append(self, entry: Entry) -> None:
        self._is_log_empty = False
        try:
            await self._log.append(encoded(entry))
        except JournalUnavailable as error:
            if not self.trouble:
                log.error("local_log.refused", reason=str(error))
            self.trouble = str(error)
            raise
        self.trouble = ""

    async def _restore(self, payloads: list[bytes]) -> None:
        for payload in payloads:
            self._is_log_empty = False
            try:
                entry = decoded(payload)
            except NgxError as error:
                await self.aside.keep_raw(payload, reason=str(error))
                continue
            if entry.origin != self._origin:
                raise JournalError("the local log belongs to another journal: move it away, or configure that one")
            try:
                self.overlay.restore(entry)
            except (NgxError, LookupError) as error:
                await self.aside.keep(entry.command, reason=f"cannot be restored: {type(error).__name__}", code="aside")
        if payloads:
            log.warning("local_log.found", records=len(payloads))


def _lane_of(command: LocalCommand) -> str:
    return command.id if isinstance(command, c.CreateConversation) else command.conversation_id


def _granted_by_journal(command: c.FinishTurn, known: KnownLane | None) -> KnownLane:
    """The lane of a turn that runs here with the journal's grant. What waits behind it may not be known."""
    if known is not None and known.running == command.turn_id and known.epoch == command.epoch:
        return known
    return KnownLane(
        owner=command.owner, next_turn=(command.user_seq + 1) // 2 + 1, epoch=command.epoch, running=command.turn_id,
        waiting=1,
    )  # fmt: skip
