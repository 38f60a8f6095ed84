"""Bounds: streams of one caller, the wait of a blocking call; what callers who leave give back."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest

from ngx_agents.errors import RateLimited
from tests.gateway.a2a.wire import (
    BINDINGS,
    Caller,
    Refused,
    all_of,
    caller,
    message_of,
    serving,
)


@pytest.mark.parametrize("binding", BINDINGS)
async def test_a_caller_has_so_many_streams_and_gets_them_back_by_leaving(tmp_path: Path, binding: str) -> None:
    async with caller(tmp_path, binding, max_streams=2) as on:
        task = await on.task("slow 20", config={"returnImmediately": True})
        place = {"id": task["id"]}
        open_ones = [on.stream("SubscribeToTask", place) for _ in range(2)]
        for stream in open_ones:
            assert "task" in await anext(stream)
            assert "statusUpdate" in await anext(stream)
        with pytest.raises(Refused) as caught:
            await anext(on.stream("SubscribeToTask", place))
        assert "Retry-After" in caught.value.headers
        await open_ones[0].aclose()  # type: ignore[attr-defined]  # a generator
        for _ in range(100):
            again = on.stream("SubscribeToTask", place)
            try:
                assert "task" in await anext(again)
                break
            except Refused:
                await asyncio.sleep(0.05)
        else:
            raise AssertionError("the stream that was left was never given back")
        await on.call("CancelTask", place)
        assert (await all_of(again))[-1]["statusUpdate"]["status"]["state"] == "TASK_STATE_CANCELED"


@pytest.mark.parametrize("method", ["SubscribeToTask", "SendStreamingMessage"])
async def test_of_a_burst_of_streams_no_more_are_open_than_there_may_be(tmp_path: Path, method: str) -> None:
    async with caller(tmp_path, "jsonrpc", max_streams=2) as on:
        task = await on.task("slow 20", config={"returnImmediately": True})
        asked = {"id": task["id"]} if method == "SubscribeToTask" else message_of("slow 20")
        streams = [on.stream(method, asked) for _ in range(20)]
        told = await asyncio.gather(*(anext(stream) for stream in streams), return_exceptions=True)
        assert sum(isinstance(one, dict) for one in told) == 2
        assert sum(isinstance(one, Refused) for one in told) == 18
        for stream in streams:
            await stream.aclose()  # type: ignore[attr-defined]  # a generator
        for one in [task, *(one["task"] for one in told if isinstance(one, dict))]:
            await on.call("CancelTask", {"id": one["id"]})


async def test_a_stream_that_is_refused_gives_its_place_back(tmp_path: Path) -> None:
    async with caller(tmp_path, "jsonrpc", max_streams=1) as on:
        for _ in range(3):
            with pytest.raises(Refused) as caught:
                await anext(on.stream("SubscribeToTask", {"id": "nothing"}))
            assert caught.value.code == -32001
        assert "task" in (await all_of(on.stream("SendStreamingMessage", message_of("chunks 1"))))[0]


@pytest.mark.parametrize("binding", BINDINGS)
async def test_a_blocking_call_answers_with_the_task_as_it_is_when_its_time_is_up(tmp_path: Path, binding: str) -> None:
    async with caller(tmp_path, binding, wait_s=0.3) as on:
        task = await on.task("slow 20")
        assert task["status"]["state"] == "TASK_STATE_WORKING"
        await on.call("CancelTask", {"id": task["id"]})


async def test_a_stream_ends_after_its_time_and_the_task_goes_on(tmp_path: Path) -> None:
    async with caller(tmp_path, "jsonrpc", stream_s=0.4) as on:
        task = await on.task("slow 20", config={"returnImmediately": True})
        events = await all_of(on.stream("SubscribeToTask", {"id": task["id"]}))
        assert events[-1]["statusUpdate"]["status"]["state"] == "TASK_STATE_WORKING"
        assert (await on.call("GetTask", {"id": task["id"]}))["status"]["state"] == "TASK_STATE_WORKING"
        await on.call("CancelTask", {"id": task["id"]})


async def test_a_caller_that_leaves_stops_no_task(tmp_path: Path) -> None:
    async with caller(tmp_path, "jsonrpc") as on:
        await on.call("ListTasks", {})  # the first request loads the SDK
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await on.task("slow 1", contextId="left")
        for _ in range(200):
            [task] = (await on.call("ListTasks", {"contextId": "left"}))["tasks"]
            if task["status"]["state"] == "TASK_STATE_COMPLETED":
                return
            await asyncio.sleep(0.05)
        raise AssertionError("the task did not go on")


async def refuse(*args: object, **more: object) -> None:
    raise RateLimited("too many turns in a minute", quota="turns", retry_after_s=7.0)


@pytest.mark.parametrize(("binding", "status"), [("jsonrpc", 200), ("rest", 429)])
async def test_a_limit_of_a_plan_is_told_in_each_bindings_own_words(
    tmp_path: Path, binding: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path) as (url, made), aiohttp.ClientSession() as session:
        monkeypatch.setattr(made.deps.entrance, "enter", refuse)
        on = Caller(session, url, binding, {"A2A-Version": "1.0"})
        for stream in (False, True):
            with pytest.raises(Refused) as caught:
                await (all_of(on.stream("SendStreamingMessage", message_of("hi"))) if stream else on.send("hi"))
            refused = caught.value
            assert (refused.status, refused.headers["Retry-After"]) == (status, "7")
            assert refused.details[0]["metadata"] == {"code": "rate_limited", "retryAfterS": "7.0"}
