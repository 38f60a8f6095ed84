"""Two real servers on one Postgres: whichever is asked, the answer is the same."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from statistics import median

import aiohttp
import pytest
from tests.integration.several import House, instances
from tests.integration.test_kill import _wait_for_end
from tests.postgres_process import PostgresServer, postgres_server
from tests.server_process import ServerProcess

__all__ = ["postgres_server"]

RELAYED_WITHIN_S = 0.005


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer) -> Iterator[list[ServerProcess]]:
    with instances(tmp_path_factory.mktemp("two"), postgres_server, "ab") as started:
        yield started


@pytest.fixture
async def house(servers: list[ServerProcess]) -> AsyncIterator[House]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
        yield House(servers, session)


async def test_a_turn_of_one_instance_is_streamed_by_the_other(house: House) -> None:
    turn_id = await house.begin(0, await house.conversation(), "Dame un consejo para dormir mejor")
    (here, last_here, _), (there, last_there, _) = await asyncio.gather(
        house.heard(0, turn_id), house.heard(1, turn_id)
    )
    assert here == there != ""
    assert (last_here, last_there) == ("turn.completed", "turn.completed")
    assert await house.heard(1, turn_id) == (here, "turn.completed", 0)


async def test_events_have_the_same_ids_wherever_they_are_heard(house: House) -> None:
    turn_id = await house.begin(0, await house.conversation(), "Dame un consejo para correr")
    ids: list[list[str]] = [[], []]

    async def listen(number: int) -> None:
        async for name, _, event_id, _ in house.events(number, turn_id):
            if name != "turn.accepted" and event_id:
                ids[number].append(event_id)

    await asyncio.gather(listen(0), listen(1))
    common = len(set(ids[0]) & set(ids[1]))
    assert common >= 5
    assert [each for each in ids[1] if each in ids[0]] == [each for each in ids[0] if each in ids[1]]


async def test_a_listener_may_go_on_at_the_other_instance(house: House) -> None:
    turn_id = await house.begin(0, await house.conversation(), "Dame un consejo para entrenar")
    text, after = "", ""
    async for name, data, event_id, _ in house.events(0, turn_id):
        if name == "text.delta":
            text, after = text + data["text"], event_id
            if len(text) > 40:
                break
    rest, last, resets = await house.heard(1, turn_id, after)
    whole, _, _ = await house.heard(0, turn_id)
    assert last == "turn.completed"
    assert (rest if resets else text + rest) == whole


async def test_a_turn_waits_behind_the_one_that_runs_elsewhere_and_is_awaited_here(house: House) -> None:
    conversation_id = await house.conversation()
    first = await house.begin(0, conversation_id, "Dame un consejo primero")
    status, second = await house.post(1, f"/v1/conversations/{conversation_id}/turns", {"text": "¿Y otro más?"})
    assert (status, second["status"]) == (200, "completed")
    async with house.session.get(f"{house.url(1)}/v1/turns/{first}") as answer:
        assert (await answer.json())["status"] == "completed"
    async with house.session.get(f"{house.url(1)}/v1/conversations/{conversation_id}/messages") as answer:
        texts = [message["text"] for message in (await answer.json())["items"] if message["role"] == "user"]
    assert texts == ["Dame un consejo primero", "¿Y otro más?"]


async def test_a_cancel_reaches_the_instance_that_runs_the_turn(house: House) -> None:
    turn_id = await house.begin(0, await house.conversation(), "Dame un consejo muy largo")
    listening = asyncio.ensure_future(house.heard(0, turn_id))
    await asyncio.sleep(0.3)
    status, _ = await house.post(1, f"/v1/turns/{turn_id}/cancel", {})
    assert status == 200
    began = time.monotonic()
    _, last, _ = await listening
    assert last == "turn.cancelled"
    assert time.monotonic() - began < 1.0


async def test_an_interrupt_reaches_the_instance_that_runs_the_turn(house: House) -> None:
    conversation_id = await house.conversation()
    first = await house.begin(0, conversation_id, "Dame un consejo larguísimo")
    await asyncio.sleep(0.3)
    second = await house.begin(1, conversation_id, "Mejor otra cosa", when_busy="interrupt")
    assert (await house.heard(1, second))[1] == "turn.completed"
    assert (await house.heard(1, first))[1] == "turn.cancelled"


async def test_one_key_is_one_turn_whichever_instance_is_asked(house: House) -> None:
    path = f"/v1/conversations/{await house.conversation()}/turns"
    key = {"Idempotency-Key": "instances-1"}
    answers = await asyncio.gather(
        *(house.post(number % 2, path, {"text": "Un consejo"}, Prefer="respond-async", **key) for number in range(10))
    )
    assert len({turn["turn_id"] for _, turn in answers}) == 1
    status, _ = await house.post(1, path, {"text": "Otro consejo"}, **key)
    assert status == 409


async def test_messages_by_two_instances_are_all_in_the_conversation_in_order(house: House) -> None:
    conversation_id = await house.conversation()
    turns = await asyncio.gather(
        *(house.begin(number % 2, conversation_id, f"mensaje {number}") for number in range(6))
    )
    for turn_id in turns:
        found = await _wait_for_end(house.session, house.url(0), turn_id, 40)
        assert found["status"] == "completed", found
    async with house.session.get(f"{house.url(1)}/v1/conversations/{conversation_id}/messages?limit=100") as answer:
        items = (await answer.json())["items"]
    assert [message["role"] for message in items] == ["user", "assistant"] * 6


async def test_a_relayed_event_comes_a_few_milliseconds_later(house: House) -> None:
    """What else the machine does only adds: the best of some turns is nearest to what the relay itself costs."""

    async def when(number: int, turn_id: str) -> dict[str, float]:
        return {event_id: at_s async for _, _, event_id, at_s in house.events(number, turn_id) if event_id}

    late_s = [RELAYED_WITHIN_S + 1]
    for _ in range(6):
        turn_id = await house.begin(0, await house.conversation(), "Dame un consejo para correr")
        here, there = await asyncio.gather(when(0, turn_id), when(1, turn_id))
        common = here.keys() & there.keys()
        assert len(common) >= 5
        late_s.append(median(there[each] - here[each] for each in common))
        if late_s[-1] <= RELAYED_WITHIN_S:
            break
    assert min(late_s) <= RELAYED_WITHIN_S


async def test_a_busy_conversation_refuses_and_coalesces_wherever_it_is_asked(house: House) -> None:
    conversation_id = await house.conversation()
    path = f"/v1/conversations/{conversation_id}/turns"
    await house.begin(0, conversation_id, "Dame un consejo")
    status, refusal = await house.post(1, path, {"text": "¿Y?", "when_busy": "reject"}, Prefer="respond-async")
    assert (status, refusal["code"]) == (409, "conversation_busy")
    waiting = await house.begin(0, conversation_id, "Espera")
    assert await house.begin(1, conversation_id, "y suma esto", when_busy="coalesce") == waiting
    assert (await house.heard(1, waiting))[1] == "turn.completed"
    assert len([message for message in await house.messages(0, conversation_id) if message["role"] == "assistant"]) == 2


async def test_peers_are_refused_without_the_houses_signature(house: House) -> None:
    turn_id = await house.begin(0, await house.conversation(), "Dame un consejo")
    for headers in ({}, {"x-ngx-owner": "local/local", "x-ngx-signature": f"{time.time():.3f}.{'0' * 64}"}):
        async with house.session.get(f"{house.url(0)}/internal/turns/{turn_id}/events", headers=headers) as answer:
            assert answer.status == 401
