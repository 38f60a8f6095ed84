"""What a running turn may ask of its engine: checkpoints, the user's logs, effects, artifacts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ngx_agents.clock import Clock
from ngx_agents.state.commands import AddLog, Checkpoints, Grant, ListLogs, RecordEffect, SaveCheckpoint
from ngx_agents.state.ids import Ids, derived, shard_in
from ngx_agents.state.journal import Journal
from ngx_agents.state.log_kinds import checked
from ngx_agents.state.model import Artifact, LogEntry, LogKind, Page

MAX_LOGS = 1000


class TurnDesk:
    """One per granted turn. Writes match the granted epoch; a turn that was retaken gets LeaseLost."""

    def __init__(self, grant: Grant, *, journal: Journal, ids: Ids, clock: Clock) -> None:
        self._grant = grant
        self._journal = journal
        self._ids = ids
        self._clock = clock
        self._remembered: dict[str, bytes] = {}
        self.has_checkpoints = grant.attempts > 1

    async def load(self) -> None:
        """What an earlier attempt left; a first attempt left nothing."""
        if self._grant.attempts > 1:
            self._remembered = await self._journal.query(Checkpoints(turn_id=self._grant.turn_id))

    def recall(self, key: str) -> bytes | None:
        return self._remembered.get(key)

    def remembered(self, prefix: str) -> Mapping[str, bytes]:
        return {key: value for key, value in self._remembered.items() if key.startswith(prefix)}

    async def checkpoint(self, key: str, value: bytes) -> None:
        self.has_checkpoints = True
        grant = self._grant
        await self._do(
            SaveCheckpoint(
                conversation_id=grant.conversation_id,
                turn_id=grant.turn_id,
                epoch=grant.epoch,
                key=key,
                value=value,
            )
        )
        self._remembered[key] = value

    async def logs(self, kind: LogKind, since: float) -> Sequence[LogEntry]:
        page: Page = await self._journal.query(
            ListLogs(owner=self._grant.owner, kind=kind, since=since, limit=MAX_LOGS)
        )
        return tuple(reversed(page.items))

    async def add_log(self, kind: LogKind, at: float, data: dict[str, object], key: str) -> None:
        if await self._do(self._effect(key, "intended")) == "done":
            return
        grant = self._grant
        entry_id = derived("l", shard_in(grant.turn_id), f"{grant.turn_id}/{key}")
        await self._do(
            AddLog(
                owner=grant.owner,
                entry=LogEntry(id=entry_id, kind=kind, at=at, data=checked(kind, dict(data))),
                lease=(grant.conversation_id, grant.turn_id, grant.epoch),
            ),
            self._effect(key, "done"),
        )

    def new_artifact(self, *, agent: str, kind: str, title: str, data: dict[str, object]) -> Artifact:
        return Artifact(
            id=self._ids.new("a", shard_in(self._grant.turn_id)),
            agent=agent,
            kind=kind,
            title=title,
            data=dict(data),
            created_at=self._clock.now_s(),
            turn_id=self._grant.turn_id,
            conversation_id=self._grant.conversation_id,
        )

    def _effect(self, key: str, state: Any) -> RecordEffect:
        grant = self._grant
        return RecordEffect(
            conversation_id=grant.conversation_id, turn_id=grant.turn_id, epoch=grant.epoch, key=key, state=state,
            now=self._clock.now_s(),
        )  # fmt: skip

    async def _do(self, *commands: Any) -> Any:
        """The last command's result; raises the first refusal."""
        results = await self._journal.transact(commands)
        for result in results:
            if isinstance(result, Exception):
                raise result
        return results[-1]
