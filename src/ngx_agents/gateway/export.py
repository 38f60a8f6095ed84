"""Everything stored about a user, streamed: the records first, then each attachment with its bytes in base64.

At most one attachment is in memory at a time. If the journal goes away on the way, the answer breaks off: JSON that is
cut short is seen to be.
"""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import msgspec

from ngx_agents.gateway.exchange import JSON, Exchange
from ngx_agents.state.blob_commands import Blob, GetBlob
from ngx_agents.state.commands import ExportUser
from ngx_agents.state.journal import Journal
from ngx_agents.state.model import Owner

DISPOSITION = (b"content-disposition", b'attachment; filename="ngx-export.json"')
_encode = msgspec.json.Encoder().encode


async def send_export(exchange: Exchange, journal: Journal) -> None:
    owner = exchange.principal.owner
    exported: dict[str, Any] = await journal.query(ExportUser(owner=owner))
    blobs: list[dict[str, Any]] = exported.pop("blobs")
    records = _encode(exported)
    await exchange.start(200, (JSON, DISPOSITION))
    await _send(exchange, records[:-1] + b',"blobs":[')
    for number, info in enumerate(blobs):
        await _send(exchange, (b"," if number else b"") + _encode(await _whole(info, owner, journal)))
    await exchange.send({"type": "http.response.body", "body": b"]}"})


async def _whole(info: dict[str, Any], owner: Owner, journal: Journal) -> dict[str, Any]:
    """`data_base64` is null for what was deleted since the export began."""
    blob: Blob | None = await journal.query(GetBlob(id=info["id"], owner=owner))
    data = b64encode(blob.data).decode() if blob is not None else None
    return {**info, "data_base64": data}


async def _send(exchange: Exchange, body: bytes) -> None:
    await exchange.send({"type": "http.response.body", "body": body, "more_body": True})
