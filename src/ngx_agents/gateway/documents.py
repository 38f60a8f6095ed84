"""Serves the OpenAPI document, and a page that makes it readable without a script or a request to anywhere else."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import msgspec

from ngx_agents.gateway.docs_page import STYLE_HASH, page_of
from ngx_agents.gateway.exchange import JSON, Exchange
from ngx_agents.gateway.openapi import document_of
from ngx_agents.gateway.operation import Operation

PAGE_HEADERS = (
    (b"content-type", b"text/html; charset=utf-8"),
    (
        b"content-security-policy",
        f"default-src 'none'; style-src '{STYLE_HASH}'; base-uri 'none'; frame-ancestors 'none'".encode(),
    ),
    (b"referrer-policy", b"no-referrer"),
)


class DocumentRoutes:
    """Made when first asked for: the start does not wait for them, and the table may still grow until then."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        self._operations = operations

    @cached_property
    def _document(self) -> dict[str, Any]:
        return document_of(self._operations)

    @cached_property
    def _json(self) -> bytes:
        return msgspec.json.format(msgspec.json.encode(self._document), indent=1)

    @cached_property
    def _page(self) -> bytes:
        return page_of(self._document)

    async def openapi(self, exchange: Exchange) -> None:
        await exchange.reply(200, self._json, (JSON,))

    async def page(self, exchange: Exchange) -> None:
        await exchange.reply(200, self._page, PAGE_HEADERS)
