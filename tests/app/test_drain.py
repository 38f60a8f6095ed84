"""Leaving: not ready first, everything served until load balancers know, then nothing new, then nothing at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ngx_agents.app.drain import Drain
from ngx_agents.errors import Draining
from tests.turns.house import ANA, House, eventually, heard, request


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    made = House(tmp_path / "journal.db")
    await made.journal.open()
    await made.journal.migrate()
    yield made
    await made.journal.close()


async def test_until_load_balancers_had_time_to_notice_everything_is_served(house: House) -> None:
    async with house.engine(drain_s=0.2) as engine, asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        drain = Drain(engine, delay_s=0.3)
        leaving = tasks.create_task(drain.run())
        await asyncio.sleep(0.02)
        assert not drain.is_leaving
        drain.tell()
        assert drain.is_leaving
        accepted = await engine.accept(request(await house.conversation(), "one more"))
        view = await engine.wait(accepted.turn_id, ANA)
        assert view.status == "completed"
        await leaving
        with pytest.raises(Draining):
            await engine.accept(request(await house.conversation(), "too late"))


async def test_what_still_runs_at_the_end_is_given_back_and_its_listeners_are_sent_elsewhere(house: House) -> None:
    conversation = await house.conversation()
    async with house.engine(drain_s=0.05) as engine, asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        drain = Drain(engine, delay_s=0.0)
        accepted = await engine.accept(request(conversation, "one hold two"))
        hearing = tasks.create_task(heard(engine, accepted.turn_id))
        waiting = asyncio.ensure_future(engine.wait(accepted.turn_id, ANA))
        await eventually(lambda: house.team.running == 1)
        drain.tell()
        await drain.run()
        with pytest.raises(Draining):
            await waiting
        assert (await hearing).endswith(": the turn goes on elsewhere, come back\n\n")
        with pytest.raises(Draining):
            await engine.subscribe(accepted.turn_id, ANA, None)
    house.team.release.set()
    async with house.engine() as following:
        assert "turn.completed" in await heard(following, accepted.turn_id)


async def test_told_twice_it_waits_for_nothing(house: House) -> None:
    async with house.engine(drain_s=60) as engine, asyncio.TaskGroup() as tasks:
        drain = Drain(engine, delay_s=60)
        leaving = tasks.create_task(drain.run())
        await engine.accept(request(await house.conversation(), "hold"))
        drain.tell()
        await asyncio.sleep(0.05)
        assert not leaving.done()
        drain.tell()
        async with asyncio.timeout(5):
            await leaving
        assert drain.is_hurried
