"""Agents elsewhere that are away, hang, lie, lead elsewhere or flood: bounded, typed, told honestly, nothing lost."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web

from ngx_agents.agents.brief import Work
from ngx_agents.clock import SystemClock
from ngx_agents.errors import ConfigError
from tests.agents.remote.peers import (
    a_brief,
    a_card,
    alone,
    ask,
    cancelled_at,
    raw_agent,
    sdk_agent,
    seen_by,
    settings,
    team_with,
    until,
)
from tests.agents.turns import a_task, see
from tests.ports import free_port

AWAY = "is not available right now"


@pytest.fixture
def weather(streaming: str) -> str:
    return streaming


async def never_asked(_: web.Request) -> web.Response:
    raise AssertionError("it must not be asked")


async def test_a_team_starts_while_an_agent_is_away_and_takes_it_in_when_it_comes():
    port = free_port()
    async with team_with(settings(f"http://127.0.0.1:{port}")) as team:
        assert not team.remote.agents["weather"].is_available
        seen = await see(team, a_task("weather please", agent="weather", locale="en"))
        assert AWAY in seen.text
        assert (seen.answered.source, seen.answered.degraded) == ("template", True)
        with sdk_agent(port=port):
            await until(lambda: team.remote.agents["weather"].is_available)
            seen = await see(team, a_task("Will it rain tomorrow?", locale="en"))
            assert seen.answered.agents == ("weather",)
            assert seen.answered.source == "remote"


async def test_an_agent_that_hangs_ends_at_its_time_and_its_task_is_cancelled(weather):
    async with team_with(settings(weather, timeout_s=1.0)) as team:
        before = len((await seen_by(weather))["cancelled"])
        began_s = SystemClock().monotonic_s()
        seen = await see(team, a_task("slow please", agent="weather", locale="en"))
        assert SystemClock().monotonic_s() - began_s < 5.0
        assert "did not answer in time" in seen.text
        await cancelled_at(weather, more_than=before)


async def test_the_turns_deadline_holds_and_leaves_time_to_say_so(weather):
    async with team_with(settings(weather, timeout_s=60.0)) as team:
        seen = await see(team, a_task("slow please", agent="weather", locale="en", timeout_s=2.5))
        assert "did not answer in time" in seen.text


async def test_what_a_dying_agent_said_is_withdrawn():
    with sdk_agent() as url:
        async with team_with(settings(url)) as team:
            seen = await see(team, a_task("die please", agent="weather", locale="en"))
    assert seen.resets == ["remote_failed"]
    assert "sunny" not in seen.text
    assert AWAY in seen.text


async def test_a_flood_is_cut_at_the_bound(weather):
    async with alone(settings(weather, max_response_bytes=65_536, timeout_s=20.0)) as agent:
        assert "cannot be used" in (await ask(agent, "flood please")).text


async def test_a_failed_task_gives_none_of_its_inner_words(weather):
    async with team_with(settings(weather)) as team:
        failed = await see(team, a_task("fail please", agent="weather", locale="en"))
        rejected = await see(team, a_task("reject please", agent="weather", locale="en"))
    assert "secret" not in failed.text
    assert AWAY in failed.text
    assert "refused the request" in rejected.text


CARDS: dict[str, dict[str, Any]] = {
    "not an object": {"": None},
    "no interface": {"supportedInterfaces": []},
    "old protocol": {"supportedInterfaces": [], "url": "http://127.0.0.1/", "protocolVersion": "0.3.0"},
    "other origin": {
        "supportedInterfaces": [
            {"url": "http://169.254.169.254/latest", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}
        ]
    },
    "credentials in the address": {
        "supportedInterfaces": [{"url": "http://u:p@127.0.0.1/", "protocolBinding": "JSONRPC"}]
    },
    "no http": {"supportedInterfaces": [{"url": "file:///etc/passwd", "protocolBinding": "JSONRPC"}]},
    "required extension": {"capabilities": {"extensions": [{"uri": "urn:x", "required": True}]}},
    "wrong types": {"skills": "all of them"},
}


@pytest.mark.parametrize("what", CARDS)
async def test_a_wrong_card_makes_an_agent_unavailable_and_is_never_asked(what):
    async def card(request: web.Request) -> web.Response:
        document = a_card(str(request.url.origin()), **CARDS[what])
        return web.json_response([] if what == "not an object" else document)

    async with raw_agent(never_asked, card=card) as url, alone(settings(url)) as agent:
        assert not agent.is_available
        assert AWAY in (await ask(agent)).text


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[" * 100_000, b'{"name":' + b'"x' * 9, "\ud800".encode("utf-16", "surrogatepass")]
)
async def test_a_card_that_is_no_json_is_survived(body):
    async def card(_: web.Request) -> web.Response:
        return web.Response(body=body, content_type="application/json")

    async with raw_agent(never_asked, card=card) as url, alone(settings(url)) as agent:
        assert not agent.is_available


async def test_a_card_larger_than_the_bound_is_not_read():
    async def card(request: web.Request) -> web.Response:
        return web.json_response(a_card(str(request.url.origin()), description="x" * 100_000))

    async with raw_agent(never_asked, card=card) as url, alone(settings(url, max_response_bytes=65_536)) as agent:
        assert not agent.is_available


async def test_redirects_are_not_followed_neither_of_the_card_nor_of_a_message():
    followed: list[str] = []

    async def inside(request: web.Request) -> web.Response:
        followed.append(request.path)
        return web.json_response(a_card(str(request.url.origin())))

    async with raw_agent(inside, card=inside) as private:

        async def elsewhere(_: web.Request) -> web.Response:
            raise web.HTTPTemporaryRedirect(f"{private}/a2a")

        async with raw_agent(never_asked, card=elsewhere) as url, alone(settings(url)) as agent:
            assert not agent.is_available
        async with raw_agent(elsewhere) as url, alone(settings(url)) as agent:
            assert "cannot be used" in (await ask(agent)).text
    assert followed == []


ANSWERS = {
    "nothing": b"",
    "no json": b"data: {\n\n",
    "no kind": b'data: {"jsonrpc":"2.0","id":"1","result":{}}\n\n',
    "neither": b'data: {"jsonrpc":"2.0","id":"1"}\n\n',
    "deep": b"data: " + b'{"result":{"message":{"parts":[{"data":' + b"[" * 50_000 + b"\n\n",
    "broken utf-8": b'data: {"result":{"message":{"parts":[{"text":"\xff"}]}}}\n\n',
    "unfinished": b'data: {"result":{"task":{"id":"t","status":{"state":"TASK_STATE_WORKING"}}}}\n\n',
    "many artifacts": b"".join(
        b'data: {"result":{"artifactUpdate":{"taskId":"t","artifact":{"artifactId":"a%d","parts":[{"text":"x"}]}}}}\n\n'
        % number
        for number in range(40)
    ),
    "no text": b'data: {"result":{"message":{"parts":[]}}}\n\n',
}


@pytest.mark.parametrize("what", ANSWERS)
async def test_an_answer_that_is_none_is_told_honestly(what):
    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=ANSWERS[what], content_type="text/event-stream")

    async with raw_agent(answer) as url, alone(settings(url)) as agent:
        work = await ask(agent)
        assert AWAY in work.text
        assert work.degraded


@pytest.mark.parametrize(
    ("status", "why"), [(401, "refused"), (404, "refused"), (500, "cannot be reached"), (429, "cannot be reached")]
)
async def test_statuses_are_what_they_mean(status, why):
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, text="internal words", headers={"Retry-After": "7"})

    async with raw_agent(answer) as url, alone(settings(url)) as agent:
        text = (await ask(agent)).text
        assert why in text
        assert "internal words" not in text


async def test_a_compressed_answer_is_not_opened():
    async def answer(_: web.Request) -> web.Response:
        headers = {"Content-Encoding": "gzip", "Content-Type": "text/event-stream"}
        return web.Response(body=b"\x1f\x8b" + b"0" * 100, headers=headers)

    async with raw_agent(answer) as url, alone(settings(url)) as agent:
        assert "cannot be used" in (await ask(agent)).text


async def test_an_agent_that_keeps_failing_is_left_alone_and_others_answer_in_its_place():
    asked: list[None] = []

    async def answer(_: web.Request) -> web.Response:
        asked.append(None)
        return web.Response(status=500)

    async with raw_agent(answer) as url, team_with(settings(url)) as team:
        for _ in range(8):
            await see(team, a_task("weather", agent="weather", locale="en"))
        assert len(asked) == 5, "the breaker opens after five failures in a row"
        assert not team.remote.agents["weather"].is_available
        assert [card.remote.is_available for card in team.cards() if card.remote] == [False]
        seen = await see(team, a_task("rain weather", locale="en"))
        assert "weather" not in seen.answered.agents


async def test_refusals_do_not_open_the_breaker():
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=400)

    async with raw_agent(answer) as url, alone(settings(url)) as agent:
        for _ in range(12):
            await ask(agent)
        assert agent.is_available


async def test_calls_beyond_the_budget_are_not_made(weather):
    async with alone(settings(weather, calls_per_minute=2)) as agent:
        texts = [(await ask(agent)).text for _ in range(3)]
    assert [AWAY in text for text in texts] == [False, False, True]


async def test_calls_beyond_those_allowed_at_once_are_not_made(weather):
    async with alone(settings(weather, max_in_flight=1, timeout_s=2.0)) as agent, asyncio.TaskGroup() as group:
        first = group.create_task(ask(agent, "slow"))
        await asyncio.sleep(0.5)
        assert "cannot be reached" in (await ask(agent)).text
    assert "did not answer in time" in first.result().text


async def test_an_agent_that_an_operator_stopped_is_not_asked():
    async with raw_agent(never_asked) as url, alone(settings(url)) as agent:
        agent.is_stopped = lambda tenant: tenant == "default"
        assert AWAY in (await ask(agent)).text


async def test_a_name_of_the_teams_own_cannot_be_taken():
    with pytest.raises(ConfigError, match="the team has an agent of that name"):
        async with team_with(settings("http://127.0.0.1:1", id="progress_tracker")):
            pass


async def test_a_skill_that_the_card_lacks_is_no_silent_nothing(weather):
    async with alone(settings(weather, skills=("forecast", "astrology"))) as agent:
        assert not agent.is_available


async def test_an_answer_that_trickles_ends_at_its_time_wherever_its_reader_is():
    async def trickle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        part = (
            b'data: {"result":{"artifactUpdate":{"taskId":"t","append":true,"artifact":{"artifactId":"a",'
            b'"parts":[{"text":"One more. "}]}}}}\n\n'
        )
        for _ in range(200):
            await response.write(part)
            await asyncio.sleep(0.05)
        return response

    async with raw_agent(trickle) as url, alone(settings(url, timeout_s=1.0)) as agent:
        work, slept = Work(agent="weather"), 0
        began_s = SystemClock().monotonic_s()
        async for _ in agent.answer(a_brief("weather"), work):
            await asyncio.sleep(0.2)
            slept += 1
        assert SystemClock().monotonic_s() - began_s < 8.0
        assert slept > 2
        assert "did not answer in time" in work.text
