"""Looking again and again: whom it leaves alone, and what it does when the journal is away."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.resilience.hand_clock import HandClock
from tests.turns.house import ANA, BEN, House

from ngx_agents.clock import Rng
from ngx_agents.errors import Forbidden, JournalUnavailable, NgxError, Overloaded, RateLimited
from ngx_agents.resilience.modes import Mode, Modes
from ngx_agents.state.model import Owner
from ngx_agents.turns.engine import TurnEngine
from ngx_agents.turns.lookout import REFUSED_S, Lookout


def lookout(engine: TurnEngine, clock: HandClock, refusals: dict[Owner, NgxError]) -> Lookout:
    async def enter(owner: Owner, turn_class: int) -> Any:
        if owner in refusals:
            raise refusals[owner]
        return f"ticket of {owner.user}, class {turn_class}"

    return Lookout("tests", engine=engine, modes=Modes(clock=clock), enter=enter, clock=clock, rng=Rng(1))


@pytest.mark.parametrize(
    ("refused", "for_s"),
    [(Overloaded("full", retry_after_s=7.0), 7.0), (Forbidden("suspended"), REFUSED_S)],
)
async def test_who_is_refused_is_left_alone_for_as_long_as_it_was_told(
    house: House, refused: NgxError, for_s: float
) -> None:
    clock = HandClock()
    async with house.engine() as engine:
        look = lookout(engine, clock, {ANA: refused})
        assert await look.ticket(ANA, 3) is None
        assert str(await look.ticket(BEN, 3)) == "ticket of ben, class 3"
        assert (look.is_put_off(ANA), look.is_put_off(BEN)) == (True, False)
        clock.advance(for_s - 0.1)
        look.begin_look()
        assert look.is_put_off(ANA)
        clock.advance(0.2)
        look.begin_look()
        assert not look.is_put_off(ANA)


async def test_who_has_too_many_at_once_is_asked_again_at_the_next_look(house: House) -> None:
    clock = HandClock()
    refused = RateLimited("too many", retry_after_s=30.0, quota="running")
    async with house.engine() as engine:
        look = lookout(engine, clock, {ANA: refused})
        assert await look.ticket(ANA, 3) is None
        look.begin_look()
        assert not look.is_put_off(ANA)


async def test_a_look_that_fails_is_followed_by_another_after_its_own_time(house: House) -> None:
    clock, waited = HandClock(), []

    async def look_for() -> float:
        if len(waited) == 1:
            raise JournalUnavailable("away", retry_after_s=1.0)
        return 1.0

    async def wait(delay_s: float) -> None:
        waited.append(delay_s)
        if len(waited) == 3:
            raise asyncio.CancelledError

    async with house.engine() as engine:
        with pytest.raises(asyncio.CancelledError):
            await lookout(engine, clock, {}).run(look_for, wait, failed_s=40.0)
    assert 0.5 <= waited[0] <= 1.0
    assert 20.0 <= waited[1] <= 40.0
    assert 0.5 <= waited[2] <= 1.0


async def test_nothing_is_begun_in_a_degraded_mode_or_while_the_instance_drains(house: House) -> None:
    clock = HandClock()
    modes = Modes(clock=clock)

    async def enter(owner: Owner, turn_class: int) -> Any:
        raise AssertionError("nobody asks")

    async with house.engine() as engine:
        look = Lookout("tests", engine=engine, modes=modes, enter=enter, clock=clock, rng=Rng(1))
        assert not look.is_held
        modes.force(Mode.DEGRADED_1, by="test", reason="test")
        assert look.is_held
        modes.automatic()
        assert not look.is_held
        engine.begin_drain()
        assert look.is_held
