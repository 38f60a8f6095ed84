"""One POST to somebody else: to an address that was looked at, no redirect followed, the answer bounded."""

from __future__ import annotations

import socket
from typing import Self

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver, ResolveResult
from typing_extensions import override

from ngx_agents.errors import InvalidRequest
from ngx_agents.turns.outbox.guard import Guard
from ngx_agents.turns.outbox.letter import Letter

MAX_ANSWER_BYTES = 65_536
USER_AGENT = "ngx-agents"
ID_HEADER = "Webhook-Id"


class Posted(msgspec.Struct, frozen=True, kw_only=True):
    """`status` 0: there was no answer, and `reason` says why. `is_hopeless`: no later attempt can help."""

    status: int = 0
    reason: str = ""
    retry_after_s: float = 0.0
    is_hopeless: bool = False

    @property
    def is_taken(self) -> bool:
        return 200 <= self.status < 300


class Poster:
    """Enter its context before the first `post`."""

    def __init__(self, guard: Guard, *, timeout_s: float) -> None:
        self._guard = guard
        self._timeout_s = timeout_s
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(
            resolver=_GuardedResolver(self._guard), use_dns_cache=False, force_close=True, limit=0
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=self._timeout_s),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def post(self, url: str, letter: Letter, event_id: str) -> Posted:
        """Never raises for what the other side does."""
        assert self._session is not None
        try:
            place = self._guard.parsed(url)
        except InvalidRequest as refused:
            return Posted(reason=f"the address {refused}", is_hopeless=True)
        headers = {
            "Content-Type": letter.content_type,
            "User-Agent": USER_AGENT,
            ID_HEADER: event_id,
            **letter.headers,
        }
        try:
            async with self._session.post(place, data=letter.content, headers=headers, allow_redirects=False) as answer:
                await answer.content.read(MAX_ANSWER_BYTES)
                return _posted(answer)
        except TimeoutError:
            return Posted(reason=f"no answer within {self._timeout_s:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Posted(reason=_reason_of(error))


def _posted(answer: aiohttp.ClientResponse) -> Posted:
    reason = f"answered {answer.status}"
    if 300 <= answer.status < 400:
        reason += ": redirects are not followed"
    wait = answer.headers.get("Retry-After", "")
    return Posted(status=answer.status, reason=reason, retry_after_s=float(wait) if wait.isdecimal() else 0.0)


def _reason_of(error: Exception) -> str:
    """What happened, without a word of the other side's."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, _NotPublicError):
            return "the host leads to no address that may be posted to"
        cause = cause.__cause__ or cause.__context__
    return f"could not be reached ({type(error).__name__})"


class _NotPublicError(OSError):
    """The host has addresses, none of which may be connected to."""


class _GuardedResolver(AbstractResolver):
    """aiohttp connects to what this gives, and to nothing else."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    @override
    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._guard.addresses(host, port, family)
        if not found:
            raise _NotPublicError("no address that may be posted to")
        return [
            ResolveResult(hostname=host, host=address, port=port, family=kind, proto=0, flags=socket.AI_NUMERICHOST)
            for kind, address in found
        ]

    @override
    async def close(self) -> None:
        return None
