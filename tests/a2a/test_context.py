"""What is inherited by calls between agents, and what bounds them."""

from __future__ import annotations

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ngx_agents.a2a.message import MAX_DEPTH, MAX_FAN_OUT, A2AContext, Budget
from ngx_agents.a2a.refusals import BudgetSpent, CallsUnbounded
from ngx_agents.a2a.server import A2AServer
from ngx_agents.errors import DeadlineExceeded, TurnCancelled
from tests.a2a.teams import Gate, echo, quiet, soon, until


async def look(message):
    return message.deadline_s, message.turn_class, message.depth


def relay_to(agent, **options):
    async def relay(message):
        return await message.context.request(agent, message.payload, **options)

    return relay


async def test_a_child_ends_no_later_and_is_no_less_urgent():
    async with A2AServer() as a2a:
        a2a.register("look", look)
        a2a.register("lax", relay_to("look", deadline_s=soon(1000), turn_class=3))
        a2a.register("strict", relay_to("look", deadline_s=1.0, turn_class=0))
        until_s = soon()
        assert await a2a.request("lax", 1, deadline_s=until_s, turn_class=1) == (until_s, 1, 2)
        with pytest.raises(DeadlineExceeded):
            await a2a.request("strict", 1, deadline_s=until_s)


async def test_without_a_deadline_the_class_gives_one():
    async with A2AServer() as a2a:
        a2a.register("look", look)
        for turn_class, seconds in ((0, 30), (1, 60), (2, 90)):
            until_s, _, depth = await a2a.request("look", 1, turn_class=turn_class)
            assert until_s - time.monotonic() == pytest.approx(seconds, abs=2)
            assert depth == 1


async def test_a_cancel_reaches_leaves_three_levels_below_at_once():
    async with A2AServer() as a2a, asyncio.TaskGroup() as group:
        gate = Gate()

        async def three(message):
            async with asyncio.TaskGroup() as children:
                for number in range(3):
                    children.create_task(message.context.request("leaf", (message.payload, number)))

        async def top(message):
            async with asyncio.TaskGroup() as children:
                for number in range(3):
                    children.create_task(message.context.request("middle", number))

        for name, handler in (("leaf", gate), ("middle", three), ("top", top)):
            a2a.register(name, handler)
        asked = group.create_task(a2a.request("top", None))
        await until(lambda: len(gate.entered) == 9)
        began_s = time.monotonic()
        asked.cancel()
        await until(lambda: len(gate.cancelled) == 9 and quiet(a2a), within_s=1.0)
        assert time.monotonic() - began_s < 1.0


async def test_a_loop_between_two_agents_ends_in_a_typed_error():
    async with A2AServer() as a2a:
        a2a.register("ping", relay_to("pong"))
        a2a.register("pong", relay_to("ping"))
        with pytest.raises(CallsUnbounded) as refused:
            await a2a.request("ping", 1)
        assert refused.value.bound == "depth"
        assert quiet(a2a)


async def test_a_loop_ends_even_when_every_agent_has_one_worker():
    async with A2AServer(worker_threads=1, message_timeout=0.05) as a2a:
        a2a.register("ping", relay_to("pong"))
        a2a.register("pong", relay_to("ping"))
        with pytest.raises(Exception, match="no worker of the agent was free"):
            await a2a.request("ping", 1)
        await until(lambda: quiet(a2a))


async def test_one_message_makes_a_bounded_number_of_calls():
    async with A2AServer() as a2a:
        made = []

        async def greedy(message):
            while True:
                await message.context.request("echo", 1)
                made.append(1)

        a2a.register("greedy", greedy)
        a2a.register("echo", echo)
        with pytest.raises(CallsUnbounded) as refused:
            await a2a.request("greedy", 1)
        assert (refused.value.bound, len(made)) == ("fan_out", MAX_FAN_OUT)


async def test_the_calls_of_a_whole_tree_are_bounded():
    async with A2AServer() as a2a:

        async def doubling(message):
            for _ in range(2):
                await message.context.request("doubling", 1)

        a2a.register("doubling", doubling)
        root = a2a.context(budget=Budget(calls=20))
        with pytest.raises((BudgetSpent, CallsUnbounded)):
            await a2a.request("doubling", 1, context=root)
        assert root.calls_made <= 20


async def test_what_a_child_spends_is_spent_for_all_above_it():
    async with A2AServer() as a2a:

        async def spends(message):
            message.context.spend(tokens=60, cost_usd=0.5)
            return message.context.tokens_left

        async def twice(message):
            first = await message.context.request("spends", 1)
            return first, await message.context.request("spends", 1), message.context.tokens_left

        a2a.register("spends", spends)
        a2a.register("twice", twice)
        root = a2a.context(budget=Budget(tokens=100, cost_usd=2.0))
        assert await a2a.request("twice", 1, context=root) == (40, 0, 0)
        assert (root.tokens_left, root.tokens_spent, root.cost_usd_left) == (0, 120, 1.0)
        with pytest.raises(BudgetSpent) as refused:
            await a2a.request("spends", 1, context=root)
        assert refused.value.kind == "tokens"


@given(st.lists(st.tuples(st.floats(0, 1e6), st.integers(0, 3)), min_size=1, max_size=MAX_DEPTH), st.integers(0, 3))
def test_down_a_chain_everything_only_shrinks(steps, turn_class):
    at = A2AContext(None, deadline_s=5e5, turn_class=turn_class, budget=Budget(tokens=10, calls=9))  # type: ignore
    for deadline_s, wanted in steps:
        below = at.child("agent", deadline_s, wanted)
        assert below.deadline_s <= min(at.deadline_s, deadline_s)
        assert below.turn_class <= at.turn_class
        assert below.depth == at.depth + 1
        assert below.calls_left <= at.calls_left
        at = below


async def test_agents_that_work_may_ask_others_while_the_server_drains():
    a2a = A2AServer()
    gate = Gate()

    async def outer(message):
        await message.context.request("gate", 1)
        return await message.context.request("echo", "asked while draining")

    for name, handler in (("gate", gate), ("outer", outer), ("echo", echo)):
        a2a.register(name, handler)
    await a2a.start()
    async with asyncio.TaskGroup() as group:
        asked = group.create_task(a2a.request("outer", 1))
        await until(lambda: gate.entered)
        stopping = group.create_task(a2a.stop())
        await asyncio.sleep(0)
        gate.open()
    assert asked.result() == "asked while draining"
    assert stopping.done()


async def test_a_child_that_is_cancelled_by_its_parents_deadline_is_told_so():
    async with A2AServer() as a2a:
        told = []

        async def careful(message):
            try:
                await message.context.request("slow", 1)
            except (DeadlineExceeded, TurnCancelled, asyncio.CancelledError) as error:
                told.append(type(error))
                raise

        a2a.register("careful", careful)
        a2a.register("slow", Gate())
        with pytest.raises(DeadlineExceeded):
            await a2a.request("careful", 1, deadline_s=soon(0.03))
        await until(lambda: told and quiet(a2a))
