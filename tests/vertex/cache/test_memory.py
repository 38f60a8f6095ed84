"""The memory tier against a model of it, and at its bounds."""

from __future__ import annotations

import asyncio
import sys
import tracemalloc
from collections import OrderedDict
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ngx_agents.clock import SystemClock
from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.vertex.cache.entry import Entry, entry_of
from ngx_agents.vertex.cache.measures import CacheMeasures
from ngx_agents.vertex.cache.memory import AnswerMemory, Lying
from ngx_agents.vertex.cache.rules import ClassRule
from tests.vertex.cache.making import HandClock, answer


def digest(name: object) -> bytes:
    return sha256(str(name).encode()).digest()


def lying(clock: HandClock, text: str = "x", *, ttl_s: float = 60.0, group: str | None = None) -> Lying:
    entry = entry_of(answer(text), (), ClassRule(ttl_s=ttl_s), now_s=clock.now_s())
    return Lying(entry, born_s=clock.monotonic_s(), group=group, checked_s=0.0)


def memory_of(
    clock: HandClock, *, max_entries: int = 10, max_bytes: int = 10**6, metrics: Metrics | None = None
) -> AnswerMemory:
    return AnswerMemory(
        max_entries=max_entries, max_bytes=max_bytes, clock=clock, measures=CacheMeasures(metrics or Metrics())
    )


SMALL = lying(HandClock(), "x").size_bytes


def test_least_recently_used_goes_first() -> None:
    clock = HandClock()
    memory = memory_of(clock, max_entries=2)
    for name in "ab":
        memory.put(digest(name), lying(clock))
    assert memory.get(digest("a")) is not None
    memory.put(digest("c"), lying(clock))
    assert memory.get(digest("b")) is None
    assert memory.get(digest("a")) is not None


def test_memory_of_one_holds_the_newest() -> None:
    clock = HandClock()
    memory = memory_of(clock, max_entries=1)
    for name in range(5):
        assert memory.put(digest(name), lying(clock, group=f"u{name}"))
        assert len(memory) == 1
    assert memory.get(digest(4)) is not None
    assert memory.drop_group("u3") == 0
    assert memory.drop_group("u4") == 1
    assert memory.size_bytes == 0


def test_memory_of_none_takes_nothing() -> None:
    clock = HandClock()
    memory = memory_of(clock, max_entries=0)
    assert not memory.put(digest("a"), lying(clock))
    assert len(memory) == 0


def test_bytes_are_bound_beside_entries() -> None:
    clock = HandClock()
    metrics = Metrics()
    memory = memory_of(clock, max_entries=100, max_bytes=3 * SMALL, metrics=metrics)
    for name in range(5):
        memory.put(digest(name), lying(clock))
    assert len(memory) == 3
    assert memory.size_bytes == 3 * SMALL
    assert metrics.counter("ngx_answer_cache_evictions_total", "", "bound").labels("bytes").value == 2


def test_entry_larger_than_all_is_not_taken_and_what_it_would_replace_is_gone() -> None:
    clock = HandClock()
    memory = memory_of(clock, max_bytes=2 * SMALL)
    memory.put(digest("a"), lying(clock))
    memory.put(digest("b"), lying(clock))
    assert not memory.put(digest("a"), lying(clock, "x" * 10 * SMALL))
    assert memory.get(digest("a")) is None
    assert memory.get(digest("b")) is not None, "it did not make room for what did not fit"


def test_hit_never_lengthens_a_life() -> None:
    clock = HandClock()
    memory = memory_of(clock)
    memory.put(digest("a"), lying(clock, ttl_s=60))
    for _ in range(59):
        clock.passed_s += 1
        assert memory.get(digest("a")) is not None
    clock.passed_s += 1
    assert memory.get(digest("a")) is None
    assert memory.size_bytes == 0


def test_eviction_looks_at_no_other_entry() -> None:
    """Each `put` into a full memory runs the same number of lines, however many entries there are."""

    def lines_of_a_put(entries: int) -> int:
        clock = HandClock()
        memory = memory_of(clock, max_entries=entries)
        for name in range(entries):
            memory.put(digest(name), lying(clock, group="u"))
        fresh, name, lines = lying(clock, group="u"), digest("new"), 0

        def count(_frame: Any, event: str, _arg: Any) -> Any:
            nonlocal lines
            lines += event == "line"
            return count

        before = sys.gettrace()
        sys.settrace(count)
        try:
            memory.put(name, fresh)
        finally:
            sys.settrace(before)
        return lines

    assert lines_of_a_put(10) == lines_of_a_put(3000)


@pytest.mark.parametrize("letter", ["a", "ñ", "—", "😀"])
def test_bytes_counted_are_those_that_are_taken(letter: str) -> None:
    clock = HandClock()
    memory = memory_of(clock, max_entries=10_000, max_bytes=10**8)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for name in range(300):
            text = letter * 500 + str(name)
            chunks = [text[start : start + 10] for start in range(0, len(text), 10)]
            entry = entry_of(answer(text), chunks, ClassRule(ttl_s=60), now_s=0.0)
            memory.put(digest(name), Lying(entry, born_s=1000.0, group=f"user {name}", checked_s=0.0))
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert 0.5 * memory.size_bytes < taken <= memory.size_bytes


async def test_concurrent_load_never_passes_the_bounds() -> None:
    clock = SystemClock()
    memory = AnswerMemory(max_entries=50, max_bytes=40 * SMALL, clock=clock, measures=CacheMeasures(Metrics()))

    async def load(worker: int) -> None:
        for step in range(100):
            name = digest((worker * 31 + step * 7) % 90)
            if memory.get(name) is None:
                entry = entry_of(answer("x" * (step % 40)), (), ClassRule(ttl_s=60), now_s=0.0)
                memory.put(name, Lying(entry, born_s=clock.monotonic_s(), group=f"u{step % 7}", checked_s=0.0))
            if step % 10 == 0:
                memory.drop_group(f"u{worker % 7}")
            assert len(memory) <= 50
            assert memory.size_bytes <= 40 * SMALL
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        for worker in range(20):
            group.create_task(load(worker))
    for number in range(7):
        memory.drop_group(f"u{number}")
    assert (len(memory), memory.size_bytes) == (0, 0)


NAMES = st.integers(0, 7)
GROUPS = st.sampled_from([None, "u1", "u2"])


class MemoryMachine(RuleBasedStateMachine):
    """The memory beside an ordered dict that is bounded by hand."""

    @initialize(max_entries=st.integers(0, 5), room=st.integers(1, 6))
    def begin(self, max_entries: int, room: int) -> None:
        self.clock = HandClock()
        self.max_entries = max_entries
        self.max_bytes = room * SMALL
        self.memory = memory_of(self.clock, max_entries=max_entries, max_bytes=self.max_bytes)
        self.model: OrderedDict[int, Lying] = OrderedDict()

    @rule(name=NAMES, group=GROUPS, letters=st.integers(1, 5000), ttl_s=st.integers(0, 50))
    def put(self, name: int, group: str | None, letters: int, ttl_s: int) -> None:
        new = lying(self.clock, "x" * letters, ttl_s=ttl_s, group=group)
        self.model.pop(name, None)
        fits = ttl_s > 0 and new.size_bytes <= self.max_bytes and self.max_entries > 0
        if fits:
            self.model[name] = new
        while (
            len(self.model) > self.max_entries or sum(each.size_bytes for each in self.model.values()) > self.max_bytes
        ):
            self.model.popitem(last=False)
        assert self.memory.put(digest(name), new) is fits

    @rule(name=NAMES)
    def get(self, name: int) -> None:
        expected = self.model.get(name)
        if expected is not None:
            if self.clock.monotonic_s() >= expected.until_s:
                del self.model[name]
                expected = None
            else:
                self.model.move_to_end(name)
        assert self.memory.get(digest(name)) is expected

    @rule(group=st.sampled_from(["u1", "u2"]))
    def drop_group(self, group: str) -> None:
        gone = [name for name, each in self.model.items() if each.group == group]
        for name in gone:
            del self.model[name]
        assert self.memory.drop_group(group) == len(gone)

    @rule(name=NAMES)
    def drop(self, name: int) -> None:
        assert self.memory.drop(digest(name)) is (self.model.pop(name, None) is not None)

    @rule(seconds=st.integers(1, 20))
    def time_passes(self, seconds: int) -> None:
        self.clock.passed_s += seconds

    @invariant()
    def bounds_hold_and_sizes_add_up(self) -> None:
        if not hasattr(self, "memory"):
            return
        assert len(self.memory) == len(self.model) <= self.max_entries
        assert self.memory.size_bytes == sum(each.size_bytes for each in self.model.values()) <= self.max_bytes


TestMemoryMachine = MemoryMachine.TestCase
TestMemoryMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_size_grows_with_what_an_entry_holds() -> None:
    def size(text: str) -> int:
        entry: Entry = entry_of(answer(text), (), ClassRule(ttl_s=1), now_s=0)
        return entry.size_bytes

    assert size("x" * 1000) - size("x") == 999
    assert size("😀" * 1000) - size("x" * 1000) > 2900
