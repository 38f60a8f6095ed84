"""Images inside a chat completion request, as `data:` URLs: kept as attachments of the conversation, given to the turn.

Only those of the last message count; what earlier messages showed was looked at then. Nothing is fetched from anywhere.
"""

from __future__ import annotations

import binascii
from base64 import b64decode

import msgspec

from ngx_agents.errors import InvalidRequest
from ngx_agents.gateway.deps import GatewayDeps
from ngx_agents.gateway.openai_wire import ChatBody
from ngx_agents.state.blob_commands import PutBlob
from ngx_agents.state.blobs import new_blob
from ngx_agents.turns.attachments import MAX_ATTACHMENTS
from ngx_agents.turns.model import TurnRequest


class Image(msgspec.Struct, frozen=True):
    media_type: str
    data: bytes


def images_of(body: ChatBody) -> tuple[Image, ...]:
    """Those of the last message. Raises InvalidRequest."""
    content, where = body.messages[-1].content, f"messages[{len(body.messages) - 1}].content"
    parts = content if isinstance(content, list) else []
    urls = [part.image_url.url for part in parts if part.image_url is not None]
    if len(urls) > MAX_ATTACHMENTS:
        raise InvalidRequest(f"a message has at most {MAX_ATTACHMENTS} images", field=where)
    return tuple(_image(url, where) for url in urls)


async def kept(deps: GatewayDeps, images: tuple[Image, ...], request: TurnRequest, *, most_bytes: int) -> TurnRequest:
    """The request with its images as attachments. Raises InvalidRequest, UnsupportedMediaType, StorageFull."""
    ids = []
    for image in images:
        blob = new_blob(
            request.owner,
            image.data,
            image.media_type,
            now=deps.clock.now_s(),
            conversation_id=request.conversation_id,
        )
        await deps.tell(PutBlob(owner=request.owner, blob=blob, most_bytes=most_bytes))
        ids.append(blob.info.id)
    return msgspec.structs.replace(request, attachments=tuple(dict.fromkeys(ids)))


def _image(url: str, where: str) -> Image:
    head, comma, encoded = url.partition(",")
    if not (comma and head.startswith("data:image/") and head.endswith(";base64")):
        raise InvalidRequest("images come as data:image/…;base64 URLs: nothing is fetched", field=where)
    try:
        data = b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequest("an image is not in base64", field=where) from None
    return Image(head.removeprefix("data:").removesuffix(";base64"), data)
