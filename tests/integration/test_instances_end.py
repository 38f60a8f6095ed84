"""Several real servers on one Postgres that are killed, stopped and paused: nothing is lost or doubled."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import aiohttp
import pytest
from tests.integration.several import House, instances
from tests.integration.test_kill import Writer, _check, _stored, _wait_for_end
from tests.postgres_process import PostgresServer, postgres_server
from tests.thorough import rounds
from tests.valkey_process import valkey

from ngx_agents.clock import Rng

__all__ = ["postgres_server"]

WRITERS = 20
TAKEOVER_LIMIT_S, TAKEOVER_MEDIAN_S = 8.0, 6.0
HANDOVER_LIMIT_S = 0.1 + 2.0 + 1.5  # the time to drain, the time for open streams, a look for lanes
TAKEOVERS = 12


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as made:
        yield made


@pytest.fixture
def house(tmp_path: Path, postgres_server: PostgresServer, session: aiohttp.ClientSession) -> Iterator[House]:
    with instances(tmp_path, postgres_server, "ab") as servers:
        yield House(servers, session)


async def test_a_third_instance_goes_on_for_a_killed_and_a_paused_one(
    tmp_path: Path, postgres_server: PostgresServer, session: aiohttp.ClientSession
) -> None:
    with instances(tmp_path, postgres_server, "abc") as servers:
        house = House(servers, session)
        conversations = [await house.conversation(), await house.conversation()]
        turns = [await house.begin(number, conversations[number], "Dame un consejo con calma") for number in (0, 1)]
        hearing = [asyncio.ensure_future(house.heard(2, turn_id)) for turn_id in turns]
        await asyncio.sleep(0.4)
        servers[0].kill()
        servers[1].signal(signal.SIGSTOP)
        began_s = time.monotonic()
        heard = await asyncio.gather(*hearing)
        assert time.monotonic() - began_s < TAKEOVER_LIMIT_S + 3
        stored = [await _wait_for_end(session, house.url(2), turn_id, 1) for turn_id in turns]
        servers[1].signal(signal.SIGCONT)
        assert heard == [(turn["text"], "turn.completed", 1) for turn in stored]
        await asyncio.sleep(1.5)  # what the paused one was about to write
        assert [await _wait_for_end(session, house.url(1), turn_id, 1) for turn_id in turns] == stored
        assert [len(await house.messages(2, each)) for each in conversations] == [2, 2]
        after = await house.begin(1, conversations[1], "¿Sigues ahí?")
        assert (await house.heard(1, after))[1] == "turn.completed"


async def _begins_again_s(house: House, number: int, turn_id: str) -> float:
    """When the first event of the turn's second grant came."""
    async for _, _, event_id, at_s in house.events(number, turn_id):
        if event_id.startswith("2-"):
            return at_s
    raise AssertionError("the turn was not taken over")


@pytest.mark.parametrize(
    "is_hinted", [pytest.param(False, marks=pytest.mark.slow, id="polling"), pytest.param(True, id="hints")]
)
async def test_a_stopped_instance_hands_its_lanes_over_without_a_wait(
    tmp_path: Path, postgres_server: PostgresServer, session: aiohttp.ClientSession, is_hinted: bool
) -> None:
    with ExitStack() as stack:
        environ = {"NGX_SERVER_DRAIN_S": "0.1"}
        if is_hinted:
            environ["NGX_REDIS_URL"] = f"redis://127.0.0.1:{stack.enter_context(valkey()).port}/0"
        servers = stack.enter_context(instances(tmp_path, postgres_server, "ab", chunk_gap_ms=100, **environ))
        house = House(servers, session)
        turn_id = await house.begin(0, await house.conversation(), "Dame un consejo largo")
        hearing = asyncio.ensure_future(house.heard(1, turn_id))
        await asyncio.sleep(0.3)
        began_s = time.monotonic()
        servers[0].signal(signal.SIGTERM)
        assert await _begins_again_s(house, 1, turn_id) - began_s < HANDOVER_LIMIT_S
        text, last, _ = await hearing
        stored = await _wait_for_end(session, house.url(1), turn_id, 1)
        assert (text, last) == (stored["text"], "turn.completed")
        assert servers[0].stop() == 0


async def _kill_rounds(house: House, kills: int) -> list[float]:
    """Seconds from each kill until the first turn that was left behind had ended; the instances die by turns."""
    rng, took = Rng(5), list[float]()
    writers = [Writer(house.session, number) for number in range(WRITERS)]
    for writer in writers:
        await writer.open(house.url(0))
    for number in range(kills):
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
    await _kill_rounds(house, 1)


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_kill_after_kill_loses_nothing(house: House) -> None:
    await _kill_rounds(house, rounds(3, thorough=20))


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(300)
async def test_a_takeover_takes_at_most_eight_seconds(house: House) -> None:
    took: list[float] = []
    for number in range(rounds(4, thorough=TAKEOVERS)):
        victim, other = number % 2, 1 - number % 2
        turn_id = await house.begin(victim, await house.conversation(), f"Un consejo {number}")
        await asyncio.sleep(0.3)
        house.servers[victim].kill()
        began = time.monotonic()
        took.append(await _begins_again_s(house, other, turn_id) - began)
        house.servers[victim].start()
    assert max(took) <= TAKEOVER_LIMIT_S, took
    assert median(took) <= TAKEOVER_MEDIAN_S, took
