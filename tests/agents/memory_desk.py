"""A desk that keeps everything in memory: what the turn engine does, without a journal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ngx_agents.errors import LeaseLost
from ngx_agents.state.model import Artifact, LogEntry, LogKind


class MemoryDesk:
    """`remembered` is what an earlier attempt left; `saved` what this one checkpointed; `added` the log effects."""

    def __init__(self, *, remembered: dict[str, bytes] | None = None, entries: Sequence[LogEntry] = ()) -> None:
        self.left = remembered or {}
        self.saved: dict[str, bytes] = {}
        self.added: list[tuple[LogKind, float, dict[str, object]]] = []
        self.is_lost = False
        self._entries = entries
        self._effects: set[str] = set()
        self._artifacts = 0

    def recall(self, key: str) -> bytes | None:
        return self.saved.get(key) or self.left.get(key)

    def remembered(self, prefix: str) -> Mapping[str, bytes]:
        return {key: value for key, value in (self.left | self.saved).items() if key.startswith(prefix)}

    async def checkpoint(self, key: str, value: bytes) -> None:
        if self.is_lost:
            raise LeaseLost("the lane was granted to someone else")
        self.saved[key] = value

    async def logs(self, kind: LogKind, since: float) -> Sequence[LogEntry]:
        return tuple(entry for entry in self._entries if entry.kind == kind and entry.at >= since)

    async def add_log(self, kind: LogKind, at: float, data: dict[str, object], key: str) -> None:
        if key not in self._effects:
            self._effects.add(key)
            self.added.append((kind, at, data))

    def new_artifact(self, *, agent: str, kind: str, title: str, data: dict[str, object]) -> Artifact:
        self._artifacts += 1
        return Artifact(
            id=f"a{self._artifacts}",
            agent=agent,
            kind=kind,
            title=title,
            data=dict(data),
            created_at=0.0,
            turn_id="t_00t1",
            conversation_id="c1",
        )
