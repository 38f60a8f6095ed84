from __future__ import annotations

import asyncio
import io
import json
import re
import timeit
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from msgspec.structs import replace

from ngx_agents.errors import ModelThrottled, ModelUnavailable
from ngx_agents.resilience.breaker import BreakerState
from ngx_agents.telemetry.log import ROOT, configure
from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.vertex.content import Content, ModelReply, Text, Usage
from ngx_agents.vertex.measures import BREAKER, MAX_NAMES, ModelMeasures

MODEL = "gemini-3.8-flash"
SECRET = "what nobody else may read"
REPLY = ModelReply(
    content=Content(role="model", parts=(Text(text=SECRET),)),
    finish_reason="stop",
    usage=Usage(input_tokens=1000, output_tokens=101, thought_tokens=9, cached_tokens=400),
    model=MODEL,
    location="global",
    provider="vertex",
    traffic_type="ON_DEMAND",
)
COST = (600 * 0.75 + 400 * 0.075 + 110 * 3.75) / 1_000_000


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def measures(metrics: Metrics) -> ModelMeasures:
    return ModelMeasures(metrics)


@pytest.fixture
def events() -> Iterator[Any]:
    """Reads the events logged so far, from the level given."""
    import logging

    root = logging.getLogger(ROOT)
    before = root.handlers[:], root.level, root.propagate
    stream = io.StringIO()

    def read(level: str = "debug") -> list[dict[str, Any]]:
        ranks = ["debug", "info", "warning", "error"]
        lines = [json.loads(line) for line in stream.getvalue().splitlines()]
        return [line for line in lines if ranks.index(line["level"]) >= ranks.index(level)]

    configure("debug", stream)
    yield read
    root.handlers[:], root.propagate = before[0], before[2]
    root.setLevel(before[1])


def sample(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_tokens_are_counted_by_model_and_kind_and_cost_by_model(metrics: Metrics, measures: ModelMeasures) -> None:
    for _ in range(2):
        measures.paid(REPLY, model=MODEL)
    counted = {
        kind: sample(metrics, "ngx_model_tokens_total", model=MODEL, kind=kind)
        for kind in ("input", "output", "thought", "cached")
    }
    assert counted == {"input": 2000, "output": 202, "thought": 18, "cached": 800}
    assert sample(metrics, "ngx_model_cost_usd_total", model=MODEL) == pytest.approx(2 * COST)


@pytest.mark.parametrize("source", ["cache", "stale"])
def test_a_kept_answer_costs_no_tokens(metrics: Metrics, measures: ModelMeasures, source: Any) -> None:
    measures.ended(replace(REPLY, source=source), model=MODEL, elapsed_s=0.001)
    assert sample(metrics, "ngx_model_tokens_total", model=MODEL, kind="input") is None
    assert sample(metrics, "ngx_model_answers_total", source=source, rung="shared") == 1


def test_what_callers_got_and_what_was_paid_are_counted_apart(metrics: Metrics, measures: ModelMeasures) -> None:
    measures.paid(REPLY, model=MODEL)
    for _ in range(2):  # one that asked, one that joined
        measures.ended(REPLY, model=MODEL, elapsed_s=0.5)
    assert sample(metrics, "ngx_model_tokens_total", model=MODEL, kind="input") == 1000
    assert sample(metrics, "ngx_model_calls_total", outcome="ok") == 2


@pytest.mark.parametrize(
    "reply",
    [
        replace(REPLY, model="gemini-9-unheard-of"),
        replace(REPLY, traffic_type="PROVISIONED_THROUGHPUT"),
        replace(REPLY, traffic_type="ON_DEMAND_PRIORITY"),
    ],
)
def test_a_call_without_a_list_price_is_counted_as_such(
    metrics: Metrics, measures: ModelMeasures, reply: ModelReply
) -> None:
    measures.paid(reply, model=MODEL)
    assert sample(metrics, "ngx_model_unpriced_calls_total", model=reply.model) == 1
    assert sample(metrics, "ngx_model_cost_usd_total", model=reply.model) == 0


def test_the_local_models_tokens_are_counted_and_have_no_price(metrics: Metrics, measures: ModelMeasures) -> None:
    local = replace(REPLY, source="local", rung="local", model="smollm2-135m-instruct", traffic_type=None)
    measures.paid(local, model=MODEL)
    assert sample(metrics, "ngx_model_tokens_total", model=local.model, kind="input") == 1000
    assert sample(metrics, "ngx_model_unpriced_calls_total", model=local.model) == 0


def test_a_stream_is_timed_to_its_first_token_and_between_the_others(metrics: Metrics, measures: ModelMeasures) -> None:
    measures.ended(REPLY, model=MODEL, elapsed_s=2.2, first_token_s=0.2)
    assert sample(metrics, "ngx_model_first_token_seconds_sum") == pytest.approx(0.2)
    assert sample(metrics, "ngx_model_output_token_seconds_sum") == pytest.approx(2.0 / 100)
    assert sample(metrics, "ngx_model_output_token_seconds_bucket", le="0.02") == 1


@pytest.mark.parametrize("output_tokens", [0, 1])
def test_a_stream_of_one_token_has_no_time_between_tokens(
    metrics: Metrics, measures: ModelMeasures, output_tokens: int
) -> None:
    usage = Usage(input_tokens=1, output_tokens=output_tokens)
    measures.ended(replace(REPLY, usage=usage), model=MODEL, elapsed_s=1.0, first_token_s=1.0)
    assert sample(metrics, "ngx_model_output_token_seconds_count") == 0


def test_names_from_callers_are_few_labels(metrics: Metrics, measures: ModelMeasures) -> None:
    for number in range(1000):
        name = f"model-{number}"
        measures.paid(replace(REPLY, model=name), model=name)
        measures.broke(ModelUnavailable("x"), provider="vertex", model=name, elapsed_s=0.1)
        measures.breaker_changed(f"place-{number}", name, "open", "failures")
    for family in metrics.collect():
        for label in ("model", "gen_ai_request_model", "location"):
            values = {one.labels[label] for one in family.samples if label in one.labels}
            assert len(values) <= MAX_NAMES + 1, (family.name, label)
    assert sample(metrics, "ngx_model_tokens_total", model="other", kind="input") == (1000 - MAX_NAMES) * 1000


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(ModelThrottled("x"), "model_throttled"), (asyncio.CancelledError(), "cancelled"), (GeneratorExit(), "cancelled")],
)
def test_what_ends_without_an_answer_is_counted_by_its_code(
    metrics: Metrics, measures: ModelMeasures, error: BaseException, outcome: str
) -> None:
    measures.broke(error, provider="vertex", model=MODEL, elapsed_s=0.3)
    assert sample(metrics, "ngx_model_calls_total", outcome=outcome) == 1
    labels = {"gen_ai_operation_name": "chat", "gen_ai_provider_name": "gcp.vertex_ai", "gen_ai_request_model": MODEL}
    assert sample(metrics, "gen_ai_client_operation_duration_seconds_count", **labels, error_type=outcome) == 1


def test_embeddings_count_what_they_read(metrics: Metrics, measures: ModelMeasures) -> None:
    measures.embedded(provider="vertex", model="gemini-embedding-001", input_tokens=12, elapsed_s=0.1)
    assert sample(metrics, "ngx_model_tokens_total", model="gemini-embedding-001", kind="input") == 12


def test_retries_are_counted_by_reason_and_rung(metrics: Metrics, measures: ModelMeasures) -> None:
    measures.retried("model_timeout", is_same_rung=True)
    measures.retried("model_timeout", is_same_rung=False)
    assert sample(metrics, "ngx_model_retries_total", reason="model_timeout", rung="same") == 1
    assert sample(metrics, "ngx_model_retries_total", reason="model_timeout", rung="next") == 1


def test_a_breakers_state_is_a_number_per_lane(metrics: Metrics, measures: ModelMeasures, events: Any) -> None:
    for state, number in (("open", 2), ("half_open", 1), ("closed", 0)):
        measures.breaker_changed("eu", MODEL, state, "failures")
        assert sample(metrics, "ngx_model_breaker_state", location="eu", model=MODEL) == number
    assert [event["state"] for event in events()] == ["open", "half_open", "closed"]


def test_every_state_of_a_breaker_has_a_number() -> None:
    assert set(BREAKER) == set(get_args(BreakerState))


def test_each_call_is_one_event_that_tells_no_text(measures: ModelMeasures, events: Any) -> None:
    measures.ended(REPLY, model=MODEL, elapsed_s=0.5, first_token_s=0.1)
    (event,) = events()
    told = {name: value for name, value in event.items() if name not in ("at", "room")}
    assert told == {
        "level": "debug",
        "event": "vertex.call",
        "model": MODEL,
        "answered_by": MODEL,
        "location": "global",
        "rung": "shared",
        "source": "model",
        "outcome": "ok",
        "attempts": 1,
        "ttft_ms": 100,
        "total_ms": 500,
        "input_tokens": 1000,
        "output_tokens": 101,
        "thought_tokens": 9,
        "cached_tokens": 400,
        "cost_usd": pytest.approx(COST),
    }


def test_only_what_did_not_go_as_meant_is_told_at_info(measures: ModelMeasures, events: Any) -> None:
    measures.ended(REPLY, model=MODEL, elapsed_s=0.5)
    measures.broke(asyncio.CancelledError(), provider="vertex", model=MODEL, elapsed_s=0.5)
    assert events("info") == []
    measures.ended(replace(REPLY, attempts=2), model=MODEL, elapsed_s=0.5)
    measures.ended(replace(REPLY, is_degraded=True), model=MODEL, elapsed_s=0.5)
    measures.broke(ModelUnavailable(SECRET, status=503), provider="vertex", model=MODEL, elapsed_s=0.5)
    assert [event["outcome"] for event in events("info")] == ["ok", "ok", "model_unavailable"]
    assert SECRET not in json.dumps(events())


def test_a_call_costs_little_to_measure(measures: ModelMeasures) -> None:
    def once() -> None:
        measures.paid(REPLY, model=MODEL)
        measures.ended(REPLY, model=MODEL, elapsed_s=0.5, first_token_s=0.1)

    once()
    assert min(timeit.repeat(once, number=2000, repeat=5)) / 2000 < 20e-6  # twice the budget: the machine is shared


def test_the_guide_names_every_metric_with_its_labels(metrics: Metrics, measures: ModelMeasures) -> None:
    measures.paid(REPLY, model=MODEL)
    measures.ended(REPLY, model=MODEL, elapsed_s=0.5, first_token_s=0.1)
    measures.retried("model_timeout", is_same_rung=True)
    measures.breaker_changed("eu", MODEL, "open", "failures")
    guide = Path("docs/observability.md").read_text().partition("| limits and budgets |")[0]
    rows = dict(re.findall(r"^\| `((?:ngx|gen_ai)_\w+)` \|([^|]*)\|", guide, re.MULTILINE))
    made = {family.name + ("_total" if family.type == "counter" else ""): family for family in metrics.collect()}
    assert rows.keys() == made.keys()
    for name, labels in rows.items():
        if name.startswith("ngx_"):
            told = {label for sample in made[name].samples for label in sample.labels} - {"le"}
            assert told == set(re.findall(r"`(\w+)`", labels)), name
