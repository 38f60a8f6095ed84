"""Capacity over the wire: pools, tiers, the 429 of each, and what the usage calls the traffic."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ngx_agents.vertex.emulator.pools import Capacity, PoolRule, Step
from ngx_agents.vertex.emulator.refusal import Refusal
from ngx_agents.vertex.emulator.target import Target
from tests.vertex.emulator.wire import Answer, Wire, body

DEDICATED = {"X-Vertex-AI-LLM-Request-Type": "dedicated"}
SHARED = {"X-Vertex-AI-LLM-Request-Type": "shared"}
PRIORITY = {"X-Vertex-AI-LLM-Shared-Request-Type": "priority"}
FLEX = {"X-Vertex-AI-LLM-Shared-Request-Type": "flex"}
TARGET = Target(operation="generateContent", model="gemini-3.8-flash")
NOTHING: dict[str, Any] = {"requests_per_s": 0}


class Hand:
    """A clock moved by hand."""

    def __init__(self) -> None:
        self.at_s = 100.0

    def monotonic_s(self) -> float:
        return self.at_s

    def now_s(self) -> float:
        return self.at_s

    async def sleep(self, delay_s: float) -> None:
        self.at_s += delay_s


def admitted(capacity: Capacity, hand: Hand, *, over_s: float, offered_per_s: int) -> int:
    """How many calls get through when so many are offered, each ended at once."""
    count = 0
    for _ in range(round(over_s * offered_per_s)):
        hand.at_s += 1 / offered_per_s
        try:
            capacity.admit(TARGET, "", 10, 10).release(20)
        except Refusal:
            continue
        count += 1
    return count


def loaded(*rules: PoolRule) -> tuple[Capacity, Hand]:
    hand = Hand()
    capacity = Capacity(hand)
    capacity.load(list(rules))
    return capacity, hand


def test_rate_steps_from_100_to_40_and_back() -> None:
    steps = [Step(after_s=20, requests_per_s=100), Step(after_s=10, requests_per_s=40)]
    capacity, hand = loaded(PoolRule(requests_per_s=100, steps=steps))
    served = [admitted(capacity, hand, over_s=10, offered_per_s=200) for _ in range(3)]
    assert served == [pytest.approx(1000, abs=25), pytest.approx(400, abs=25), pytest.approx(1000, abs=25)]


def test_tokens_per_minute_bound_and_come_back() -> None:
    capacity, hand = loaded(PoolRule(tokens_per_min=6000))
    assert admitted(capacity, hand, over_s=1, offered_per_s=1000) == pytest.approx(305, abs=5)
    hand.at_s += 30
    assert admitted(capacity, hand, over_s=1, offered_per_s=1000) == pytest.approx(155, abs=5)


def test_output_is_estimated_at_admission_and_corrected_at_the_end() -> None:
    capacity, _ = loaded(PoolRule(tokens_per_min=2500))
    first = capacity.admit(TARGET, "", 10, 1000)
    second = capacity.admit(TARGET, "", 10, None)
    with pytest.raises(Refusal):
        capacity.admit(TARGET, "", 1000, 10)
    first.release(20)
    second.release(20)
    capacity.admit(TARGET, "", 1000, 10).release(1010)


@pytest.mark.parametrize(
    ("headers", "fields", "traffic"),
    [
        (None, {}, "ON_DEMAND"),
        (SHARED, {}, "ON_DEMAND"),
        (PRIORITY, {}, "ON_DEMAND_PRIORITY"),
        (FLEX, {}, "ON_DEMAND_FLEX"),
        (None, {"serviceTier": "priority"}, "ON_DEMAND_PRIORITY"),
        (None, {"serviceTier": "flex"}, "ON_DEMAND_FLEX"),
        (None, {"serviceTier": "standard"}, "ON_DEMAND"),
    ],
)
@pytest.mark.parametrize("has_pools", [False, True])
async def test_usage_says_the_traffic(
    wire: Wire, headers: dict[str, str] | None, fields: dict[str, str], traffic: str, has_pools: bool
) -> None:
    await wire.order(pools=[{"requests_per_s": 1000}] if has_pools else [])
    for answer in (await wire.generate(body(**fields), headers), await wire.stream(body(**fields), headers)):
        assert answer.usage["trafficType"] == traffic
    assert (await wire.state())["requests"][0]["traffic"] == {traffic: 1}


async def test_shared_pool_that_is_empty_answers_429(wire: Wire) -> None:
    await wire.order(pools=[{**NOTHING, "location": "global"}])
    answer = await wire.generate(body())
    assert (answer.status, answer.message.partition(".")[0]) == (429, "Resource exhausted")
    assert "retry-after" not in answer.headers
    assert (await wire.generate(body(), location="eu")).status == 200
    assert (await wire.state())["pools"][0]["refused"] == 1


async def test_quota_has_its_own_429(wire: Wire) -> None:
    await wire.order(pools=[{"kind": "quota", **NOTHING}])
    message = (await wire.generate(body())).message
    assert message.startswith("Quota exceeded for aiplatform.googleapis.com/online_prediction_requests_per_base_model")
    assert "with base model: gemini-3.8-flash. Please submit a quota increase request." in message


async def test_provisioned_throughput_is_used_first_and_flows_over(wire: Wire) -> None:
    await wire.order(pools=[{"kind": "provisioned", "requests_per_s": 0.001}, {"requests_per_s": 0.001}])
    traffic = [(await wire.generate(body())).usage["trafficType"] for _ in range(2)]
    assert traffic == ["PROVISIONED_THROUGHPUT", "ON_DEMAND"]
    assert (await wire.generate(body())).message.startswith("Resource exhausted.")
    dedicated = await wire.generate(body(), DEDICATED)
    assert (dedicated.status, dedicated.message) == (
        429,
        "Too many requests. Exceeded the Provisioned Throughput.",
    )


async def test_dedicated_never_flows_over_and_shared_never_uses_what_was_bought(wire: Wire) -> None:
    assert (await wire.generate(body(), DEDICATED)).status == 429, "nothing is bought"
    await wire.order(pools=[{"kind": "provisioned", "concurrent": 5}])
    assert (await wire.generate(body(), DEDICATED)).usage["trafficType"] == "PROVISIONED_THROUGHPUT"
    assert (await wire.generate(body(), SHARED)).usage["trafficType"] == "ON_DEMAND"


async def test_priority_is_for_global_and_goes_on_as_ordinary_when_full(wire: Wire) -> None:
    assert (await wire.generate(body(), PRIORITY, location="eu")).status == 400
    await wire.order(pools=[{"kind": "priority", "requests_per_s": 0.001}])
    traffic = [(await wire.generate(body(), PRIORITY)).usage["trafficType"] for _ in range(2)]
    assert traffic == ["ON_DEMAND_PRIORITY", "ON_DEMAND"]


async def test_calls_at_once_are_bounded_and_released(wire: Wire) -> None:
    await wire.order(pools=[{"concurrent": 2}], faults=[{"kind": "stall_first", "delay_ms": 100, "times": 2}])

    async def call(answers: list[Answer]) -> None:
        answers.append(await wire.generate(body()))

    answers: list[Answer] = []
    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(call(answers))
    assert sorted(answer.status for answer in answers) == [200, 200, 429, 429]
    state = await wire.state()
    assert (state["pools"][0]["held"], state["in_flight"]) == (0, 0)
    assert state["in_flight_max"] >= 2
    assert (await wire.generate(body())).status == 200


async def test_refused_request_holds_nothing(wire: Wire) -> None:
    await wire.order(pools=[{"concurrent": 1}])
    schema = {"responseMimeType": "application/json", "responseSchema": {"$ref": "#/nowhere"}}
    assert (await wire.generate(body(generationConfig=schema))).status == 400
    assert (await wire.state())["pools"][0]["held"] == 0


async def test_steps_are_seen_in_the_state(wire: Wire) -> None:
    steps = [{"after_s": 10, "requests_per_s": 40}, {"after_s": 20, "concurrent": 3}]
    await wire.order(pools=[{"requests_per_s": 100, "steps": steps}])
    seen = [((await wire.state())["pools"][0]["requests_per_s"])]
    for _ in range(2):
        pool = (await wire.order(advance_s=10))["pools"][0]
        seen.append(pool["requests_per_s"])
    assert seen == [100, 40, 40]
    assert pool["concurrent"] == 3


async def test_count_and_embeddings_are_bounded_too(wire: Wire) -> None:
    await wire.order(pools=[NOTHING])
    content = {"content": {"parts": [{"text": "x"}]}}
    embed = "/v1/projects/p/locations/global/publishers/google/models/gemini-embedding-001:embedContent"
    assert (await wire.post(embed, content)).status == 429
    await wire.order(pools=[])
    assert (await wire.post(embed, content)).status == 200
