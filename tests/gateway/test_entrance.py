from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from ngx_agents.errors import ShareExceeded
from ngx_agents.gateway.principal import Principal
from ngx_agents.gateway.problems import status_of
from ngx_agents.resilience.admission import GateRules
from ngx_agents.resilience.admission_limit import LimitRules
from ngx_agents.resilience.modes import Mode
from ngx_agents.state.model import Owner
from tests.gateway.script_team import ScriptTeam
from tests.gateway.serving import Client, House, events_of, house, served

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


async def test_an_emergency_that_is_refused_is_told_whom_to_call(tmp_path: Path) -> None:
    async with house(tmp_path) as made, served(made.app) as url, aiohttp.ClientSession() as session:
        api = Client(session, url)
        conversation_id = await api.conversation()
        made.modes.force(Mode.READ_ONLY, by="ana", reason="moving house")
        status, problem = await api.say(conversation_id, "an emergency")
        assert (status, problem["code"], problem["first_aid"]) == (503, "read_only", "Call 112.")
        _, problem = await api.say(conversation_id, "say hello")
        assert "first_aid" not in problem
        chat = {"model": "ngx", "messages": [{"role": "user", "content": "an emergency"}]}
        async with session.post(f"{url}/v1/chat/completions", json=chat) as response:
            assert (await response.json())["error"]["message"].startswith("Call 112.\n\n")


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


SMALL = GateRules(limit=LimitRules(capacity=2.0, most=2.0), most_waiting=1)


async def test_beyond_its_places_and_its_line_the_server_refuses_with_a_time_and_stores_nothing(tmp_path: Path) -> None:
    team = ScriptTeam()
    async with served_house(tmp_path, team, SMALL) as (made, api), asyncio.TaskGroup() as group:
        names = [await api.conversation() for _ in range(4)]
        running = [group.create_task(api.say(name, "wait")) for name in names[:2]]
        await _until(lambda: made.door.in_flight == 2.0)
        waiting = group.create_task(api.say(names[2], "wait"))
        await _until(lambda: made.door.waiting == 1)
        async with api.session.post(f"{api.url}/v1/conversations/{names[3]}/turns", json={"text": "wait"}) as response:
            assert (response.status, (await response.json())["code"]) == (503, "overloaded")
            assert int(response.headers["retry-after"]) >= 1
        _, page = await api.call("GET", f"/v1/conversations/{names[3]}/messages")
        assert page["items"] == []
        team.release.set()
        for task in (*running, waiting):
            assert (await task)[0] == 200
        await _until(lambda: made.door.in_flight == 0.0)
        assert (await api.say(names[3], "say x"))[0] == 200


async def test_who_waits_too_long_is_refused_and_who_leaves_keeps_no_place(tmp_path: Path) -> None:
    team = ScriptTeam()
    rules = GateRules(limit=LimitRules(capacity=1.0, most=1.0), most_waiting=10)
    async with served_house(tmp_path, team, rules) as (made, api), asyncio.TaskGroup() as group:
        names = [await api.conversation() for _ in range(3)]
        running = group.create_task(api.say(names[0], "wait"))
        await _until(lambda: made.door.in_flight == 1.0)
        late = group.create_task(api.say(names[1], "say late"))
        leaving = asyncio.create_task(api.say(names[2], "say gone"))
        await _until(lambda: made.door.waiting == 2)
        leaving.cancel()
        status, problem = await late
        assert (status, problem["code"]) == (503, "overloaded")
        team.release.set()
        assert (await running)[0] == 200
        await _until(lambda: made.door.in_flight == 0.0 and made.door.waiting == 0)


async def test_a_tenant_at_its_share_hears_429_while_others_get_in(tmp_path: Path) -> None:
    team = ScriptTeam()
    rules = GateRules(limit=LimitRules(capacity=4.0), tenant_share=0.5)
    async with house(tmp_path, team=team, rules=rules) as made:
        entrance = made.deps.entrance
        acme = [await entrance.enter(_principal("acme", f"u{number}")) for number in range(2)]
        with pytest.raises(ShareExceeded) as refused:
            await entrance.enter(_principal("acme", "u9"))
        assert status_of(refused.value) == 429
        (await entrance.enter(_principal("other", "u"))).release()
        acme[0].release()
        (await entrance.enter(_principal("acme", "u9"))).release()
        acme[1].release()
        assert made.door.in_flight == 0.0


async def test_a_turn_weighs_as_many_calls_as_it_makes_at_once_and_is_charged_for_its_tokens(tmp_path: Path) -> None:
    async with house(tmp_path) as made:
        ticket = await made.deps.entrance.enter(_principal("acme", "ana"))
        ticket.weigh(3)
        assert made.door.in_flight == 3.0
        ticket.weigh(1)
        ticket.spent(input_tokens=100, output_tokens=50)
        assert made.door.fairness.tenants.of("acme") == 200.0
        ticket.release()
        ticket.release()
        assert made.door.in_flight == 0.0


async def test_a_block_that_raises_gives_its_place_back(tmp_path: Path) -> None:
    async with house(tmp_path) as made:
        ticket = await made.deps.entrance.enter(_principal("acme", "ana"))
        with pytest.raises(ValueError, match="broke"), ticket:
            raise ValueError("broke")
        assert made.door.in_flight == 0.0


def _principal(tenant: str, user: str) -> Principal:
    return Principal(Owner(tenant, user))


@asynccontextmanager
async def served_house(path: Path, team: ScriptTeam, rules: GateRules) -> AsyncIterator[tuple[House, Client]]:
    async with house(path, team=team, rules=rules) as made, served(made.app) as url, aiohttp.ClientSession() as session:
        yield made, Client(session, url)


async def _until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not is_so():  # noqa: ASYNC110  # what is waited for is another task's doing
            await asyncio.sleep(0.01)
