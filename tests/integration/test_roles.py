"""Real processes with one role each, on a real Postgres and Valkey: a gateway, workers, and a single agent alone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest
from tests.integration.several import House, instances
from tests.postgres_process import PostgresServer, postgres_server
from tests.server_process import ServerProcess
from tests.valkey_process import valkey

__all__ = ["postgres_server"]

NUTRITION = "precision_nutrition_architect"
HERE = "orchestrator,elite_training_strategist,progress_tracker"
MENU = "hazme un menú semanal"
GATEWAY, WORKER, AGENT, SPARE_WORKER, SPARE_AGENT = range(5)
CONVERSATIONS = 12
TURNS = 2
EACH = {
    "g": {"NGX_ROLE": "gateway"},
    "w": {"NGX_ROLE": "worker", "NGX_AGENTS": HERE},
    "n": {"NGX_ROLE": "worker", "NGX_AGENTS": NUTRITION, "NGX_JOURNAL_URL": ""},
}
EACH |= {"s": EACH["w"], "m": EACH["n"]}


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    with valkey() as server:
        yield f"redis://127.0.0.1:{server.port}/0"


@pytest.fixture(scope="module")
def servers(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer, redis_url: str
) -> Iterator[list[ServerProcess]]:
    """A gateway, a worker without the nutritionist, the nutritionist, and one more of each of the two."""
    folder = tmp_path_factory.mktemp("roles")
    with instances(folder, postgres_server, "gwnsm", each=EACH, chunk_gap_ms=40, NGX_REDIS_URL=redis_url) as started:
        yield started


@pytest.fixture
async def house(servers: list[ServerProcess]) -> AsyncIterator[House]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=50)) as session:
        yield House(servers, session)


async def counted(house: House, number: int, name: str, *labels: str) -> float:
    """The sum of a metric's series that have these labels."""
    async with house.session.get(house.url(number) + "/metrics") as answer:
        lines = (await answer.text()).splitlines()
    series = [line.rsplit(" ", 1) for line in lines if line.startswith((f"{name} ", f"{name}{{"))]
    return sum(float(value) for key, value in series if all(label in key for label in labels))


async def test_a_turn_goes_from_the_gateway_to_a_worker_to_an_agent_and_what_it_makes_comes_back(
    tmp_path: Path, postgres_server: PostgresServer, redis_url: str
) -> None:
    own = f"{redis_url}?namespace=templates"
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=50)) as session:
        with instances(
            tmp_path, postgres_server, "gwn", each=EACH, NGX_REDIS_URL=own, NGX_VERTEX_BASE_URL=""
        ) as started:  # fmt: skip
            await _through_three(House(started, session))


async def _through_three(house: House) -> None:
    conversation_id = await house.conversation()
    turn_id = await house.begin(GATEWAY, conversation_id, MENU)
    text, last, resets = await house.heard(GATEWAY, turn_id)
    async with house.session.get(f"{house.url(GATEWAY)}/v1/turns/{turn_id}") as answer:
        turn = await answer.json()
    assert (last, resets, turn["text"]) == ("turn.completed", 0, text)
    assert (turn["agents"], turn["degraded"]) == ([NUTRITION], False)
    assert [made["kind"] for made in turn["artifacts"]] == ["MealPlan"]
    async with house.session.get(f"{house.url(GATEWAY)}/v1/me/artifacts?turn_id={turn_id}") as answer:
        assert [made["kind"] for made in (await answer.json())["items"]] == ["MealPlan"]
    assert await counted(house, AGENT, "ngx_a2a_messages_total", NUTRITION, "completed") == 1
    assert await counted(house, WORKER, "ngx_turns_total", "completed") == 1
    assert await counted(house, GATEWAY, "ngx_turns_total", "completed") == 0

    both = f"/v1/conversations/{conversation_id}/turns"
    status, turn = await house.post(GATEWAY, both, {"text": f"Quiero un plan de entrenamiento y {MENU}"})
    assert (status, turn["degraded"]) == (200, False)
    assert {made["kind"] for made in turn["artifacts"]} == {"TrainingPlan", "MealPlan"}
    assert await counted(house, AGENT, "ngx_a2a_messages_total", NUTRITION, "completed") == 2

    for path in ("/v1/agents", "/", "/v1/conversations"):
        async with house.session.get(house.url(WORKER) + path) as answer:
            assert answer.status == 404
    for number in (WORKER, AGENT):
        for path in ("/livez", "/readyz"):
            async with house.session.get(house.url(number) + path) as answer:
                assert answer.status == 200
        status, _ = await house.post(number, "/v1/conversations", {}) if number == WORKER else (404, None)
        assert status == 404


async def running(house: House) -> float:
    """What the nutritionists work on."""
    return sum([await counted(house, number, "ngx_a2a_running", NUTRITION) for number in (AGENT, SPARE_AGENT)])


async def test_a_cancel_at_the_gateway_ends_the_agents_work_within_a_second(house: House) -> None:
    turn_id = await house.begin(GATEWAY, await house.conversation(), MENU)
    async for name, _, _, _ in house.events(GATEWAY, turn_id):
        if name == "text.delta":
            break
    assert await running(house) == 1
    began_s = time.monotonic()
    status, _ = await house.post(GATEWAY, f"/v1/turns/{turn_id}/cancel", {})
    assert status == 200
    while await running(house):
        assert time.monotonic() - began_s < 1.0
        await asyncio.sleep(0.02)
    text, last, _ = await house.heard(GATEWAY, turn_id)
    assert last == "turn.cancelled"
    assert text


async def talk(house: House, heard: dict[str, tuple[str, str, int]]) -> str:
    """Some turns in one conversation, each heard to its end at the gateway."""
    conversation_id = await house.conversation()
    for number in range(TURNS):
        turn_id = await house.begin(GATEWAY, conversation_id, f"{MENU} numero {number}")
        heard[turn_id] = await house.heard(GATEWAY, turn_id)
    return conversation_id


async def talk_while(house: House, kill: int) -> dict[str, tuple[str, str, int]]:
    """Loads the house, kills one process in the middle; checks that every turn was answered, once, as it was heard."""
    heard: dict[str, tuple[str, str, int]] = {}
    async with asyncio.TaskGroup() as group:
        talking = [group.create_task(talk(house, heard)) for _ in range(CONVERSATIONS)]
        while len(heard) < CONVERSATIONS // 2:  # noqa: ASYNC110  # what is waited for is in other processes
            await asyncio.sleep(0.01)
        house.servers[kill].kill()
    assert len(heard) == CONVERSATIONS * TURNS
    assert {last for _, last, _ in heard.values()} == {"turn.completed"}
    for task in talking:
        messages = await house.messages(GATEWAY, task.result())
        assert [message["role"] for message in messages] == ["user", "assistant"] * TURNS
    for turn_id, (text, _, _) in heard.items():
        async with house.session.get(f"{house.url(GATEWAY)}/v1/turns/{turn_id}") as answer:
            assert (await answer.json())["text"] == text
    return heard


async def test_a_worker_that_is_killed_leaves_no_turn_unanswered_or_answered_twice(house: House) -> None:
    before = await counted(house, SPARE_WORKER, "ngx_turns_total", "completed")
    heard = await talk_while(house, WORKER)
    assert await counted(house, SPARE_WORKER, "ngx_turns_total", "completed") - before >= len(heard) // 3
    house.servers[WORKER].start()


async def test_an_agent_that_is_killed_is_replaced_by_another(house: House) -> None:
    before = await counted(house, SPARE_AGENT, "ngx_a2a_messages_total", NUTRITION, "completed")
    await talk_while(house, AGENT)
    assert await counted(house, SPARE_AGENT, "ngx_a2a_messages_total", NUTRITION, "completed") > before
    house.servers[AGENT].start()


@pytest.mark.slow
async def test_an_agent_that_nobody_serves_any_more_is_answered_for_until_it_is_back(house: House) -> None:
    house.servers[SPARE_AGENT].kill()
    await talk_while(house, AGENT)
    status, turn = await house.post(GATEWAY, f"/v1/conversations/{await house.conversation()}/turns", {"text": MENU})
    assert (status, turn["status"], turn["source"], turn["degraded"]) == (200, "completed", "template", True)
    assert [made["kind"] for made in turn["artifacts"]] == ["MealPlan"]
    house.servers[AGENT].start()
    house.servers[SPARE_AGENT].start()
    async with asyncio.timeout(20):
        while turn["degraded"]:
            path = f"/v1/conversations/{await house.conversation()}/turns"
            _, turn = await house.post(GATEWAY, path, {"text": MENU})
    assert turn["source"] == "model"


async def test_an_agent_that_is_told_to_stop_finishes_what_it_has(house: House) -> None:
    turn_id = await house.begin(GATEWAY, await house.conversation(), MENU)
    async for name, _, _, _ in house.events(GATEWAY, turn_id):
        if name == "text.delta":
            break
    stopping = [asyncio.create_task(asyncio.to_thread(house.servers[number].stop)) for number in (AGENT, SPARE_AGENT)]
    _, last, resets = await house.heard(GATEWAY, turn_id)
    assert (last, resets) == ("turn.completed", 0)
    assert [await each for each in stopping] == [0, 0]
    for number in (AGENT, SPARE_AGENT):
        house.servers[number].start()
