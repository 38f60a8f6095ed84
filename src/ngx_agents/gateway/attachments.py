"""Attachments over HTTP: what a user sends to be looked at, kept until they delete it.

The body of an upload is the bytes themselves; they must be what Content-Type says. They go out as a download under
their own type and are never shown as a page of this server.
"""

from __future__ import annotations

import re
from urllib.parse import quote

from ngx_agents.errors import NotFound
from ngx_agents.gateway.decode import known_id, limit_of, query_of
from ngx_agents.gateway.deps import GatewayDeps
from ngx_agents.gateway.exchange import Exchange, Header
from ngx_agents.gateway.uploads import UploadPlaces
from ngx_agents.gateway.wire import AttachmentPage, AttachmentView
from ngx_agents.state.blob_commands import Blob, BlobInfo, DeleteBlob, GetBlob, ListBlobs, PutBlob
from ngx_agents.state.blobs import MAX_BLOB_BYTES, new_blob

DEFAULT_ATTACHMENTS = 50
NO_SCRIPTS = (b"content-security-policy", b"default-src 'none'; sandbox")

_NOT_PLAIN = re.compile(r"[^A-Za-z0-9 ._()+=,@-]")


class AttachmentRoutes:
    """`most_bytes` is what one user may keep altogether. The bodies that are held at once are bounded (`uploads`)."""

    def __init__(self, deps: GatewayDeps, most_bytes: int) -> None:
        self._deps = deps
        self._journal = deps.journal
        self._most_bytes = most_bytes
        self._uploads = UploadPlaces()

    async def upload(self, exchange: Exchange) -> None:
        query = query_of(exchange.scope["query_string"])
        given = query.get("conversation_id")
        async with self._uploads.place(exchange.principal.owner):
            data = await self._uploads.body(exchange, MAX_BLOB_BYTES)
            blob = new_blob(
                exchange.principal.owner,
                data,
                exchange.media_type,
                now=self._deps.clock.now_s(),
                conversation_id=known_id("c", given) if given is not None else None,
                name=query.get("filename"),
            )
            await self._deps.tell(PutBlob(owner=exchange.principal.owner, blob=blob, most_bytes=self._most_bytes))
        location = (b"location", f"/v1/me/attachments/{blob.info.id}".encode())
        await exchange.reply_json(view_of(blob.info), 201, (location,))

    async def index(self, exchange: Exchange) -> None:
        query = query_of(exchange.scope["query_string"])
        question = ListBlobs(
            owner=exchange.principal.owner, limit=limit_of(query, DEFAULT_ATTACHMENTS), cursor=query.get("cursor")
        )
        page = await self._journal.query(question)
        await exchange.reply_json(AttachmentPage(tuple(view_of(info) for info in page.items), page.next))

    async def show(self, exchange: Exchange) -> None:
        blob: Blob | None = await self._journal.query(GetBlob(id=self._id(exchange), owner=exchange.principal.owner))
        if blob is None:
            raise NotFound("there is no such attachment")
        await exchange.reply(200, blob.data, _headers(blob.info))

    async def delete(self, exchange: Exchange) -> None:
        if not await self._deps.tell(DeleteBlob(id=self._id(exchange), owner=exchange.principal.owner)):
            raise NotFound("there is no such attachment")
        await exchange.reply(204, b"", ())

    def _id(self, exchange: Exchange) -> str:
        return known_id("b", exchange.parameters["attachment_id"])


def view_of(info: BlobInfo) -> AttachmentView:
    return AttachmentView(
        id=info.id,
        media_type=info.media_type,
        size_bytes=info.size_bytes,
        sha256=info.sha256,
        created_at=info.created_at,
        name=info.name,
        conversation_id=info.conversation_id,
    )


def _headers(info: BlobInfo) -> tuple[Header, ...]:
    """Safe whatever the bytes are: a download, of its declared type, that may run nothing. Its name is told in ASCII,
    too, for clients that know no other (RFC 6266 §4.3)."""
    charset = "; charset=utf-8" if info.media_type.startswith("text/") else ""
    given = info.name or info.id
    name, plain = quote(given, safe=""), _NOT_PLAIN.sub("_", given)
    return (
        (b"content-type", f"{info.media_type}{charset}".encode()),
        (b"content-disposition", f"attachment; filename=\"{plain}\"; filename*=UTF-8''{name}".encode()),
        (b"cross-origin-resource-policy", b"same-origin"),
        NO_SCRIPTS,
    )
