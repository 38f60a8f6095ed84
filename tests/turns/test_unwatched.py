from __future__ import annotations

from pathlib import Path

import pytest
from tests.turns.house import ANA, House, eventually, request

from ngx_agents.resilience.modes import Mode, Modes
from ngx_agents.turns.engine import TurnEngine
from ngx_agents.turns.model import TurnView
from ngx_agents.turns.settings import CLASS_TIMEOUT_S, TurnSettings


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


def test_by_default_it_is_seen_before_an_interactive_turns_time_is_up() -> None:
    assert TurnSettings().unwatched_s <= CLASS_TIMEOUT_S[1] / 2


async def test_who_asks_how_it_stands_or_is_told_its_end_by_a_webhook_watches(house: House) -> None:
    modes = Modes(clock=house.clock)
    modes.force(Mode.DEGRADED_2, by="ana", reason="a drill")
    async with TurnEngine(
        journal=house.journal, team=house.team, ids=house.ids, clock=house.clock, metrics=house.metrics,
        settings=TurnSettings(drain_s=0.05, unwatched_s=0.4), modes=modes,
    ) as engine:  # fmt: skip
        polled = await engine.accept(request(await house.conversation(), "said hold"))
        posted = await engine.accept(request(await house.conversation(), "said hold"))
        left = await engine.accept(request(await house.conversation(), "said hold"))
        engine._turns.get(posted.turn_id).is_posted = True  # type: ignore[union-attr]  # it runs
        for _ in range(15):
            await house.clock.sleep(0.1)
            assert (await engine.view(polled.turn_id, ANA)).status == "running"
        assert (await _ended(engine, left.turn_id)).code == "unwatched"
        house.team.release.set()
        for accepted in (polled, posted):
            assert (await engine.wait(accepted.turn_id, ANA)).status == "completed"
    await house.journal.close()


async def test_another_instances_word_ends_it_only_from_degraded_2_and_when_nobody_else_listens(house: House) -> None:
    modes = Modes(clock=house.clock)
    async with TurnEngine(
        journal=house.journal, team=house.team, ids=house.ids, clock=house.clock, metrics=house.metrics,
        settings=TurnSettings(drain_s=0.05, unwatched_s=60.0), modes=modes,
    ) as engine:  # fmt: skip
        turn = await engine.accept(request(await house.conversation(), "said hold"))
        critical = await engine.accept(request(await house.conversation(), "said hold", turn_class=0))
        await eventually(lambda: house.team.running == 2)
        relay = engine.subscribe_here(turn.turn_id, ANA, None)
        live = engine._turns.get(turn.turn_id)
        assert live is not None
        engine.stop_here(turn.turn_id, ANA, "unwatched")
        assert live.stop_code is None
        modes.force(Mode.DEGRADED_2, by="ana", reason="a drill")
        other = engine.subscribe_here(turn.turn_id, ANA, None)
        engine.stop_here(turn.turn_id, ANA, "unwatched")
        assert live.stop_code is None
        other.close()
        engine.stop_here(critical.turn_id, ANA, "unwatched")
        engine.stop_here(turn.turn_id, ANA, "unwatched")
        assert (await _ended(engine, turn.turn_id)).code == "unwatched"
        relay.close()
        house.team.release.set()
        assert (await engine.wait(critical.turn_id, ANA)).status == "completed"
    await house.journal.close()


async def _ended(engine: TurnEngine, turn_id: str) -> TurnView:
    """Looked at without watching."""
    found: list[TurnView] = []

    async def is_over() -> bool:
        found[:] = [await engine._turns.view_of(await engine._turns.stored(turn_id, ANA))]
        return found[0].status == "cancelled"

    await eventually(is_over)
    return found[0]
