"""What every journal must do with budget meters. Imported like its siblings."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.state.journal_conformance import NOW, tell

from ngx_agents.state import commands as c
from ngx_agents.state.journal import Journal


def take(amount: int, slice_size: int = 0, limit: int = 100, **changes: Any) -> c.TakeBudget:
    values: dict[str, Any] = {"meter": "b/acme/2026-11/tokens", "ends_at": NOW + 60}
    return c.TakeBudget(amount=amount, slice_size=slice_size, limit=limit, **(values | changes))


async def test_what_crosses_the_limit_is_granted_whole_and_nothing_after_it(journal: Journal) -> None:
    assert await tell(journal, take(90)) == c.Slice(granted=90, leased=90)
    assert await tell(journal, take(30)) == c.Slice(granted=30, leased=120)
    assert await tell(journal, take(1)) == c.Slice(granted=0, leased=120)
    assert await tell(journal, take(5, is_forced=True)) == c.Slice(granted=5, leased=125)


async def test_slices_grow_small_towards_the_limit(journal: Journal) -> None:
    assert (await tell(journal, take(1, 50, 800))).granted == 50
    assert (await tell(journal, take(1, 500, 800))).granted == 750 // 8
    assert (await tell(journal, take(700, 50, 800))).granted == 700
    assert (await tell(journal, take(1, 50, 900))).granted == 7


async def test_what_is_given_back_can_be_taken_again_and_what_was_spent_cannot(journal: Journal) -> None:
    await tell(journal, take(100))
    await tell(journal, c.GiveBudget(meter="b/acme/2026-11/tokens", spent=60, unused=40))
    assert await tell(journal, take(30)) == c.Slice(granted=30, leased=90)
    await tell(journal, c.GiveBudget(meter="b/acme/2026-11/tokens", spent=50, unused=-20))
    [meter] = await journal.query(c.ListMeters())
    assert meter == c.Meter(name="b/acme/2026-11/tokens", leased=110, spent=110, ends_at=NOW + 60)
    await tell(journal, c.GiveBudget(meter="b/nobody", spent=1, unused=1))
    assert len(await journal.query(c.ListMeters())) == 1


async def test_many_at_once_take_no_more_than_one_amount_beyond_the_limit(journal: Journal) -> None:
    slices = await asyncio.gather(*(tell(journal, take(7, 20, 500)) for _ in range(150)))
    assert 500 <= sum(one.granted for one in slices) < 507


async def test_meters_are_listed_by_prefix_and_forgotten_after_their_end(journal: Journal) -> None:
    for number, name in enumerate(("a_x/1", "a_x/2", "abx/1")):
        await tell(journal, take(1, meter=name, ends_at=NOW + number))
    assert [one.name for one in await journal.query(c.ListMeters(prefix="a_x/"))] == ["a_x/1", "a_x/2"]
    assert [one.name for one in await journal.query(c.ListMeters(limit=1))] == ["a_x/1"]
    assert await tell(journal, c.ForgetBudgets(before=NOW + 2, limit=1)) == 1
    assert await tell(journal, c.ForgetBudgets(before=NOW + 2)) == 1
    assert [one.name for one in await journal.query(c.ListMeters())] == ["abx/1"]


async def test_a_meter_that_blocks_is_spent_from_its_limit_on_until_something_is_given_back(journal: Journal) -> None:
    async def spent(*prefixes: str) -> list[tuple[str, int]]:
        found = await journal.query(c.SpentMeters(prefixes=prefixes))
        return [(one.name, one.leased) for one in found]

    await tell(journal, take(60, meter="b/1", blocks=True))
    await tell(journal, take(200, meter="b/2", blocks=True))
    await tell(journal, take(200, meter="b/counted"))
    await tell(journal, take(200, meter="other/1", blocks=True))
    assert await spent("b/") == [("b/2", 200)]
    await tell(journal, take(50, meter="b/1", blocks=True))
    assert await spent("b/", "other/") == [("b/1", 110), ("b/2", 200), ("other/1", 200)]
    assert await spent("%", "b_") == await spent() == []
    await tell(journal, c.GiveBudget(meter="b/1", spent=90, unused=20))
    assert await spent("b/") == [("b/2", 200)]
    assert len(await journal.query(c.SpentMeters(prefixes=("b/", "other/"), limit=1))) == 1


async def test_whether_a_meter_is_spent_goes_by_the_limit_that_was_last_told(journal: Journal) -> None:
    question = c.SpentMeters(prefixes=("b/",))
    await tell(journal, take(60, blocks=True))
    assert (await tell(journal, take(1, limit=50, blocks=True))).granted == 0
    assert len(await journal.query(question)) == 1
    assert (await tell(journal, take(1, limit=500, blocks=True))).granted == 1
    assert await journal.query(question) == ()
    assert (await tell(journal, take(1, limit=10, blocks=True))).granted == 0
    assert len(await journal.query(question)) == 1
    assert (await tell(journal, take(1, limit=10))).granted == 0
    assert await journal.query(question) == (), "the budget only warns now"
