from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tests.resilience.hand_clock import HandClock

from ngx_agents.clock import Rng
from ngx_agents.resilience.admission import Decision, Gate, GateRules, Holding, Refusal
from ngx_agents.resilience.admission_limit import LimitRules
from ngx_agents.resilience.admission_line import Asker, Entry
from ngx_agents.resilience.fairness import Fairness


@dataclass
class Door:
    """A gate that is full, and what those who ask are told."""

    gate: Gate
    clock: HandClock
    told: dict[str, Decision] = field(default_factory=dict)

    def ask(self, name: str, turn_class: int = 1, *, tenant: str = "t") -> Decision | Entry:
        asker = Asker(turn_class=turn_class, tenant=tenant, user=name)
        answer = self.gate.ask(asker, lambda decision: self.told.__setitem__(name, decision))
        if not isinstance(answer, Entry):
            self.told[name] = answer
        return answer

    def refused(self) -> dict[str, str]:
        return {name: told.why for name, told in self.told.items() if isinstance(told, Refusal)}


def full_door(*, places: int = 2, most_waiting: int = 3, tenant_share: float = 1.0) -> tuple[Door, list[Holding]]:
    clock = HandClock()
    limit = LimitRules(capacity=float(places), most=float(places))
    rules = GateRules(limit=limit, most_waiting=most_waiting, tenant_share=tenant_share)
    door = Door(Gate(rules, clock=clock, rng=Rng(1), fairness=Fairness(clock=clock)), clock)
    held = [door.ask(f"first{number}") for number in range(places)]
    assert all(isinstance(each, Holding) for each in held)
    return door, [each for each in held if isinstance(each, Holding)]


def test_with_room_one_gets_in_at_once_and_without_one_waits_for_who_gives_back() -> None:
    door, held = full_door()
    assert isinstance(door.ask("a"), Entry)
    assert "a" not in door.told
    door.gate.give_back(held[0])
    assert isinstance(door.told["a"], Holding)
    assert (door.gate.in_flight, door.gate.waiting) == (2.0, 0)


def test_giving_back_twice_gives_back_once() -> None:
    door, held = full_door()
    door.gate.give_back(held[0])
    door.gate.give_back(held[0])
    assert door.gate.in_flight == 1.0


def test_a_full_line_makes_room_for_the_more_urgent_from_the_newest_of_the_least_urgent() -> None:
    door, held = full_door()
    for name, turn_class in (("b1", 2), ("b2", 2), ("i", 1)):
        door.ask(name, turn_class)
    assert isinstance(door.ask("b3", 2), Refusal)
    door.ask("c1", 0)
    assert door.refused() == {"b3": "full", "b2": "displaced"}
    door.ask("c2", 0)
    door.ask("c3", 0)
    assert isinstance(door.ask("c4", 0), Refusal)
    assert door.refused() == {"b3": "full", "b2": "displaced", "b1": "displaced", "i": "displaced", "c4": "full"}
    for each in held:
        door.gate.give_back(each)
    assert [isinstance(door.told.get(name), Holding) for name in ("c1", "c2", "c3")] == [True, True, False]


def test_the_sheddable_are_served_newest_first_the_others_oldest_first() -> None:
    door, held = full_door(most_waiting=10)
    for number in range(2):
        door.ask(f"i{number}", 1)
        door.ask(f"b{number}", 2)
        door.clock.advance(0.1)
    order = []
    for each in (*held, *held):
        door.gate.give_back(each)
    for _ in range(4):
        order = [name for name, told in door.told.items() if isinstance(told, Holding) and name[0] in "ib"]
        for name in order:
            told = door.told[name]
            assert isinstance(told, Holding)
            door.gate.give_back(told)
    assert order == ["i0", "i1", "b1", "b0"]


def test_one_waits_five_seconds_but_half_a_second_once_the_line_stands() -> None:
    door, _ = full_door(most_waiting=10)
    door.ask("a")
    door.clock.advance(4.9)
    door.gate.look()
    assert door.refused() == {}
    door.ask("b")
    door.clock.advance(0.1)
    door.gate.look()
    assert door.refused() == {"a": "late"}
    door.clock.advance(0.3)
    door.gate.look()
    assert door.refused() == {"a": "late"}
    door.clock.advance(0.1)
    door.gate.look()
    assert door.refused() == {"a": "late", "b": "late"}


@pytest.mark.parametrize(("waited_s", "first"), [(29.0, "new"), (61.0, "old")])
def test_waiting_half_a_minute_is_worth_a_class(waited_s: float, first: str) -> None:
    """Nobody waits that long with the usual bounds; the order does not depend on them."""
    door, _ = full_door(most_waiting=10)
    door.ask("old", 2)
    door.clock.advance(waited_s)
    door.ask("new", 1)
    entry = door.gate._line.next(door.clock.monotonic_s())
    assert entry is not None
    assert entry.asker.user == first


def test_a_tenant_that_was_given_less_is_next() -> None:
    door, held = full_door(most_waiting=10)
    door.gate.spent(held[0], 5_000.0)
    for number in range(3):
        door.ask(f"t{number}", tenant="t")
    door.ask("other", tenant="u")
    door.gate.give_back(held[0])
    assert isinstance(door.told["other"], Holding)


def test_of_a_full_line_the_tenant_with_more_than_its_share_makes_room() -> None:
    door, _ = full_door()
    for number in range(3):
        door.ask(f"loud{number}", tenant="loud")
    assert isinstance(door.ask("loud3", tenant="loud"), Refusal)
    door.ask("quiet", tenant="quiet")
    assert door.refused() == {"loud3": "full", "loud2": "displaced"}


def test_a_tenant_holds_no_more_than_its_share() -> None:
    clock = HandClock()
    rules = GateRules(limit=LimitRules(capacity=10.0), tenant_share=0.3)
    door = Door(Gate(rules, clock=clock, rng=Rng(1), fairness=Fairness(clock=clock)), clock)
    for number in range(4):
        door.ask(f"a{number}", tenant="a")
    door.ask("b", tenant="b")
    assert door.refused() == {"a3": "share"}


def test_the_share_that_is_refused_is_of_users_not_of_batches() -> None:
    door, _ = full_door(most_waiting=1)
    for number in range(20):
        door.ask(f"batch{number}", 3)
    door.clock.advance(1.0)
    door.gate.step()
    assert door.gate.refused_share == 0.0
    door.ask("i0", 1)
    for number in range(1, 20):
        door.ask(f"i{number}", 1)
    door.clock.advance(1.0)
    door.gate.step()
    assert door.gate.refused_share > 0.5


def test_who_leaves_the_line_is_not_told() -> None:
    door, held = full_door()
    entry = door.ask("a")
    assert isinstance(entry, Entry)
    assert door.gate.leave(entry)
    assert not door.gate.leave(entry)
    door.gate.give_back(held[0])
    assert "a" not in door.told


def test_a_turn_that_calls_several_at_once_holds_the_others_back() -> None:
    door, held = full_door()
    door.ask("a")
    door.gate.reweigh(held[0], 3.0)
    door.gate.give_back(held[1])
    assert "a" not in door.told
    door.gate.reweigh(held[0], 1.0)
    assert isinstance(door.told["a"], Holding)


def test_the_level_of_the_peers_sheds_at_the_own_door_but_never_the_critical() -> None:
    door, _ = full_door(most_waiting=10)
    door.gate.peers_threshold = 50
    door.ask("i", 1)
    door.ask("c", 0)
    assert door.refused() == {"i": "level"}


class Crowd(RuleBasedStateMachine):
    """Whatever comes: what is in flight is what was let in and not given back, and the line is bounded."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = HandClock()
        rules = GateRules(limit=LimitRules(capacity=4.0), most_waiting=5)
        self.gate = Gate(rules, clock=self.clock, rng=Rng(1), fairness=Fairness(clock=self.clock))
        self.held: list[Holding] = []
        self.entries: list[Entry] = []
        self.asked = self.decided = 0

    @rule(turn_class=st.integers(0, 3), tenant=st.sampled_from("abc"), user=st.sampled_from("xyz"))
    def come(self, turn_class: int, tenant: str, user: str) -> None:
        self.asked += 1
        answer = self.gate.ask(Asker(turn_class=turn_class, tenant=tenant, user=user), self._hear)
        if isinstance(answer, Entry):
            self.entries.append(answer)
        else:
            self._hear(answer)

    @rule(number=st.integers(0, 20), tokens=st.floats(0.0, 5_000.0))
    def end(self, number: int, tokens: float) -> None:
        if self.held:
            holding = self.held.pop(number % len(self.held))
            self.gate.spent(holding, tokens)
            self.gate.give_back(holding)

    @rule(number=st.integers(0, 20))
    def leave(self, number: int) -> None:
        if self.entries and self.gate.leave(self.entries.pop(number % len(self.entries))):
            self.decided += 1

    @rule(number=st.integers(0, 20), weight=st.integers(1, 4))
    def reweigh(self, number: int, weight: int) -> None:
        if self.held:
            self.gate.reweigh(self.held[number % len(self.held)], float(weight))

    @rule(seconds=st.floats(0.01, 40.0))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.gate.look()
        self.gate.step()

    @invariant()
    def counts_are_true(self) -> None:
        assert abs(self.gate.in_flight - sum(each.weight for each in self.held)) < 1e-6
        assert self.gate.waiting <= 10
        assert self.asked == self.decided + self.gate.waiting

    @invariant()
    def nobody_waits_where_there_is_room(self) -> None:
        assert not self.gate.waiting or self.gate.in_flight + 1.0 > self.gate.limit.value

    def _hear(self, decision: Decision) -> None:
        self.decided += 1
        if isinstance(decision, Holding):
            self.held.append(decision)
        else:
            assert decision.retry_after_s >= 1.0


TestCrowd = Crowd.TestCase
TestCrowd.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
