"""What needs the user's consent before it is stored: a Journal in front of another that refuses it without.

Off unless it is put there. Health data are all logs, and what a profile says of the body: allergies, injuries,
conditions, medication, pregnancy, measures. The decision is read from the journal each time, so that a withdrawal on
any instance holds for whatever is written after it. Erasing, exporting and reading need no consent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeGuard

from ngx_agents.errors import ConsentRequired
from ngx_agents.state import commands as c
from ngx_agents.state.journal import Journal
from ngx_agents.state.model import Owner, Profile
from ngx_agents.state.state_commands import Consent

HEALTH = "health"
KINDS = (HEALTH,)
"""What this program asks for before it stores something."""
_OF_HEALTH = (
    "sex", "height_cm", "weight_kg", "restrictions", "allergies", "injuries", "conditions", "medication", "pregnant",
)  # fmt: skip
_NOTHING = Profile()


class ConsentGate:
    """`kind` is the consent that health data need."""

    def __init__(self, journal: Journal, *, kind: str = HEALTH) -> None:
        self._journal = journal
        self._kind = kind

    async def open(self) -> None:
        await self._journal.open()

    async def close(self) -> None:
        await self._journal.close()

    async def migrate(self) -> int:
        return await self._journal.migrate()

    async def query(self, question: c.Question) -> Any:
        return await self._journal.query(question)

    async def claim(self, limit: int, *, instance: str, now: float) -> list[c.Grant]:
        return await self._journal.claim(limit, instance=instance, now=now)

    async def transact(self, commands: Sequence[c.Command]) -> list[Any]:
        """ConsentRequired stands in the place of a refused command's result; its neighbours are done."""
        owners = {command.owner for command in commands if _is_of_health(command)}
        lacking = {owner for owner in owners if not await self._has_agreed(owner)}
        if not lacking:
            return await self._journal.transact(commands)
        refused = [_is_of_health(command) and command.owner in lacking for command in commands]
        done = [command for command, is_refused in zip(commands, refused, strict=True) if not is_refused]
        results = iter(await self._journal.transact(done) if done else ())
        return [ConsentRequired(self._kind) if is_refused else next(results) for is_refused in refused]

    async def _has_agreed(self, owner: Owner) -> bool:
        consents: tuple[Consent, ...] = await self._journal.query(c.GetConsents(owner=owner))
        return any(consent.kind == self._kind and consent.is_given for consent in consents)


def _is_of_health(command: c.Command) -> TypeGuard[c.PutProfile | c.AddLog]:
    if isinstance(command, c.PutProfile):
        return any(getattr(command.profile, name) != getattr(_NOTHING, name) for name in _OF_HEALTH)
    return isinstance(command, c.AddLog)
