"""The timer for the waits inside a stream."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest
import uvloop

from ngx_agents.errors import ModelTimeout
from ngx_agents.vertex.ladder.stall import StallWatch


async def _wait(watch: StallWatch, limit_s: float, sleep_s: float) -> str:
    watch.begin(limit_s)
    try:
        await asyncio.sleep(sleep_s)
    except asyncio.CancelledError as exc:
        watch.overdue(exc)
        raise
    await watch.end()
    return "waited"


async def test_a_wait_within_its_limit_is_left_alone() -> None:
    watch = StallWatch()
    for _ in range(5):
        assert await _wait(watch, 0.2, 0.001) == "waited"
    watch.close()


async def test_a_wait_over_its_limit_is_a_model_timeout_and_the_task_lives_on() -> None:
    watch = StallWatch()
    with pytest.raises(ModelTimeout):
        await _wait(watch, 0.02, 5)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)
    assert await _wait(watch, 0.5, 0) == "waited"
    watch.close()


def test_what_came_while_the_loop_was_busy_is_not_taken_for_silence() -> None:
    """On uvloop, which runs its timers before it looks at its sockets."""

    async def heard() -> bytes:
        loop, watch = asyncio.get_running_loop(), StallWatch()
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            loop.call_later(0.01, lambda: (theirs.send(b"in time"), time.sleep(0.4)))
            watch.begin(0.1)
            try:
                found = await loop.sock_recv(ours, 16)
            except asyncio.CancelledError as exc:
                watch.overdue(exc)
                raise
            await watch.end()
        watch.close()
        return found

    assert uvloop.run(heard()) == b"in time"


async def test_a_shorter_limit_after_a_longer_one_holds() -> None:
    watch = StallWatch()
    assert await _wait(watch, 10, 0) == "waited"
    with pytest.raises(ModelTimeout):
        await _wait(watch, 0.02, 5)
    watch.close()


async def test_time_between_waits_is_not_counted() -> None:
    watch = StallWatch()
    assert await _wait(watch, 0.03, 0) == "waited"
    await asyncio.sleep(0.06)  # the reader of the stream is slow, the model is not
    assert await _wait(watch, 0.03, 0) == "waited"
    watch.close()


async def test_a_cancel_from_outside_stays_a_cancel() -> None:
    watch = StallWatch()
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(_wait(watch, 10, 5))
        await asyncio.sleep(0.01)
        waiting.cancel()
    assert waiting.cancelled()
    watch.close()


async def test_a_cancel_from_outside_in_the_same_moment_wins() -> None:
    watch = StallWatch()
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(_wait(watch, 0.0, 5))
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_soon(waiting.cancel)
    assert waiting.cancelled()
    watch.close()


async def test_a_result_in_the_moment_of_the_timeout_never_cancels_what_comes_after() -> None:
    for _ in range(200):
        watch = StallWatch()
        loop = asyncio.get_running_loop()
        arrived = loop.create_future()
        watch.begin(0.0005)
        loop.call_at(loop.time() + 0.0005, lambda each=arrived: each.done() or each.set_result(1))
        try:
            await arrived
            await watch.end()
        except asyncio.CancelledError as exc:
            with pytest.raises(ModelTimeout):
                watch.overdue(exc)
        except ModelTimeout:
            pass
        finally:
            watch.close()
        await asyncio.sleep(0)  # would raise, if a cancel were left over


def test_a_limit_that_has_passed_already_ends_the_wait_on_uvloop_too() -> None:
    async def main() -> None:
        watch = StallWatch()
        with pytest.raises(ModelTimeout):
            await _wait(watch, 0.0, 5)
        watch.begin(-1.0)
        with pytest.raises(ModelTimeout):
            await _wait(watch, -2.0, 5)
        watch.close()

    uvloop.run(main())
