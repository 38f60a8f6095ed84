"""Turns over the wire: whole, as events, later, resumed, cancelled."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from ngx_agents.gateway.settings import GatewaySettings
from tests.gateway.script_team import ScriptTeam
from tests.gateway.serving import client, events_of

SSE = {"Accept": "text/event-stream"}


async def test_a_turn_answers_whole_with_its_origin(tmp_path: Path) -> None:
    async with client(tmp_path) as api:
        conversation_id = await api.conversation()
        status, turn = await api.say(conversation_id, "say one |two")
    assert status == 200
    assert turn["status"] == "completed"
    assert turn["text"] == "one two"
    assert (turn["source"], turn["model"], turn["degraded"]) == ("model", "script-1", False)
    assert turn["usage"] == {"input_tokens": 7, "output_tokens": 3, "thought_tokens": 2, "cached_tokens": 0}


async def test_a_stream_has_rising_ids_and_one_terminal_event(tmp_path: Path) -> None:
    async with client(tmp_path) as api:
        path = f"{api.url}/v1/conversations/{await api.conversation()}/turns"
        async with api.session.post(path, json={"text": "say a|b"}, headers=SSE) as response:
            events = await events_of(response)
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    names = [name for _, name, _ in events]
    assert names[0] == "turn.accepted"
    assert [name for name in names if name.startswith("turn.")][-1] == "turn.completed"
    assert names.count("turn.completed") == 1
    ids = [tuple(map(int, event_id.split("-"))) for event_id, _, _ in events if event_id]
    assert ids == sorted(set(ids))
    assert "".join(json.loads(data)["text"] for _, name, data in events if name == "text.delta") == "ab"


async def test_respond_async_is_acknowledged_before_the_answer(tmp_path: Path) -> None:
    team = ScriptTeam()
    async with client(tmp_path, team=team) as api:
        path = f"{api.url}/v1/conversations/{await api.conversation()}/turns"
        async with api.session.post(path, json={"text": "wait"}, headers={"Prefer": "respond-async"}) as response:
            turn = await response.json()
        assert response.status == 202
        assert response.headers["location"] == f"/v1/turns/{turn['turn_id']}"
        assert turn["status"] in ("queued", "running")
        team.release.set()
        async with api.session.get(api.url + response.headers["location"] + "/events") as stream:
            assert [name for _, name, _ in await events_of(stream)][-1] == "turn.completed"
        _, done = await api.call("GET", response.headers["location"])
    assert done["status"] == "completed"


async def test_a_stream_resumes_after_the_last_event_id(tmp_path: Path) -> None:
    team = ScriptTeam()
    async with client(tmp_path, team=team) as api:
        path = f"{api.url}/v1/conversations/{await api.conversation()}/turns"
        async with api.session.post(path, json={"text": "wait"}, headers=SSE) as response:
            first = (await response.content.readuntil(b"\n\n")).decode()
        assert "turn.accepted" in first
        turn_id = json.loads(first.split("data: ")[1])["turn_id"]
        last_id = first.split("id: ")[1].split("\n")[0]
        team.release.set()
        url = f"{api.url}/v1/turns/{turn_id}/events"
        async with api.session.get(url, headers={"Last-Event-ID": last_id}) as stream:
            names = [name for _, name, _ in await events_of(stream)]
    assert "turn.accepted" not in names
    assert names[-1] == "turn.completed"


async def test_a_client_that_leaves_a_stream_does_not_stop_its_turn(tmp_path: Path) -> None:
    team = ScriptTeam()
    async with client(tmp_path, team=team) as api:
        conversation_id = await api.conversation()
        path = f"{api.url}/v1/conversations/{conversation_id}/turns"
        response = await api.session.post(path, json={"text": "wait"}, headers=SSE)
        first = await response.content.readuntil(b"\n\n")
        turn_id = json.loads(first.split(b"data: ")[1])["turn_id"]
        response.close()
        await asyncio.sleep(0.02)
        team.release.set()
        async with api.session.get(f"{api.url}/v1/turns/{turn_id}/events") as stream:
            assert [name for _, name, _ in await events_of(stream)][-1] == "turn.completed"


async def test_a_user_reads_so_many_streams_at_once_and_no_more(tmp_path: Path) -> None:
    team = ScriptTeam()
    async with client(tmp_path, GatewaySettings(max_streams=2), team=team) as api:
        path = f"{api.url}/v1/conversations/{await api.conversation()}/turns"
        async with api.session.post(path, json={"text": "wait"}, headers=SSE) as response:
            turn_id = json.loads((await response.content.readuntil(b"\n\n")).split(b"data: ")[1])["turn_id"]
        url = f"{api.url}/v1/turns/{turn_id}/events"
        first, second = await api.session.get(url), await api.session.get(url)
        status, problem = await api.call("GET", f"/v1/turns/{turn_id}/events")
        assert (status, problem["code"]) == (503, "overloaded")
        first.close()
        async with asyncio.timeout(10), api.session.get(f"{api.url}/v1/turns/t_00nothing/events") as unknown:
            assert unknown.status == 404
        team.release.set()
        assert [name for _, name, _ in await events_of(second)][-1] == "turn.completed"
        for _ in range(3):  # each gives back what it took, also one that found nothing
            async with api.session.get(url) as again:
                assert [name for _, name, _ in await events_of(again)][-1] == "turn.completed"


async def test_a_running_turn_is_cancelled(tmp_path: Path) -> None:
    async with client(tmp_path) as api:
        conversation_id = await api.conversation()
        _, turn = await api.say(conversation_id, "wait", headers={"Prefer": "respond-async"})
        status, reply = await api.call("POST", f"/v1/turns/{turn['turn_id']}/cancel")
        assert (status, reply["turn_id"]) == (200, turn["turn_id"])
        async with api.session.get(f"{api.url}/v1/turns/{turn['turn_id']}/events") as stream:
            assert [name for _, name, _ in await events_of(stream)][-1] == "turn.cancelled"
        status, problem = await api.call("POST", f"/v1/turns/{turn['turn_id']}/cancel")
    assert (status, problem["code"]) == (409, "turn_finished")


async def test_the_same_key_and_body_give_the_same_turn_and_another_body_conflicts(tmp_path: Path) -> None:
    async with client(tmp_path) as api:
        conversation_id = await api.conversation()
        key = {"Idempotency-Key": "k-1"}
        _, first = await api.say(conversation_id, "say once", headers=key)
        _, again = await api.say(conversation_id, "say once", headers=key)
        status, problem = await api.say(conversation_id, "say other", headers=key)
        _, page = await api.call("GET", f"/v1/conversations/{conversation_id}/messages")
    assert again == first
    assert (status, problem["code"]) == (409, "idempotency_conflict")
    assert [message["text"] for message in page["items"]] == ["say once", "once"]


async def test_a_busy_conversation_can_be_refused(tmp_path: Path) -> None:
    async with client(tmp_path) as api:
        conversation_id = await api.conversation()
        _, running = await api.say(conversation_id, "wait", headers={"Prefer": "respond-async"})
        status, problem = await api.say(conversation_id, "say x", when_busy="reject")
    assert (status, problem["code"], problem["turn_id"]) == (409, "conversation_busy", running["turn_id"])


async def test_a_failed_turn_says_so_without_internals(tmp_path: Path) -> None:
    async with client(tmp_path) as api:
        conversation_id = await api.conversation()
        status, turn = await api.say(conversation_id, "break")
    assert (status, turn["status"]) == (200, "failed")
    assert turn["code"]
    assert "secret" not in json.dumps(turn)


async def test_artifacts_come_with_the_turn_and_stay(tmp_path: Path) -> None:
    async with client(tmp_path) as api:
        conversation_id = await api.conversation()
        _, turn = await api.say(conversation_id, "artifact Week")
        (artifact,) = turn["artifacts"]
        _, one = await api.call("GET", f"/v1/me/artifacts/{artifact['id']}")
        _, page = await api.call("GET", f"/v1/me/artifacts?turn_id={turn['turn_id']}")
    assert one == artifact
    assert page == {"items": [artifact], "next": None}
    assert (artifact["title"], artifact["data"]) == ("Week", {"days": 3})


async def test_a_client_that_waits_a_while_gets_the_answer_or_where_to_look(tmp_path: Path) -> None:
    async with client(tmp_path) as api:
        path = f"{api.url}/v1/conversations/{await api.conversation()}/turns"
        patient = {"Prefer": "respond-async, wait=20"}
        async with api.session.post(path, json={"text": "say hola"}, headers=patient) as response:
            turn = await response.json()
            assert (response.status, turn["status"], turn["text"]) == (200, "completed", "hola")
            assert response.headers["preference-applied"] == "respond-async, wait=20"
        async with api.session.post(
            path, json={"text": "wait"}, headers={"Prefer": "wait=1, respond-async"}
        ) as response:
            turn = await response.json()
            assert (response.status, turn["status"]) == (202, "running")
            assert response.headers["location"] == f"/v1/turns/{turn['turn_id']}"
