"""A caller's side of A2A 1.0 over JSON-RPC and HTTP+JSON: fetch the card, send a message, cancel a task.

Source: A2A specification 1.0.1 §7, §9, §11.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any
from urllib.parse import quote

import msgspec

from ngx_agents.a2a.trail import HEADER, URI
from ngx_agents.agents.remote.card import HTTP_JSON, VERSION, RemoteCard
from ngx_agents.agents.remote.http import ForeignHttp, Reply
from ngx_agents.agents.remote.wire import Interface, StreamEvent, decode_event, decode_rpc
from ngx_agents.errors import ModelProtocolError, RemoteProtocolError, RemoteRefused, RemoteUnavailable
from ngx_agents.vertex.sse import FrameSplitter

EVENT_STREAM = "text/event-stream"
CARD_TIMEOUT_S, CANCEL_TIMEOUT_S = 10.0, 3.0
INTERNAL_ERROR = -32603
OUTPUT_MODES = ("text/plain", "text/markdown", "application/json")
_JSON = {"Content-Type": "application/json", "A2A-Version": VERSION}
_encode = msgspec.json.encode


class FetchedCard(msgspec.Struct, frozen=True, kw_only=True):
    """`raw` is None when nothing changed; `max_age_s` as its cache headers say, None when they do not."""

    raw: bytes | None
    etag: str | None
    max_age_s: float | None


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a message belongs: to a context, and to a task that waits for it."""

    context_id: str | None = None
    task_id: str | None = None


class A2AClient:
    """Stateless but for its connections. Everything raises RemoteError."""

    def __init__(self, http: ForeignHttp) -> None:
        self._http = http

    async def card(self, url: str, *, etag: str | None) -> FetchedCard:
        headers = {"Accept": "application/json"} | ({"If-None-Match": etag} if etag else {})
        async with self._http.asking("GET", url, timeout_s=CARD_TIMEOUT_S, headers=headers) as reply:
            reply.check()
            raw = None if reply.status == 304 else await reply.body()
            return FetchedCard(
                raw=raw, etag=reply.header("ETag"), max_age_s=_max_age_s(reply.header("Cache-Control") or "")
            )

    async def send(
        self, card: RemoteCard, text: str, *, message_id: str, place: Place, timeout_s: float, trail: str
    ) -> AsyncGenerator[StreamEvent]:
        """The events of the answer: a stream where the agent streams, else one event when it is done. `trail` tells how
        far the message has come."""
        message: dict[str, Any] = {
            "messageId": message_id, "role": "ROLE_USER", "parts": [{"text": text}],
            "metadata": {URI: trail}, "extensions": [URI],
        }  # fmt: skip
        if place.context_id is not None:
            message["contextId"] = place.context_id
        if place.task_id is not None:
            message["taskId"] = place.task_id
        params = {"message": message, "configuration": {"acceptedOutputModes": OUTPUT_MODES}}
        method, path = (
            ("SendStreamingMessage", "message:stream") if card.is_streaming else ("SendMessage", "message:send")
        )
        accept = EVENT_STREAM if card.is_streaming else "application/json"
        headers = {**_JSON, "Accept": accept, "A2A-Extensions": URI, HEADER: trail}
        url, body = _call(card.interface, method, path, params)
        async with self._http.asking("POST", url, body=body, timeout_s=timeout_s, headers=headers) as reply:
            reply.check()
            is_rpc = card.interface.protocol_binding != HTTP_JSON
            if reply.media_type == EVENT_STREAM:
                async for frame in _frames(reply):
                    yield _event(frame, is_rpc=is_rpc)
            else:
                yield _event(await reply.body(), is_rpc=is_rpc)

    async def cancel(self, card: RemoteCard, task_id: str) -> None:
        url, body = _call(card.interface, "CancelTask", f"tasks/{quote(task_id, safe='')}:cancel", {"id": task_id})
        async with self._http.asking("POST", url, body=body, timeout_s=CANCEL_TIMEOUT_S, headers=_JSON) as reply:
            reply.check()


def _call(interface: Interface, method: str, path: str, params: dict[str, Any]) -> tuple[str, bytes]:
    """Address and body of one call."""
    if interface.protocol_binding == HTTP_JSON:
        tenant = f"/{quote(interface.tenant, safe='')}" if interface.tenant else ""
        return f"{interface.url.rstrip('/')}{tenant}/{path}", _encode(params)
    if interface.tenant:
        params = {**params, "tenant": interface.tenant}
    return interface.url, _encode({"jsonrpc": "2.0", "id": "1", "method": method, "params": params})


async def _frames(reply: Reply) -> AsyncIterator[bytes]:
    splitter = FrameSplitter()
    try:
        async for chunk in reply.chunks():
            for frame in splitter.feed(chunk):
                yield frame
        for frame in splitter.finish():
            yield frame
    except ModelProtocolError as exc:
        raise RemoteProtocolError("its event stream cannot be read") from exc


def _event(raw: bytes, *, is_rpc: bool) -> StreamEvent:
    try:
        if not is_rpc:
            return decode_event(raw)
        reply = decode_rpc(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as exc:
        raise RemoteProtocolError("its answer cannot be read") from exc
    if reply.error is not None:
        if reply.error.code == INTERNAL_ERROR:
            raise RemoteUnavailable("it answered with an internal error")
        raise RemoteRefused(f"it refuses the request with error {reply.error.code}")
    if reply.result is None:
        raise RemoteProtocolError("its answer has neither a result nor an error")
    return reply.result


def _max_age_s(cache_control: str) -> float | None:
    for directive in cache_control.lower().split(","):
        name, _, value = directive.strip().partition("=")
        if name in ("no-cache", "no-store"):
            return 0.0
        if name == "max-age" and value.isascii() and value.isdigit():
            return float(value[:9])
    return None
