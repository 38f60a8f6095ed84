from __future__ import annotations

from pathlib import Path

import pytest
from tests.turns.house import ANA, House, eventually, request

from ngx_agents.resilience.modes import Mode, Modes
from ngx_agents.turns.engine import TurnEngine
from ngx_agents.turns.model import TurnView
from ngx_agents.turns.settings import TurnSettings


@pytest.fixture
async def house(tmp_path: Path) -> House:
    made = House(tmp_path / "journal.db")
    await made.journal.open()
    await made.journal.migrate()
    return made


async def test_from_degraded_2_a_turn_that_nobody_watches_is_stopped_and_a_watched_or_more_or_less_urgent_one_is_not(
    house: House,
) -> None:
    modes = Modes(clock=house.clock)
    settings = TurnSettings(drain_s=0.05, unwatched_s=0.2)
    async with TurnEngine(
        journal=house.journal, team=house.team, ids=house.ids, clock=house.clock, metrics=house.metrics,
        settings=settings, modes=modes,
    ) as engine:  # fmt: skip
        left = await engine.accept(request(await house.conversation(), "said hold"))
        watched = await engine.accept(request(await house.conversation(), "said hold"))
        critical = await engine.accept(request(await house.conversation(), "said hold", turn_class=0))
        batch = await engine.accept(request(await house.conversation(), "said hold", turn_class=3))
        subscription = await engine.subscribe(watched.turn_id, ANA, None)
        await eventually(lambda: house.team.running == 4)
        await house.clock.sleep(0.5)
        assert house.team.running == 4
        modes.force(Mode.DEGRADED_2, by="ana", reason="a drill")
        view = await _ended(engine, left.turn_id)
        assert (view.status, view.code, view.message, view.text) == (
            "cancelled", "unwatched", "nobody watched it", "said hold ",
        )  # fmt: skip
        await house.clock.sleep(0.5)
        assert house.team.running == 3
        house.team.release.set()
        for accepted in (watched, critical, batch):
            assert (await engine.wait(accepted.turn_id, ANA)).status == "completed"
        subscription.close()
    await house.journal.close()


async def _ended(engine: TurnEngine, turn_id: str) -> TurnView:
    """Looked at without watching."""
    found: list[TurnView] = []

    async def is_over() -> bool:
        found[:] = [await engine.view(turn_id, ANA)]
        return found[0].status == "cancelled"

    await eventually(is_over)
    return found[0]
