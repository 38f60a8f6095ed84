"""The HTTP side of `ngx chat`: conversations, turns as streams that survive a dropped connection, cancelling.

A turn is posted with an idempotency key, so that a lost answer is asked for again without a second turn; once
the turn is known, a broken stream is taken up after the last event seen. Each event is given once, in order.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, aclosing
from types import TracebackType
from typing import Any, Self

import aiohttp

from ngx_agents.cli.sse import EventReader, ServerEvent
from ngx_agents.errors import NgxError

TERMINAL = frozenset({"turn.completed", "turn.failed", "turn.cancelled"})
# the server sends a comment every 10 s; three of them missing is a dead connection
TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=5.0, sock_read=30.0)
# a proxy without a backend, a server that starts or drains: worth another try for a turn that is under way
PASSING = frozenset({502, 503, 504})
MAX_RETRIES = 30  # a minute: a server on a busy machine needs its time to come back
RETRY_DELAYS_S = (0.1, 0.2, 0.5, 1.0, 2.0)
LONGEST_RETRY_S = 60.0


class ServerRefusedError(NgxError):
    """The server answered with a problem; `status` is its HTTP status."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


class ServerGoneError(NgxError):
    """No server answers there, or none any more."""


class _Progress:
    """How far the stream of one turn has come, over all connections; `failures` since the last event."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.turn_id = ""
        self.last_id = ""
        self.failures = 0
        self.retry_s = 0.0  # the least wait before coming back, as the server told
        self.is_ended = False

    @property
    def is_started(self) -> bool:
        return bool(self.turn_id) or self.failures > 0

    def is_new(self, event: ServerEvent) -> bool:
        """Takes note of the event; False when it was given before. A newer epoch counts anew."""
        self.is_ended = event.name in TERMINAL
        new, old = _position(event.id), _position(self.last_id)
        if new is not None and old is not None and new <= old:
            return False
        self.last_id, self.failures = event.id or self.last_id, 0
        self.turn_id = str(event.data.get("turn_id", self.turn_id))
        return True


class ChatClient:
    """One server, as one caller. Enter its context to use it."""

    def __init__(self, url: str, *, api_key: str | None = None) -> None:
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        # a prompt waits for minutes while nobody watches the connection, so none is kept
        self._session = aiohttp.ClientSession(
            headers=self._headers, timeout=TIMEOUT, connector=aiohttp.TCPConnector(force_close=True)
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def new_conversation(self) -> str:
        """The id of a new conversation. Raises ServerGoneError, ServerRefusedError."""
        try:
            async with self._open("POST", "/v1/conversations", json={}) as response:
                await _check(response)
                return str((await response.json())["id"])
        except (aiohttp.ClientError, TimeoutError) as exc:
            raise self._absent(exc) from exc

    async def turn(self, conversation_id: str, body: dict[str, Any]) -> AsyncGenerator[ServerEvent, None]:
        """The events of one turn, to its terminal one. Raises ServerGoneError, ServerRefusedError."""
        progress = _Progress(secrets.token_hex(16))
        while not progress.is_ended:
            try:
                async with aclosing(self._attempt(conversation_id, body, progress)) as events:
                    async for event in events:
                        yield event
            except aiohttp.ClientConnectorError as exc:
                if not progress.is_started:
                    raise self._absent(exc) from exc
            except (aiohttp.ClientError, TimeoutError, ValueError):
                pass  # a broken stream: what counts is whether the next attempt gets further
            if not progress.is_ended:
                await self._pause(progress)

    async def _attempt(
        self, conversation_id: str, body: dict[str, Any], progress: _Progress
    ) -> AsyncGenerator[ServerEvent, None]:
        async with self._stream(conversation_id, body, progress) as response:
            if response.status in PASSING and progress.is_started:
                raise aiohttp.ClientConnectionError
            await _check(response)
            async with aclosing(_events(response, progress)) as events:
                async for event in events:
                    if progress.is_new(event):
                        yield event
                    if progress.is_ended:
                        return

    async def _pause(self, progress: _Progress) -> None:
        progress.failures += 1
        if progress.failures > MAX_RETRIES:
            raise ServerGoneError(f"the server at {self._url} does not answer any more")
        await asyncio.sleep(max(progress.retry_s, RETRY_DELAYS_S[min(progress.failures, len(RETRY_DELAYS_S)) - 1]))

    async def cancel(self, turn_id: str) -> None:
        """Asks for the turn to be cancelled. Raises ServerGoneError, ServerRefusedError."""
        try:
            async with self._open("POST", f"/v1/turns/{turn_id}/cancel") as response:
                if response.status != 409:  # it has ended, which is what was wanted
                    await _check(response)
        except (aiohttp.ClientError, TimeoutError) as exc:
            raise ServerGoneError(f"the server at {self._url} does not answer any more") from exc

    def _absent(self, error: Exception) -> ServerGoneError:
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            why = getattr(error.certificate_error, "verify_message", "") or "it does not verify"
            return ServerGoneError(
                f"the server at {self._url} shows a certificate that is not trusted here ({why}): name its authority's"
                " file in SSL_CERT_FILE, or use the name that the certificate is for"
            )
        if isinstance(error, aiohttp.ClientConnectorSSLError):
            return ServerGoneError(f"the server at {self._url} does not speak TLS as this program does: http or https?")
        return ServerGoneError(f"no server answers at {self._url}: start one with `ngx serve`")

    def _stream(
        self, conversation_id: str, body: dict[str, Any], progress: _Progress
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        headers = {"Accept": "text/event-stream"}
        if not progress.turn_id:
            headers["Idempotency-Key"] = progress.key
            return self._open("POST", f"/v1/conversations/{conversation_id}/turns", json=body, headers=headers)
        if progress.last_id:
            headers["Last-Event-ID"] = progress.last_id
        return self._open("GET", f"/v1/turns/{progress.turn_id}/events", headers=headers)

    def _open(self, method: str, path: str, **options: Any) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        if self._session is None:
            raise RuntimeError("enter the client's context first")
        return self._session.request(method, self._url + path, **options)


async def _events(response: aiohttp.ClientResponse, progress: _Progress) -> AsyncGenerator[ServerEvent, None]:
    reader = EventReader()
    async for chunk in response.content.iter_any():
        events = reader.feed(chunk)
        progress.retry_s = min(reader.retry_s, LONGEST_RETRY_S)
        for event in events:
            yield event


def _position(event_id: str) -> tuple[int, int] | None:
    epoch, _, sequence = event_id.partition("-")
    return (int(epoch), int(sequence)) if epoch.isdecimal() and sequence.isdecimal() else None


async def _check(response: aiohttp.ClientResponse) -> None:
    if response.status < 400:
        return
    text = await response.text()
    try:
        problem = json.loads(text)
        said = problem.get("detail") or problem.get("title") or problem.get("code")
    except (ValueError, AttributeError):
        said = response.reason
    wait = response.headers.get("Retry-After")
    hint = f" (try again in {wait} s)" if wait else ""
    if response.status == 401:
        hint = " (pass a key with --api-key or NGX_API_KEY)"
    raise ServerRefusedError(f"{said or f'the server answered {response.status}'}{hint}", status=response.status)
