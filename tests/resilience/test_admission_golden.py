"""What the gate does to a backend with seats, simulated: the figures that its constants were chosen by."""

from __future__ import annotations

import pytest
from tests.resilience.admission_simulation import MEAN_S, Phase, Simulation, goodput

SEATS = 100


def day(seed: int, rush: float, *, gated: bool = True, seats: int = SEATS) -> tuple[Phase, Phase, Phase]:
    """Quiet, the rush once it stands, and from a minute after it."""
    world = Simulation(seed=seed, gated=gated, seats=seats)
    world.run(0.7, 60.0)
    quiet = world.run(0.7, 60.0)
    world.run(rush, 20.0)
    busy = world.run(rush, 90.0)
    world.run(0.7, 60.0)
    return quiet, busy, world.run(0.7, 60.0)


def served_share(phase: Phase, turn_class: int) -> float:
    return phase.served[turn_class] / phase.offered[turn_class]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_at_twice_the_load_it_stays_useful_keeps_the_critical_and_comes_back(seed: int) -> None:
    quiet, busy, after = day(seed, 2.0)
    assert quiet.refused == 0
    assert goodput(busy) >= 0.9
    assert served_share(busy, 0) >= 0.95
    assert served_share(busy, 2) < served_share(busy, 1) < served_share(busy, 0)
    assert after.refused == 0
    assert sorted(after.waits_s)[len(after.waits_s) // 2] == 0.0
    assert goodput(after) >= 0.6


def test_at_ten_times_the_load_it_stays_useful_and_gives_the_critical_all_there_is() -> None:
    _, busy, after = day(1, 10.0)
    assert goodput(busy) >= 0.9
    assert served_share(busy, 0) >= 0.4  # their load alone is twice the capacity
    assert after.refused == 0


@pytest.mark.parametrize("rush", [2.0, 10.0])
def test_without_it_the_backend_collapses_and_stays_so_after_the_rush(rush: float) -> None:
    _, busy, after = day(1, rush, gated=False)
    assert goodput(busy) < 0.4
    assert goodput(after) < 0.15


@pytest.mark.parametrize("seats", [20, 400])
def test_neither_a_small_nor_a_large_one_refuses_at_ordinary_load(seats: int) -> None:
    quiet, busy, _ = day(1, 2.0, seats=seats)
    assert quiet.refused == 0
    assert goodput(busy, seats) >= 0.85


@pytest.mark.parametrize("rush", [2.0, 10.0])
def test_who_comes_back_when_told_gets_in(rush: float) -> None:
    world = Simulation(seed=4)
    world.run(0.7, 60.0)
    world.run(rush, 60.0)
    busy = world.run(rush, 120.0)
    assert busy.returned > 80
    assert busy.returned_in_vain <= 0.05 * busy.returned


def test_a_flood_of_one_tenant_does_not_slow_another() -> None:
    """`quiet` sends one turn a second, `loud` ten times what the backend bears."""
    alone, beside = took_of_quiet_s(flood=0.0), took_of_quiet_s(flood=10.0)
    assert _p95(beside) <= 1.5 * _p95(alone)


def took_of_quiet_s(*, flood: float) -> list[float]:
    of_quiet, of_loud = 1.0, flood * SEATS / MEAN_S
    world = Simulation(
        seed=5,
        tenant=lambda random: (
            "quiet" if random.random() < of_quiet / (of_quiet + of_loud) else "loud",
            f"u{random.randrange(1000)}",
        ),
        shares=(0.0, 1.0),
    )
    load = (of_quiet + of_loud) * MEAN_S / SEATS
    world.run(load, 60.0)
    phase = world.run(load, 120.0)
    assert len(phase.took_of["quiet"]) >= 0.9 * phase.offered_of["quiet"]
    return sorted(phase.took_of["quiet"])


def _p95(ordered: list[float]) -> float:
    return ordered[int(0.95 * len(ordered))]
