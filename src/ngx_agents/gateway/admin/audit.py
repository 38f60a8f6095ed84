"""The one way by which an admin call changes something: done and logged together.

Every change names who made it, what it is (`flag.put`) and what it is about (`flag/new-greeting`). Secrets in what is
logged are masked here, by the names of their fields.
"""

from __future__ import annotations

from typing import Any

from ngx_agents.clock import Clock
from ngx_agents.errors import NgxError
from ngx_agents.gateway.principal import Principal
from ngx_agents.state.commands import Audited, AuditEntry, Command, WriteAudit
from ngx_agents.state.ids import Ids
from ngx_agents.state.journal import Journal

MASK = "***"
_SECRETS = ("secret", "token", "password", "digest", "api_key", "credential")
_MAX_NESTING = 16


class AuditTrail:
    def __init__(self, journal: Journal, ids: Ids, clock: Clock) -> None:
        self._journal = journal
        self._ids = ids
        self._clock = clock

    async def change(
        self,
        principal: Principal,
        action: str,
        target: str,
        *,
        command: Command | None = None,
        before: dict[str, Any] | None = None,
        after: dict[str, Any] | None = None,
    ) -> Any:
        """The command's result, durable together with its entry. Without a command: what was changed elsewhere already.

        Raises what the command names (then nothing is logged), JournalUnavailable.
        """
        entry = AuditEntry(
            id=self._ids.new("u", 0),
            at=self._clock.now_s(),
            actor=f"{principal.owner.tenant}/{principal.owner.user}",
            action=action,
            target=target,
            before=masked(before),
            after=masked(after),
        )
        told = WriteAudit(entry=entry) if command is None else Audited(command=command, entry=entry)
        [result] = await self._journal.transact([told])
        if isinstance(result, NgxError):
            raise result
        return result


def masked(value: Any, *, depth: int = 0) -> Any:
    """The value with what its field names call secret masked, and cut off below 16 levels."""
    if depth > _MAX_NESTING:
        return MASK
    if isinstance(value, dict):
        return {
            name: MASK if item and _is_secret(name) else masked(item, depth=depth + 1) for name, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [masked(item, depth=depth + 1) for item in value]
    return value


def _is_secret(name: str) -> bool:
    plain = name.lower()
    return any(word in plain for word in _SECRETS) and not plain.endswith(("_tokens", "tokens", "_id"))
