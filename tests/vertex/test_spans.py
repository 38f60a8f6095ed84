from __future__ import annotations

import asyncio
from typing import Any, get_args

from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes, server_attributes
from opentelemetry.semconv._incubating.metrics import gen_ai_metrics
from opentelemetry.trace import SpanKind

from ngx_agents.errors import ModelThrottled
from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.telemetry.traces import NO_SPAN, Traces
from ngx_agents.vertex.content import Content, FinishReason, ModelReply, ModelRequest, Text, Usage
from ngx_agents.vertex.spans import FINISH, CalledServer, CallSpans, ConventionMetrics

SERVER = CalledServer(provider="vertex", address="aiplatform.googleapis.com", port=443)
SECRET = "what nobody else may read"
REQUEST = ModelRequest(
    system=SECRET,
    contents=(Content(role="user", parts=(Text(text=SECRET),)),),
    deadline_s=9.0,
    temperature=0.5,
    max_output_tokens=100,
)
REPLY = ModelReply(
    content=Content(role="model", parts=(Text(text=SECRET),)),
    finish_reason="max_tokens",
    usage=Usage(input_tokens=90, output_tokens=20, thought_tokens=7, cached_tokens=30),
    model="gemini-3.5-flash-lite",
    location="eu",
    provider="vertex",
    rung="sibling",
    attempts=3,
)


async def spans_of(*calls: Any) -> list[Any]:
    """What `calls`, functions of a CallSpans, leave behind."""
    kept = InMemorySpanExporter()
    async with Traces(exporter=kept) as traces:
        spans = CallSpans(traces, SERVER)
        for call in calls:
            call(spans)
    return list(kept.get_finished_spans())


def answered(spans: CallSpans) -> None:
    spans.answered(spans.begin("gemini-3.8-flash", REQUEST, streams=True), REPLY, first_token_s=0.25)


async def test_a_stream_is_told_in_the_words_of_the_conventions() -> None:
    (span,) = await spans_of(answered)
    assert (span.name, span.kind) == ("chat gemini-3.8-flash", SpanKind.CLIENT)
    assert dict(span.attributes) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "gcp.vertex_ai",
        "gen_ai.request.model": "gemini-3.8-flash",
        "gen_ai.request.stream": True,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 100,
        "server.address": "aiplatform.googleapis.com",
        "server.port": 443,
        "gen_ai.response.model": "gemini-3.5-flash-lite",
        "gen_ai.response.finish_reasons": ("length",),
        "gen_ai.response.time_to_first_chunk": 0.25,
        "gen_ai.usage.input_tokens": 90,
        "gen_ai.usage.output_tokens": 27,
        "gen_ai.usage.cache_read.input_tokens": 30,
        "gen_ai.usage.reasoning.output_tokens": 7,
        "ngx.source": "model",
        "ngx.rung": "sibling",
        "ngx.location": "eu",
        "ngx.attempts": 3,
    }


async def test_every_name_is_one_of_opentelemetrys_registry() -> None:
    known = {str(value) for module in (gen_ai_attributes, server_attributes) for value in vars(module).values()}
    told = {name for span in await spans_of(answered, embedded) for name in span.attributes}
    assert {name for name in told if not name.startswith("ngx.")} <= known


async def test_prompts_and_answers_are_never_told() -> None:
    spans = await spans_of(answered, throttled)
    assert SECRET not in "".join(span.to_json() for span in spans)


def throttled(spans: CallSpans) -> None:
    spans.failed(spans.begin("gemini-3.8-flash", REQUEST), ModelThrottled(SECRET))


def left(spans: CallSpans) -> None:
    spans.failed(spans.begin("gemini-3.8-flash", REQUEST), asyncio.CancelledError())


async def test_a_call_without_an_answer_tells_why() -> None:
    spans = await spans_of(throttled, left)
    assert [span.attributes["error.type"] for span in spans] == ["model_throttled", "cancelled"]
    assert all(not span.status.is_ok for span in spans)


def embedded(spans: CallSpans) -> None:
    spans.embedded(spans.begin("gemini-embedding-001", operation="embeddings"), input_tokens=12)


async def test_embeddings_are_an_operation_of_their_own() -> None:
    (span,) = await spans_of(embedded)
    assert span.name == "embeddings gemini-embedding-001"
    assert span.attributes["gen_ai.usage.input_tokens"] == 12


def test_while_tracing_is_off_there_is_no_span() -> None:
    spans = CallSpans(Traces(), SERVER)
    span = spans.begin("gemini-3.8-flash", REQUEST)
    assert span is NO_SPAN
    spans.answered(span, REPLY)
    spans.failed(span, ModelThrottled("x"))


def test_every_way_to_finish_has_a_word() -> None:
    assert set(FINISH) == set(get_args(FinishReason))


def test_the_metrics_are_those_of_the_conventions() -> None:
    metrics = Metrics()
    made = ConventionMetrics(metrics, lambda name: name)
    made.answered("vertex", "m", elapsed_s=0.7, first_token_s=0.2)
    made.used("vertex", "m", REPLY.usage)
    made.failed("vertex", "m", "model_timeout", elapsed_s=3.0)
    known = {str(value).replace(".", "_") for value in vars(gen_ai_metrics).values()}
    told = {family.name.removesuffix("_seconds") for family in metrics.collect()}
    assert told <= known
    base = {"gen_ai_operation_name": "chat", "gen_ai_provider_name": "gcp.vertex_ai", "gen_ai_request_model": "m"}
    value = metrics.registry.get_sample_value
    seconds = "gen_ai_client_operation_duration_seconds"
    assert value(f"{seconds}_sum", {**base, "error_type": ""}) == 0.7
    assert value(f"{seconds}_sum", {**base, "error_type": "model_timeout"}) == 3.0
    assert value("gen_ai_client_operation_time_to_first_chunk_seconds_sum", base) == 0.2
    assert value("gen_ai_client_token_usage_sum", {**base, "gen_ai_token_type": "input"}) == 90
    assert value("gen_ai_client_token_usage_sum", {**base, "gen_ai_token_type": "output"}) == 27
