"""API keys: from a digest to the principal the key stands for.

A known key is believed for `key_memory_s`, so a revoked one is refused on every instance at the latest then; whoever is
looked up takes along others whose time is nearly over (`known_keys.py`). Unknown ones are remembered apart, so that
guesses cannot push out what is known; an address that guesses too much is not listened to for a while, without a look
at the journal: time and memory are the same for the millionth guess. However many addresses guess, `LOOK_UPS` look at
the journal at once, and the next waits its turn.
"""

from __future__ import annotations

import asyncio
from typing import NoReturn

from ngx_agents.clock import Clock
from ngx_agents.errors import RateLimited, Unauthenticated
from ngx_agents.gateway.identity import principal_named
from ngx_agents.gateway.known_keys import KnownKeys
from ngx_agents.gateway.memo import Memo
from ngx_agents.gateway.principal import Principal
from ngx_agents.gateway.settings import AuthSettings
from ngx_agents.resilience.lockout import Lockout
from ngx_agents.state.commands import ApiKey, FindKey, KeysThatHold
from ngx_agents.state.journal import Journal
from ngx_agents.state.key_uses import KeyUses

LOOK_UPS = 16


class KeyRing:
    """`uses`, where given, learns of every use; `lockout` counts other guesses than those of keys, too."""

    def __init__(
        self,
        settings: AuthSettings,
        journal: Journal,
        clock: Clock,
        *,
        uses: KeyUses | None = None,
        lockout: Lockout | None = None,
    ) -> None:
        self._settings = settings
        self._journal = journal
        self._clock = clock
        self._uses = uses
        self._known = KnownKeys(settings.remembered_tokens, believed_s=settings.key_memory_s, clock=clock)
        self._unknown: Memo[bool] = Memo(settings.remembered_tokens, clock.monotonic_s)
        self._lockout = Lockout(clock) if lockout is None else lockout
        self._looking = asyncio.Semaphore(LOOK_UPS)

    async def principal(self, digest: bytes, address: str) -> Principal:
        """Raises Unauthenticated; RateLimited after too many unknown keys from the address; JournalUnavailable."""
        known = self._known.get(digest)
        if known is None:
            self._check(digest, address)
            async with self._looking:
                known = self._known.get(digest) or await self._look_up(digest, address)
        if self._uses is not None:
            self._uses.note(digest)
        return known

    def _check(self, digest: bytes, address: str) -> None:
        """A key that held a moment ago is no guess, whatever others at its address do."""
        if self._known.had(digest):
            return
        wait_s = self._lockout.wait_s(address)
        if wait_s > 0.0:
            raise RateLimited("too many unknown keys from this address", quota="keys", retry_after_s=wait_s)

    async def _look_up(self, digest: bytes, address: str) -> Principal:
        self._check(digest, address)
        if self._unknown.get(digest):
            self._refuse(address)
        if due := self._known.due():
            await self._renew(due)
            if (known := self._known.get(digest)) is not None:
                return known
        key: ApiKey | None = await self._journal.query(FindKey(digest=digest))
        if key is None or not key.holds_at(self._clock.now_s()):
            self._unknown.put(digest, True, self._clock.monotonic_s() + self._settings.key_memory_s)
            self._refuse(address)
        principal = principal_named(key.owner.tenant, key.owner.user, roles=key.roles, agents=key.agents)
        self._known.put(digest, principal, expires_at=key.expires_at)
        return principal

    async def _renew(self, due: tuple[bytes, ...]) -> None:
        held = await self._journal.query(KeysThatHold(digests=due, now=self._clock.now_s()))
        self._known.renew(due, dict(held))

    def _refuse(self, address: str) -> NoReturn:
        self._lockout.guessed(address)
        raise Unauthenticated("the API key is not known")
