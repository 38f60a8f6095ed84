"""How batches give way: at once, for a moment, and never for good."""

from __future__ import annotations

import pytest
from tests.resilience.hand_clock import HandClock

from ngx_agents.turns.batch_places import BREATH_S, GIVE_WAY_S, ON_END_S, BatchPlaces


def test_the_way_is_kept_for_a_moment_after_somebody_came() -> None:
    clock = HandClock()
    places = BatchPlaces(clock)
    assert places.wait_s == 0.0
    places.announce_other()
    assert places.wait_s == pytest.approx(GIVE_WAY_S)
    clock.advance(GIVE_WAY_S)
    assert places.wait_s == pytest.approx(0.0)


def test_it_is_free_when_the_last_of_them_has_ended() -> None:
    places = BatchPlaces(HandClock())
    places.begin(is_batch=False)
    places.begin(is_batch=False)
    places.end(is_batch=False)
    assert places.wait_s > 0
    places.end(is_batch=False)
    assert (places.wait_s, places.others) == (0.0, 0)


@pytest.mark.parametrize("gap_s", [0.001, 0.01, GIVE_WAY_S, BREATH_S])
def test_however_many_come_the_way_is_free_for_a_good_part_of_the_time(gap_s: float) -> None:
    clock = HandClock()
    places = BatchPlaces(clock)
    free_s = kept_s = on_end_s = longest_s = 0.0
    while clock.at_s < 1010.0:
        places.announce_other()
        waits_s = min(places.wait_s, gap_s)
        kept_s, free_s = kept_s + waits_s, free_s + gap_s - waits_s
        on_end_s = on_end_s + gap_s if places.wait_s >= gap_s else 0.0
        longest_s = max(longest_s, on_end_s)
        clock.advance(gap_s)
    assert kept_s > 1.0
    assert free_s >= 0.9 * BREATH_S / (BREATH_S + ON_END_S) * 10.0
    assert longest_s <= ON_END_S + gap_s


async def test_who_gives_way_waits_until_nobody_has_come_meanwhile() -> None:
    clock = HandClock()
    places = BatchPlaces(clock)
    came = []

    async def sleep(delay_s: float) -> None:
        clock.advance(delay_s)
        if len(came) < 3:
            came.append(clock.at_s)
            places.announce_other()

    places.announce_other()
    clock.sleep = sleep  # type: ignore[method-assign]  # others come while it sleeps
    await places.give_way()
    assert clock.at_s == pytest.approx(1000.0 + 4 * GIVE_WAY_S)


def test_batches_at_work_are_counted_and_ease_when_few_are_left() -> None:
    places = BatchPlaces(HandClock())
    places.low = 1
    for _ in range(3):
        places.begin(is_batch=True)
    places.end(is_batch=True)
    assert (places.count, places.ended, places.eased.is_set()) == (2, 1, False)
    places.end(is_batch=True)
    assert (places.count, places.eased.is_set(), places.others) == (1, True, 0)
