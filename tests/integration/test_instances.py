"""Two real servers on one Postgres: any of them answers for any turn, and one takes over what the other leaves."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp
import pytest
from tests.emulator_process import start_emulator
from tests.integration.test_kill import Writer, _check, _stored, _wait_for_end
from tests.postgres_process import emptied, postgres_server
from tests.server_process import ServerProcess

from ngx_agents.clock import Rng

__all__ = ["emptied", "postgres_server"]

WRITERS = 20
TAKEOVER_LIMIT_S, TAKEOVER_MEDIAN_S = 8.0, 6.0
ENDS = ("turn.completed", "turn.failed", "turn.cancelled")


class House:
    """Two instances, and a client of each."""

    def __init__(self, servers: list[ServerProcess], session: aiohttp.ClientSession) -> None:
        self.servers = servers
        self.session = session

    def url(self, number: int) -> str:
        return self.servers[number].base_url

    async def post(self, number: int, path: str, body: Any, **headers: str) -> tuple[int, Any]:
        async with self.session.post(self.url(number) + path, json=body, headers=headers) as answer:
            return answer.status, await answer.json()

    async def conversation(self) -> str:
        _, made = await self.post(0, "/v1/conversations", {})
        found: str = made["id"]
        return found

    async def begin(self, number: int, conversation_id: str, text: str, **body: str) -> str:
        path = f"/v1/conversations/{conversation_id}/turns"
        status, turn = await self.post(number, path, {"text": text, **body}, Prefer="respond-async")
        assert status == 202, turn
        found: str = turn["turn_id"]
        return found

    async def events(self, number: int, turn_id: str, after: str = "") -> AsyncIterator[tuple[str, Any, str, float]]:
        """(name, data, id, when it came)."""
        headers = {"Last-Event-ID": after} if after else {}
        url = f"{self.url(number)}/v1/turns/{turn_id}/events"
        async with self.session.get(url, headers=headers) as answer:
            rest = b""
            async for chunk in answer.content.iter_any():
                *frames, rest = (rest + chunk).split(b"\n\n")
                for frame in frames:
                    fields = dict(line.split(": ", 1) for line in frame.decode().split("\n") if ": " in line)
                    if "event" in fields:
                        yield fields["event"], json.loads(fields["data"]), fields.get("id", ""), time.monotonic()

    async def heard(self, number: int, turn_id: str, after: str = "") -> tuple[str, str, int]:
        """(text of a listener who obeys resets, the last event's name, resets)."""
        text, last, resets = "", "", 0
        async for name, data, _, _ in self.events(number, turn_id, after):
            last = name
            if name == "text.delta":
                text += data["text"]
            elif name == "text.reset":
                text, resets = "", resets + 1
        return text, last, resets


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as made:
        yield made


@pytest.fixture
def house(emptied: str, tmp_path: Path, session: aiohttp.ClientSession) -> Iterator[House]:
    with ExitStack() as stack:
        model_url = stack.enter_context(start_emulator(ttft_ms=30, chunks=40, chunk_gap_ms=25))
        yield House([_server(stack, tmp_path / name, emptied, model_url) for name in ("a", "b")], session)


def _server(stack: ExitStack, folder: Path, journal: str, model_url: str, **environ: str) -> ServerProcess:
    folder.mkdir()
    process = ServerProcess(
        folder,
        NGX_JOURNAL_URL=journal,
        NGX_SECRET_KEY="the same secret on every instance of it",
        NGX_VERTEX_BASE_URL=model_url,
        NGX_VERTEX_CACHE_ENABLED="false",
        NGX_SERVER_LOG_LEVEL="error",
        **environ,
    )
    return stack.enter_context(process)


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
    key = {"Idempotency-Key": "k-1"}
    answers = await asyncio.gather(
        *(house.post(number % 2, path, {"text": "Un consejo"}, Prefer="respond-async", **key) for number in range(10))
    )
    assert len({turn["turn_id"] for _, turn in answers}) == 1
    status, _ = await house.post(1, path, {"text": "Otro consejo"}, **key)
    assert status == 409


async def test_twenty_messages_by_two_instances_are_twenty_in_the_conversation(house: House) -> None:
    conversation_id = await house.conversation()
    turns = await asyncio.gather(
        *(house.begin(number % 2, conversation_id, f"mensaje {number}") for number in range(20))
    )
    for turn_id in turns:
        found = await _wait_for_end(house.session, house.url(0), turn_id, 40)
        assert found["status"] == "completed", found
    async with house.session.get(f"{house.url(1)}/v1/conversations/{conversation_id}/messages?limit=100") as answer:
        items = (await answer.json())["items"]
    assert [message["role"] for message in items] == ["user", "assistant"] * 20


async def test_a_killed_instances_turn_is_taken_over_and_its_listener_goes_on(house: House) -> None:
    turn_id = await house.begin(0, await house.conversation(), "Dame un consejo para el viaje")
    hearing = asyncio.ensure_future(house.heard(1, turn_id))
    await asyncio.sleep(0.4)
    house.servers[0].kill()
    began = time.monotonic()
    text, last, resets = await hearing
    assert (last, resets) == ("turn.completed", 1)
    assert time.monotonic() - began < TAKEOVER_LIMIT_S + 3
    stored = await _wait_for_end(house.session, house.url(1), turn_id, 1)
    assert stored["text"] == text


async def test_a_paused_owner_writes_nothing_when_it_wakes(house: House) -> None:
    conversation_id = await house.conversation()
    turn_id = await house.begin(0, conversation_id, "Dame un consejo con calma")
    await asyncio.sleep(0.3)
    house.servers[0].signal(signal.SIGSTOP)
    try:
        found = await _wait_for_end(house.session, house.url(1), turn_id, 15)
        assert found["status"] == "completed"
    finally:
        house.servers[0].signal(signal.SIGCONT)
    await asyncio.sleep(1.5)
    again = await _wait_for_end(house.session, house.url(1), turn_id, 1)
    assert again == found
    async with house.session.get(f"{house.url(1)}/v1/conversations/{conversation_id}/messages") as answer:
        assert len((await answer.json())["items"]) == 2
    assert (await house.heard(0, await house.begin(0, conversation_id, "¿Sigues ahí?")))[1] == "turn.completed"


async def test_peers_are_refused_without_the_houses_signature(house: House) -> None:
    turn_id = await house.begin(0, await house.conversation(), "Dame un consejo")
    for headers in ({}, {"x-ngx-owner": "local/local", "x-ngx-signature": f"{time.time():.3f}.{'0' * 64}"}):
        async with house.session.get(f"{house.url(0)}/internal/turns/{turn_id}/events", headers=headers) as answer:
            assert answer.status == 401


async def _kill_rounds(house: House, rounds: int) -> list[float]:
    """Seconds from each kill until the first turn that was left behind had ended; the instances die by turns."""
    rng, took = Rng(5), list[float]()
    writers = [Writer(house.session, number) for number in range(WRITERS)]
    for writer in writers:
        await writer.open(house.url(0))
    for number in range(rounds):
        victim, other = number % 2, 1 - number % 2
        async with asyncio.TaskGroup() as tasks:
            for writer in writers:
                tasks.create_task(writer.ask_until_killed(house.url(victim)))
            await asyncio.sleep(rng.uniform(0.4, 1.0))
            house.servers[victim].kill()
        killed_s = time.monotonic()
        left = [writer.acknowledged[-1] for writer in writers if writer.acknowledged]
        for turn_id in left:
            await _wait_for_end(house.session, house.url(other), turn_id, 25)
        took.append(time.monotonic() - killed_s)
        house.servers[victim].start()
    for writer in writers:
        for turn_id in writer.acknowledged:
            turn = await _wait_for_end(house.session, house.url(0), turn_id, 30)
            assert turn["status"] in ("completed", "failed"), turn
        _check(writer, await _stored(house.session, house.url(1), writer))
    return took


@pytest.mark.timeout(180)
async def test_what_two_dying_instances_acknowledged_is_answered_once_and_in_order(house: House) -> None:
    await _kill_rounds(house, 2)


@pytest.mark.slow
async def test_twenty_kills_lose_nothing(house: House) -> None:
    await _kill_rounds(house, 20)


@pytest.mark.slow
async def test_a_takeover_takes_at_most_eight_seconds(house: House) -> None:
    took: list[float] = []
    for number in range(6):
        victim, other = number % 2, 1 - number % 2
        turn_id = await house.begin(victim, await house.conversation(), f"Un consejo {number}")
        await asyncio.sleep(0.3)
        house.servers[victim].kill()
        began = time.monotonic()
        async for name, *_ in house.events(other, turn_id):
            if name == "turn.started" and time.monotonic() - began > 0.5:
                took.append(time.monotonic() - began)
                break
        house.servers[victim].start()
    assert len(took) == 6
    assert max(took) <= TAKEOVER_LIMIT_S, took
    assert median(took) <= TAKEOVER_MEDIAN_S, took
