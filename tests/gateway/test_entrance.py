from __future__ import annotations

import asyncio
import json
from pathlib import Path

import aiohttp
from tests.gateway.serving import Client, events_of, house, served

from ngx_agents.resilience.modes import Mode

CHAT = {"model": "ngx", "messages": [{"role": "user", "content": "say x"}]}


async def test_read_only_serves_history_refuses_every_way_in_and_stores_nothing(tmp_path: Path) -> None:
    async with house(tmp_path) as made, served(made.app) as url, aiohttp.ClientSession() as session:
        api = Client(session, url)
        conversation_id = await api.conversation()
        assert (await api.say(conversation_id, "say before"))[0] == 200
        made.modes.force(Mode.READ_ONLY, by="ana", reason="moving house")
        for path, body in (
            (f"/v1/conversations/{conversation_id}/turns", {"text": "say after"}),
            ("/v1/chat/completions", CHAT),
        ):
            async with session.post(url + path, json=body) as response:
                assert (response.status, response.headers["ngx-mode"]) == (503, "read-only")
                assert int(response.headers["retry-after"]) >= 1
                assert "read_only" in await response.text()
        _, page = await api.call("GET", f"/v1/conversations/{conversation_id}/messages")
        assert [message["text"] for message in page["items"]] == ["say before", "before"]
        _, conversations = await api.call("GET", "/v1/conversations")
        assert [each["id"] for each in conversations["items"]] == [conversation_id]
        made.modes.automatic()
        assert (await api.say(conversation_id, "say after"))[0] == 200


async def test_streams_are_told_the_mode_that_is_and_every_change(tmp_path: Path) -> None:
    async with house(tmp_path) as made, served(made.app) as url, aiohttp.ClientSession() as session:
        api = Client(session, url)
        made.modes.force(Mode.DEGRADED_1, by="ana", reason="a drill")
        path = f"{url}/v1/conversations/{await api.conversation()}/turns"
        async with asyncio.timeout(10):
            async with session.post(path, json={"text": "wait"}, headers={"Accept": "text/event-stream"}) as response:
                await response.content.readuntil(b"turn.started")
                made.modes.force(Mode.DEGRADED_3, by="ana", reason="a drill")
                made.engine._team.release.set()
                events = await events_of(response)
        assert [json.loads(data)["mode"] for _, name, data in events if name == "mode"] == ["degraded-3"]
        async with session.post(path, json={"text": "say x"}, headers={"Accept": "text/event-stream"}) as response:
            events = await events_of(response)
        assert [name for _, name, _ in events][:2] == ["turn.accepted", "mode"]
        assert [name for _, name, _ in events][-1] == "turn.completed"
