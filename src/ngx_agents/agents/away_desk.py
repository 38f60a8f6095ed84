"""The desk of a specialist that works for another process: it reads what came along and writes nothing itself.

What is to be written is noted, and taken from here to be sent before whatever the specialist says next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ngx_agents.agents.errand import AwayErrand, Kept, Logged, Note
from ngx_agents.agents.turn import TurnTask
from ngx_agents.state.ids import derived, shard_in
from ngx_agents.state.model import Artifact, LogEntry, LogKind


class AwayDesk:
    """For one errand. Ids of artifacts and effects come from the turn, so that a second run makes the same ones."""

    def __init__(self, errand: AwayErrand) -> None:
        self._task: TurnTask = errand.task
        self._remembered = dict(errand.remembered)
        self._logs: dict[LogKind, list[LogEntry]] = {kind: list(entries) for kind, entries in errand.logs.items()}
        self._notes: list[Note] = []
        self._made = 0
        self._effects: set[str] = set()

    def take_notes(self) -> list[Note]:
        """Those since it was asked last."""
        notes, self._notes = self._notes, []
        return notes

    def recall(self, key: str) -> bytes | None:
        return self._remembered.get(key)

    def remembered(self, prefix: str) -> Mapping[str, bytes]:
        return {key: value for key, value in self._remembered.items() if key.startswith(prefix)}

    async def checkpoint(self, key: str, value: bytes) -> None:
        self._remembered[key] = value
        self._notes.append(Kept(key, value))

    async def logs(self, kind: LogKind, since: float) -> Sequence[LogEntry]:
        if kind not in self._logs:
            raise LookupError(f"entries of the kind {kind} did not come along: a tool reads what it does not declare")
        return tuple(entry for entry in self._logs[kind] if entry.at >= since)

    async def add_log(self, kind: LogKind, at: float, data: dict[str, object], key: str) -> None:
        if key in self._effects:
            return
        self._effects.add(key)
        self._notes.append(Logged(kind, at, dict(data), key))
        if kind in self._logs:
            self._logs[kind].append(LogEntry(id="", kind=kind, at=at, data=dict(data)))
            self._logs[kind].sort(key=lambda entry: entry.at)

    def new_artifact(self, *, agent: str, kind: str, title: str, data: dict[str, object]) -> Artifact:
        task = self._task
        self._made += 1
        return Artifact(
            id=derived("a", shard_in(task.turn_id), f"{task.turn_id}/{agent}/{kind}/{self._made}"),
            agent=agent,
            kind=kind,
            title=title,
            data=dict(data),
            created_at=task.now,
            turn_id=task.turn_id,
            conversation_id=task.conversation_id,
        )
