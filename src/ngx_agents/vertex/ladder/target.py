"""One place that answers: an endpoint, the credentials for it, the dialect it speaks.

A call refused with 401 is sent once more with fresh credentials; nothing else is repeated here. Foreign status codes
become errors of `errors.ModelError` here, and only here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import msgspec

from ngx_agents.clock import Clock
from ngx_agents.errors import ModelAuthError, ModelError
from ngx_agents.vertex.credentials import Credentials, GoogleCredentials
from ngx_agents.vertex.dialects.dialect import Dialect
from ngx_agents.vertex.endpoint import Endpoint
from ngx_agents.vertex.refusal import error_of_status
from ngx_agents.vertex.settings import VertexSettings
from ngx_agents.vertex.transport import Method, PostCall, Posted, PostStream, Transport

MAX_ERROR_BYTES = 1024 * 1024
GENERATE = "generateContent"
STREAM = "streamGenerateContent?alt=sse"


class Target:
    """`settings` name provider, location and project; the transport and the credentials may be shared with others."""

    def __init__(
        self,
        settings: VertexSettings,
        dialect: Dialect,
        *,
        transport: Transport,
        credentials: Credentials,
        clock: Clock,
    ) -> None:
        self.settings = settings
        self.dialect = dialect
        self.location = "local" if settings.provider == "openai" else settings.location
        self.credentials = credentials
        self._transport = transport
        self.clock = clock
        self._project = settings.project
        self._endpoint = Endpoint(settings, settings.project)

    async def post(
        self, model: str, operation: str, body: bytes, deadline_s: float, *, extra: Mapping[str, str] | None = None
    ) -> Posted:
        """The answer, if it is 200; `extra` are headers. Raises ModelError."""
        headers = self.credentials.ready() or await self.credentials.headers(deadline_s)
        posted = await self._transport.post(self._call(model, operation, _with(headers, extra), body, deadline_s))
        if posted.status == 401 and self.credentials.reject(headers):
            headers = await self.credentials.headers(deadline_s)
            posted = await self._transport.post(self._call(model, operation, _with(headers, extra), body, deadline_s))
        if posted.status != 200:
            raise self._refused(posted.status, posted.body, posted.header("retry-after"))
        return posted

    async def resource(self, path: str, *, method: Method, body: bytes, deadline_s: float) -> bytes:
        """The answer of a call to `path` below project and location, if it is 200. Raises ModelError."""
        headers = self.credentials.ready() or await self.credentials.headers(deadline_s)
        endpoint = self._vertex_endpoint()
        call = PostCall(endpoint.origin, endpoint.resource_path(path), headers, body, deadline_s, method)
        posted = await self._transport.post(call)
        if posted.status == 401 and self.credentials.reject(headers):
            headers = await self.credentials.headers(deadline_s)
            posted = await self._transport.post(msgspec.structs.replace(call, headers=headers))
        if posted.status != 200:
            raise self._refused(posted.status, posted.body, posted.header("retry-after"))
        return posted.body

    @asynccontextmanager
    async def stream(
        self, model: str, body: bytes, deadline_s: float, *, extra: Mapping[str, str] | None = None
    ) -> AsyncIterator[PostStream]:
        """The answer, if it is 200; `extra` are headers. Raises ModelError."""
        for is_last in (False, True):
            headers = self.credentials.ready() or await self.credentials.headers(deadline_s)
            call = self._call(model, STREAM, _with(headers, extra), body, deadline_s)
            async with self._transport.stream(call) as answer:
                if answer.status == 200:
                    yield answer
                    return
                refusal = await _bounded(answer.chunks)
                retry_after = answer.header("retry-after")
            if answer.status != 401 or is_last or not self.credentials.reject(headers):
                raise self._refused(answer.status, refusal, retry_after)

    def _call(self, model: str, operation: str, headers: Mapping[str, str], body: bytes, deadline_s: float) -> PostCall:
        if self.settings.provider == "openai":
            endpoint = self._endpoint
            is_chat = operation in (GENERATE, STREAM)
            path = endpoint.chat_path() if is_chat else endpoint.resource_path(operation)
        else:
            endpoint = self._vertex_endpoint()
            path = endpoint.model_path(model, operation)
        return PostCall(endpoint.origin, path, headers, body, deadline_s)

    def _vertex_endpoint(self) -> Endpoint:
        """With the project of the credentials where the settings name none, which is known once they were used."""
        if self._project is None and isinstance(self.credentials, GoogleCredentials):
            self._project = self.credentials.project
            if self._project is None:
                raise ModelAuthError("no Google Cloud project is set, and the credentials name none")
            self._endpoint = Endpoint(self.settings, self._project)
        return self._endpoint

    def _refused(self, status: int, body: bytes, retry_after: str | None) -> ModelError:
        return error_of_status(status, body, retry_after=retry_after, now_s=self.clock.now_s())


def _with(headers: Mapping[str, str], extra: Mapping[str, str] | None) -> Mapping[str, str]:
    return headers if extra is None else {**headers, **extra}


async def _bounded(chunks: AsyncIterator[bytes]) -> bytes:
    """The body of a refusal, as far as it is worth reading."""
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > MAX_ERROR_BYTES:
            break
    return bytes(body)
