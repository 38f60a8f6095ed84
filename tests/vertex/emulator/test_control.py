"""What the emulator tells of itself, the orders that change it, its metrics, and how long it takes."""

from __future__ import annotations

import asyncio
import math
import statistics
from typing import Any

import pytest

from ngx_agents.clock import Rng
from ngx_agents.vertex.emulator.latency import Latency
from tests.vertex.emulator.wire import FLASH, Wire, body, path


async def test_calls_are_counted_by_operation_location_and_model(wire: Wire) -> None:
    await wire.generate(body())
    await wire.generate(body(), location="eu")
    await wire.stream(body())
    await wire.stream(body())
    await wire.generate(body(), model="gemini-0")
    await wire.call("GET", "/v1/projects/p/locations/global/cachedContents")
    state = await wire.state()
    counts = {
        (each["operation"], each["location"], each["model"]): (each["received"], each["answered"], each["refused"])
        for each in state["requests"]
    }
    assert counts == {
        ("generateContent", "global", FLASH): (1, 1, {}),
        ("generateContent", "eu", FLASH): (1, 1, {}),
        ("streamGenerateContent", "global", FLASH): (2, 2, {}),
        ("generateContent", "global", "gemini-0"): (1, 0, {"404": 1}),
        ("cachedContents.list", "global", ""): (1, 1, {}),
    }
    assert state["calls"] == 6
    assert (state["streams_done"], state["streams_open"], state["streams_open_max"]) == (2, 0, 1)


async def test_tokens_are_those_of_the_usage(wire: Wire) -> None:
    usages = [(await wire.generate(body())).usage, (await wire.stream(body("again"))).usage]
    tokens = (await wire.state())["tokens"]
    assert tokens["prompt"] == sum(usage["promptTokenCount"] for usage in usages)
    assert tokens["output"] == sum(usage["candidatesTokenCount"] for usage in usages)
    assert tokens["thought"] == sum(usage["thoughtsTokenCount"] for usage in usages)


async def test_open_streams_are_seen_while_they_are_open(wire: Wire) -> None:
    await wire.script({"kind": "stall_gap", "at_chunk": 1, "delay_ms": 150, "times": 3})
    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(wire.stream(body()))
        while (await wire.state())["streams_open"] < 3:  # noqa: ASYNC110  # the emulator is another process
            await asyncio.sleep(0.005)
    state = await wire.state()
    assert (state["streams_open"], state["streams_open_max"], state["streams_done"]) == (0, 3, 3)


async def test_last_requests_are_kept_on_demand(wire: Wire) -> None:
    await wire.generate(body("not kept"))
    await wire.order(keep_requests=2)
    for text in ("one", "two", "three"):
        await wire.generate(body(text), {"x-mark": text})
    kept = (await wire.call("GET", "/_control/requests")).json()
    assert [each["body"] for each in kept] == [body("two"), body("three")]
    assert (kept[1]["operation"], kept[1]["path"], kept[1]["headers"]["x-mark"]) == ("generateContent", path(), "three")
    await wire.call("DELETE", "/_control")
    assert (await wire.call("GET", "/_control/requests")).json() == []


ORDERS: list[Any] = [
    b"{",
    b"5",
    {"unknown": 1},
    {"faults": {}},
    {"pools": [{"kind": "puddle"}]},
    {"pools": [{"steps": [{"requests_per_s": 1}]}]},
    {"pools": [{"requests_per_s": -1}]},
    {"latency": {"colour": 1}},
    {"latency": {"chunks": 0}},
    {"latency": {"ttft_ms": -5}},
    {"models": {"x": {"colour": 1}}},
    {"keep_requests": -1},
    {"keep_requests": 1_000_000},
    {"advance_s": -1},
    {"advance_s": "soon"},
    {"down_s": -1},
]


@pytest.mark.parametrize("order", ORDERS, ids=str)
async def test_malformed_order_is_refused_and_changes_nothing(wire: Wire, order: Any) -> None:
    await wire.order(latency={"ttft_ms": 3}, pools=[{"concurrent": 9}])
    before = await wire.state()
    refused = await wire.post("/_control", order)
    assert (refused.status, refused.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert await wire.state() == before


async def test_delete_puts_everything_back(wire: Wire) -> None:
    fresh = (await wire.call("DELETE", "/_control")).json()
    await wire.order(
        faults=[{"kind": "reset", "operation": "x", "times": None}],
        pools=[{"concurrent": 1}],
        models={FLASH: {"retired": True}},
        latency={"chunks": 3},
        caches={"min_tokens": 1},
        advance_s=100,
        keep_requests=3,
    )
    await wire.generate(body())
    await wire.post("/token", b"")
    assert (await wire.call("DELETE", "/_control")).json() == fresh
    assert (await wire.generate(body())).status == 200


async def test_calls_begun_before_a_reset_do_not_disturb_the_counts(wire: Wire) -> None:
    await wire.script({"kind": "stall_first", "delay_ms": 60})
    async with asyncio.TaskGroup() as group:
        group.create_task(wire.stream(body()))
        while not (await wire.state())["in_flight"]:  # noqa: ASYNC110  # the emulator is another process
            await asyncio.sleep(0.005)
        await wire.call("DELETE", "/_control")
    state = await wire.state()
    assert (state["calls"], state["in_flight"], state["streams_open"], state["streams_done"]) == (0, 0, 0, 0)


async def test_metrics_are_in_prometheus_form(wire: Wire) -> None:
    await wire.script({"kind": "status", "status": 429})
    await wire.generate(body())
    await wire.stream(body())
    answer = await wire.call("GET", "/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = answer.content.decode().splitlines()
    place = f'location="global",model="{FLASH}"'
    for line in (
        f'ngx_emulator_requests_total{{{place},operation="generateContent"}} 1.0',
        f'ngx_emulator_refusals_total{{{place},operation="generateContent",status="429"}} 1.0',
        f'ngx_emulator_answers_total{{{place},operation="streamGenerateContent"}} 1.0',
        f'ngx_emulator_traffic_total{{{place},operation="streamGenerateContent",type="ON_DEMAND"}} 1.0',
        'ngx_emulator_streams_total{end="done"} 1.0',
        'ngx_emulator_faults_total{kind="status"} 1.0',
        "ngx_emulator_streams_open 0.0",
        "ngx_emulator_cache_creates_total 0.0",
    ):
        assert line in lines, line


def test_latency_is_fixed_even_or_lognormal_and_repeats_with_its_seed() -> None:
    def draws(**fields: float) -> list[float]:
        latency, rng = Latency(ttft_ms=100, chunk_gap_ms=20, **fields), Rng(7)  # type: ignore[arg-type]
        return [latency.ttft_s(rng) for _ in range(4000)]

    assert set(draws()) == {0.1}
    even = draws(jitter=0.5)
    assert 0.05 <= min(even) < 0.052
    assert 0.148 < max(even) <= 0.15
    skewed = draws(sigma=0.5)
    assert statistics.median(skewed) == pytest.approx(0.1, rel=0.05)
    assert statistics.pstdev(map(math.log, skewed)) == pytest.approx(0.5, rel=0.05)
    assert draws(sigma=0.5) == skewed


async def test_latency_can_be_changed_while_it_runs(wire: Wire) -> None:
    await wire.order(latency={"ttft_ms": 30, "chunk_gap_ms": 2, "sigma": 0.1, "chunks": 5})
    loop = asyncio.get_running_loop()
    started_s = loop.time()
    answer = await wire.stream(body())
    assert len(answer.documents()) == 5
    assert loop.time() - started_s > 0.03
    assert (await wire.state())["latency"]["jitter"] == 0
