"""Images in chat completions: kept with the conversation and given to the turn; nothing is fetched."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from ngx_agents.gateway.settings import GatewaySettings
from tests.gateway.serving import client

PNG = b"\x89PNG\r\n\x1a\n" + b"pixels"


def image(data: bytes = PNG, media_type: str = "image/png") -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": f"data:{media_type};base64,{b64encode(data).decode()}"}}


def said(*parts: Any) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "text", "text": "look"}, *parts]}


async def test_images_of_the_last_message_are_given_to_the_turn_and_kept_with_the_conversation(tmp_path: Path) -> None:
    async with client(tmp_path) as api:
        body = {"model": "ngx", "messages": [said(image(PNG + b"old")), said(image(), image(), image(PNG + b"2"))]}
        status, reply = await api.call("POST", "/v1/chat/completions", json=body)
        assert status == 200
        assert reply["choices"][0]["message"]["content"] == f"None image/png {PNG!r} / None image/png {PNG + b'2'!r}"
        _, page = await api.call("GET", "/v1/me/attachments")
        assert {one["conversation_id"] for one in page["items"]} == {reply["ngx"]["conversation_id"]}
        await api.call("DELETE", f"/v1/conversations/{reply['ngx']['conversation_id']}")
        assert (await api.call("GET", "/v1/me/attachments"))[1]["items"] == []


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,???"}},
        {"type": "image_url", "image_url": {"url": "data:text/html;base64,PGI+"}},
        {"type": "image_url", "image_url": {"url": "data:image/png"}},
        {"type": "image_url"},
        {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}},
        image(b"no picture"),
        image(b"<svg/>", "image/svg+xml"),
    ],
)
async def test_what_is_no_image_is_refused_and_leaves_nothing(tmp_path: Path, part: dict[str, Any]) -> None:
    async with client(tmp_path) as api:
        body = {"model": "ngx", "messages": [said(part)]}
        status, reply = await api.call("POST", "/v1/chat/completions", json=body)
        assert status in (400, 415)
        assert reply["error"]["type"] == "invalid_request_error"
        assert (await api.call("GET", "/v1/conversations"))[1]["items"] == []
        assert (await api.call("GET", "/v1/me/attachments"))[1]["items"] == []


async def test_images_count_towards_what_a_user_may_keep(tmp_path: Path) -> None:
    async with client(tmp_path, GatewaySettings(attachments_bytes=10)) as api:
        status, _ = await api.call("POST", "/v1/chat/completions", json={"model": "ngx", "messages": [said(image())]})
        assert status == 413
