"""Streams that are worked on in their reader's own task."""

from __future__ import annotations

import asyncio
import gc
import time
from contextlib import aclosing

import pytest
from tests.a2a.teams import Gate, quiet, soon, until

from ngx_agents.a2a.refusals import AgentBusy, AgentFailed, AgentSuspended
from ngx_agents.a2a.server import A2AServer
from ngx_agents.errors import DeadlineExceeded, Draining, JournalUnavailable, NgxError, TurnCancelled
from ngx_agents.telemetry.metrics import Metrics


async def three(message):
    for number in range(3):
        yield [message.payload, number]
        await asyncio.sleep(0)


class Work:
    """Says its task, then works until it is stopped."""

    def __init__(self) -> None:
        self.was_cancelled = False
        self.was_closed = False

    async def __call__(self, message):
        raise AssertionError("replaced by `handle`")

    async def handle(self, message):
        try:
            yield asyncio.current_task()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise
        finally:
            self.was_closed = True


async def inline_server(handler, **limits) -> A2AServer:
    a2a = A2AServer(**limits)
    a2a.register("agent", handler, runs_inline=True)
    return a2a


async def test_an_agent_that_is_free_works_in_the_readers_task() -> None:
    work = Work()
    async with await inline_server(work.handle) as a2a:
        async with aclosing(a2a.stream("agent", None, deadline_s=soon())) as said:
            assert await anext(said) is asyncio.current_task()
            assert a2a.agent("agent").running == a2a.pending == 1
        assert work.was_closed
        assert not work.was_cancelled
        assert quiet(a2a)


async def test_every_piece_comes_once_and_in_order() -> None:
    metrics = Metrics()
    async with await inline_server(three, metrics=metrics) as a2a:
        assert [piece async for piece in a2a.stream("agent", "x")] == [["x", 0], ["x", 1], ["x", 2]]
        assert quiet(a2a)
    assert 'ngx_a2a_messages_total{agent="agent",outcome="completed"} 1.0' in metrics.render().decode()


async def test_a_handler_that_does_not_stream_gives_one_piece() -> None:
    async def whole(message):
        return message.payload

    async with await inline_server(whole) as a2a:
        assert [piece async for piece in a2a.stream("agent", "x")] == ["x"]
        assert await a2a.request("agent", "x") == "x"


async def test_when_no_worker_is_free_the_message_takes_the_usual_way() -> None:
    gate = Gate()

    async def held(message):
        yield await gate(message)

    async with await inline_server(held, worker_threads=1, message_queue_size=1) as a2a:

        async def whole(number: int) -> list[object]:
            return [piece async for piece in a2a.stream("agent", number, deadline_s=soon())]

        async with asyncio.TaskGroup() as group:
            first = group.create_task(whole(1))
            await until(lambda: gate.entered)
            second = group.create_task(whole(2))
            await until(lambda: a2a.agent("agent").waiting == 1)
            with pytest.raises(AgentBusy):
                await whole(3)
            gate.open()
        assert (first.result(), second.result()) == ([1], [2])
        assert quiet(a2a)


async def test_at_its_deadline_the_handler_is_stopped_and_the_reader_told() -> None:
    work = Work()
    async with await inline_server(work.handle) as a2a:
        began_s = time.monotonic()
        with pytest.raises(DeadlineExceeded):
            async for _ in a2a.stream("agent", None, deadline_s=began_s + 0.1):
                pass
        assert time.monotonic() - began_s < 1.0
        assert work.was_cancelled
        assert asyncio.current_task().cancelling() == 0
        assert quiet(a2a)


async def test_a_deadline_that_passes_while_the_reader_has_control_is_told_at_the_next_piece() -> None:
    work = Work()
    async with await inline_server(work.handle) as a2a:
        said = a2a.stream("agent", None, deadline_s=soon(0.05))
        await anext(said)
        await asyncio.sleep(0.2)  # not cancelled here
        with pytest.raises(DeadlineExceeded):
            await anext(said)
        assert work.was_closed
        assert quiet(a2a)


async def test_a_cancel_of_the_reader_stops_the_handler_and_stays_a_cancel() -> None:
    work = Work()
    async with await inline_server(work.handle) as a2a:

        async def read() -> None:
            async for _ in a2a.stream("agent", None, deadline_s=soon()):
                pass

        reading = asyncio.ensure_future(read())
        await until(lambda: a2a.agent("agent").running == 1)
        await asyncio.sleep(0.01)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert work.was_cancelled
        assert quiet(a2a)


async def test_a_timeout_of_the_readers_own_at_the_same_moment_stays_a_timeout() -> None:
    work = Work()
    async with await inline_server(work.handle) as a2a:

        async def read() -> None:
            async with asyncio.timeout(0.05):
                async for _ in a2a.stream("agent", None, deadline_s=soon(0.05)):
                    pass

        for _ in range(5):
            with pytest.raises((TimeoutError, DeadlineExceeded)):
                await read()
            assert asyncio.current_task().cancelling() == 0
        assert quiet(a2a)


async def test_a_server_that_stops_tells_the_reader() -> None:
    work = Work()
    a2a = await inline_server(work.handle)
    await a2a.start()

    async def read() -> None:
        async for _ in a2a.stream("agent", None, deadline_s=soon()):
            pass

    reading = asyncio.ensure_future(read())
    await until(lambda: a2a.agent("agent").running == 1)
    await asyncio.sleep(0.01)
    await a2a.stop(drain_s=0.0)
    with pytest.raises(TurnCancelled):
        await reading
    with pytest.raises(Draining):
        _ = [piece async for piece in a2a.stream("agent", None)]


async def test_our_errors_pass_and_foreign_ones_do_not_and_only_faults_open_the_breaker() -> None:
    raised: list[Exception] = [JournalUnavailable("away")] * 30 + [RuntimeError("the secret reason")] * 30

    async def failing(message):
        yield "first"
        raise raised[message.payload]

    async with await inline_server(failing, circuit_breaker_threshold=10) as a2a:
        for number in range(30):
            with pytest.raises(JournalUnavailable):
                _ = [piece async for piece in a2a.stream("agent", number)]
        assert a2a.agent("agent").breaker.state == "closed"
        for number in range(30, 40):
            with pytest.raises(AgentFailed) as told:
                _ = [piece async for piece in a2a.stream("agent", number)]
            assert "secret" not in str(told.value)
        with pytest.raises(AgentSuspended):
            _ = [piece async for piece in a2a.stream("agent", 0)]
        assert quiet(a2a)


async def test_a_reader_that_goes_away_without_closing_leaves_nothing_behind() -> None:
    work = Work()
    async with await inline_server(work.handle) as a2a:
        said = a2a.stream("agent", None, deadline_s=soon())
        await anext(said)
        del said
        gc.collect()
        await until(lambda: quiet(a2a) and work.was_closed)


async def test_deadline_class_and_budget_are_inherited_inline() -> None:
    seen = []

    async def asking(message):
        seen.append((message.turn_class, message.depth, message.deadline_s))
        if message.depth < 3:
            async with aclosing(message.context.stream("agent", None)) as below:
                async for piece in below:
                    yield piece
        else:
            message.context.spend(tokens=5)
            yield "bottom"

    async with await inline_server(asking) as a2a:
        context = a2a.context(deadline_s=(by_s := soon()), turn_class=2)
        assert [piece async for piece in context.stream("agent", None)] == ["bottom"]
        assert seen == [(2, depth, by_s) for depth in (1, 2, 3)]
        assert (context.tokens_spent, context.calls_made) == (5, 3)


async def test_many_readers_at_once_end_with_nothing_left() -> None:
    async with await inline_server(three, worker_threads=8, max_pending_requests=64) as a2a:

        async def one(number: int) -> bool:
            try:
                pieces = [piece async for piece in a2a.stream("agent", number, deadline_s=soon())]
            except NgxError:
                return False
            return pieces == [[number, each] for each in range(3)]

        assert all(await asyncio.gather(*(one(number) for number in range(64))))
        assert quiet(a2a)
