"""What the journal is asked about conversations, turns and a user's own data. Part of `commands`."""

from __future__ import annotations

import msgspec

from ngx_agents.state.model import LogKind, Owner


class GetConversation(msgspec.Struct, frozen=True, kw_only=True):
    """→ ConversationInfo | None."""

    id: str
    owner: Owner


class ListConversations(msgspec.Struct, frozen=True, kw_only=True):
    """→ Page of ConversationInfo, newest first. Raises InvalidRequest for a cursor that is not ours."""

    owner: Owner
    limit: int = 50
    cursor: str | None = None


class ListMessages(msgspec.Struct, frozen=True, kw_only=True):
    """→ Page of Message in order of `seq`. Raises NotFound, InvalidRequest."""

    conversation_id: str
    owner: Owner
    limit: int = 100
    cursor: str | None = None


class RecentMessages(msgspec.Struct, frozen=True, kw_only=True):
    """→ tuple[Message, ...]: the newest `limit` with `seq` below `before`, oldest first."""

    conversation_id: str
    owner: Owner
    before: int
    limit: int


class GetTurn(msgspec.Struct, frozen=True, kw_only=True):
    """→ Turn | None."""

    id: str
    owner: Owner


class Checkpoints(msgspec.Struct, frozen=True, kw_only=True):
    """→ dict[str, bytes] of the turn."""

    turn_id: str


class Effects(msgspec.Struct, frozen=True, kw_only=True):
    """→ dict[str, tuple[EffectState, bytes]] of the turn."""

    turn_id: str


class GetProfile(msgspec.Struct, frozen=True, kw_only=True):
    """→ Profile (empty when nothing was stored)."""

    owner: Owner


class ListLogs(msgspec.Struct, frozen=True, kw_only=True):
    """→ Page of LogEntry, newest first by `at`. `since` is inclusive."""

    owner: Owner
    kind: LogKind | None = None
    since: float = 0.0
    limit: int = 100
    cursor: str | None = None


class ListArtifacts(msgspec.Struct, frozen=True, kw_only=True):
    """→ Page of Artifact, newest first. `turn_id` narrows to one turn."""

    owner: Owner
    turn_id: str | None = None
    limit: int = 50
    cursor: str | None = None


class GetArtifact(msgspec.Struct, frozen=True, kw_only=True):
    """→ Artifact | None."""

    id: str
    owner: Owner


class FindKey(msgspec.Struct, frozen=True, kw_only=True):
    """→ ApiKey | None, also a revoked one."""

    digest: bytes


class KeysThatHold(msgspec.Struct, frozen=True, kw_only=True):
    """→ tuple[tuple[bytes, float | None], ...]: of these, the ones that hold at `now`, and when each expires."""

    digests: tuple[bytes, ...]
    now: float


class ListKeys(msgspec.Struct, frozen=True, kw_only=True):
    """→ tuple[ApiKey, ...], oldest first."""


class ExportUser(msgspec.Struct, frozen=True, kw_only=True):
    """→ dict[str, Any]: everything stored about the user, as JSON-ready values."""

    owner: Owner


class Ping(msgspec.Struct, frozen=True, kw_only=True):
    """→ int: the schema version."""
