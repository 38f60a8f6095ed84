"""Limits that several instances keep together: never far above, never asked for by those who use little."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ngx_agents.resilience.rate_windows import FREE_SHARE, Window


class Cluster:
    """Instances of one window over one shared count, which may be out of reach."""

    def __init__(self, instances: int, limit: int) -> None:
        self.windows = [Window() for _ in range(instances)]
        for window in self.windows:
            window.enter(1, limit, is_shared=True)
        self.total = self.asks = 0
        self.is_away = False

    def take(self, instance: int, amount: int = 1) -> bool:
        window = self.windows[instance]
        while not window.has(amount):
            if window.is_final or window.used + amount > window.limit:
                return False
            self.asks += 1
            if self.is_away:
                window.told_nothing(amount)
            else:
                asked = window.wanted(amount)
                self.total += asked
                window.told(asked, self.total)
        window.used += amount
        return True

    @property
    def used(self) -> int:
        return sum(window.used for window in self.windows)


@given(
    limit=st.integers(0, 500),
    instances=st.integers(1, 6),
    calls=st.lists(st.tuples(st.integers(0, 5), st.integers(1, 9)), max_size=900),
)
def test_all_instances_together_let_pass_the_limit_and_their_free_shares_at_most(
    limit: int, instances: int, calls: list[tuple[int, int]]
) -> None:
    cluster = Cluster(instances, limit)
    for instance, amount in calls:
        cluster.take(instance % instances, amount)
    assert cluster.used <= limit + (instances - 1) * (limit // FREE_SHARE)


def test_one_instance_gives_exactly_the_limit_and_asks_seldom() -> None:
    cluster = Cluster(1, 1000)
    assert sum(cluster.take(0) for _ in range(1500)) == 1000
    assert cluster.asks < 50


def test_who_uses_little_asks_nobody() -> None:
    cluster = Cluster(1, 1000)
    assert all(cluster.take(0) for _ in range(1000 // FREE_SHARE))
    assert cluster.asks == 0


def test_a_user_who_goes_from_one_instance_to_the_next_gets_most_of_the_limit() -> None:
    cluster = Cluster(4, 60)
    assert 52 <= sum(cluster.take(number % 4) for number in range(400)) <= 60 + 3 * (60 // FREE_SHARE)


def test_what_was_used_while_the_count_was_away_is_counted_when_it_is_back() -> None:
    cluster = Cluster(2, 160)
    cluster.is_away = True
    assert sum(cluster.take(0) for _ in range(300)) == 160
    cluster.is_away = False
    cluster.windows[0].limit = 400
    asked = cluster.windows[0].wanted(1)
    cluster.windows[0].told(asked, asked)
    assert cluster.windows[0].counted > 160


def test_a_new_window_begins_anew_and_a_changed_limit_keeps_what_was_used() -> None:
    window = Window()
    window.enter(1, 60, is_shared=False)
    window.used = 60
    assert not window.has(1)
    window.enter(1, 100, is_shared=False)
    assert window.has(40)
    assert not window.has(41)
    window.enter(2, 100, is_shared=False)
    assert window.has(100)


def test_a_limit_of_nothing_lets_nothing_pass() -> None:
    assert not Cluster(1, 0).take(0)
