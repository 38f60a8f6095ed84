"""Streamed replies in process."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing

import pytest

from ngx_agents.a2a.call import MAX_UNREAD
from ngx_agents.a2a.refusals import AgentFailed
from ngx_agents.a2a.server import A2AServer
from ngx_agents.errors import DeadlineExceeded
from tests.a2a.teams import echo, quiet, soon, until


async def count_up(message):
    for number in range(message.payload):
        yield number


async def test_pieces_come_in_order_and_a_whole_reply_is_one_piece():
    async with A2AServer() as a2a:
        a2a.register("count", count_up)
        a2a.register("echo", echo)
        assert [piece async for piece in a2a.stream("count", 200)] == list(range(200))
        assert [piece async for piece in a2a.stream("echo", "whole")] == ["whole"]
        assert await a2a.request("count", 3) == [0, 1, 2]
        assert quiet(a2a)


async def test_a_slow_reader_holds_the_agent_back():
    async with A2AServer() as a2a:
        made = []

        async def eager(message):
            for number in range(1000):
                made.append(number)
                yield number

        a2a.register("eager", eager)
        async with aclosing(a2a.stream("eager", None)) as pieces:
            assert await anext(pieces) == 0
            for _ in range(50):
                await asyncio.sleep(0)
            assert len(made) <= MAX_UNREAD + 2
            rest = [piece async for piece in pieces]
        assert rest == list(range(1, 1000))


async def test_a_reader_that_leaves_ends_the_work():
    async with A2AServer() as a2a:
        ended = []

        async def endless(message):
            try:
                while True:
                    yield "more"
                    await asyncio.sleep(0)
            finally:
                ended.append(True)

        a2a.register("endless", endless)
        async with aclosing(a2a.stream("endless", None)) as pieces:
            async for _ in pieces:
                break
        await until(lambda: ended)
        await until(lambda: quiet(a2a))


async def test_an_error_comes_after_the_pieces_that_came_before_it():
    async with A2AServer() as a2a:

        async def breaks(message):
            yield "first"
            raise RuntimeError

        a2a.register("breaks", breaks)
        pieces = a2a.stream("breaks", None)
        assert await anext(pieces) == "first"
        with pytest.raises(AgentFailed):
            await anext(pieces)


async def test_a_stream_ends_at_its_deadline():
    async with A2AServer() as a2a:

        async def stalls(message):
            yield "first"
            await asyncio.sleep(60)

        a2a.register("stalls", stalls)
        pieces = a2a.stream("stalls", None, deadline_s=soon(0.05))
        assert await anext(pieces) == "first"
        with pytest.raises(DeadlineExceeded):
            await anext(pieces)
        await until(lambda: quiet(a2a))


async def test_a_hop_adds_less_than_two_milliseconds_to_a_piece():
    async with A2AServer() as a2a:

        async def leaf(message):
            for _ in range(20):
                yield time.perf_counter()
                await asyncio.sleep(0.001)

        async def relay(message):
            async for piece in message.context.stream(message.payload, None):
                yield piece

        a2a.register("leaf", leaf)
        a2a.register("hop", relay)
        delays = sorted([time.perf_counter() - said async for said in a2a.stream("hop", "leaf")])
        assert delays[len(delays) // 2] < 0.002 * 2
