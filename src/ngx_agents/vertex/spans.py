"""One span and three metrics per model call, in the words of OpenTelemetry's conventions for generative AI.

Numbers and names, never text. A span covers the whole call with its retries and rungs; what answered in the end is
told by `gen_ai.response.model` and our own `ngx.*`. The conventions are in development: the names here are those of
semantic conventions 1.41, the last release that has them, which today's dashboards read; the project that goes on with
them (open-telemetry/semantic-conventions-genai) is renaming `client.operation.*` metrics to `client.inference.*`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from ngx_agents.telemetry.metrics import HistogramCell, Metrics
from ngx_agents.telemetry.traceparent import TraceParent
from ngx_agents.telemetry.traces import Span, Traces, Value, error_type
from ngx_agents.vertex.content import FinishReason, ModelReply, ModelRequest, Usage

Operation = Literal["chat", "embeddings"]
PROVIDERS = {"vertex": "gcp.vertex_ai", "openai": "openai"}
FINISH: dict[FinishReason, str] = {
    "stop": "stop",
    "max_tokens": "length",
    "safety": "content_filter",
    "malformed_call": "error",
    "other": "other",
}

SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)


class CalledServer(msgspec.Struct, frozen=True, kw_only=True):
    """What a client's settings say of every call: `provider` is the dialect, `address` and `port` where it goes."""

    provider: Literal["vertex", "openai"]
    address: str
    port: int


class CallSpans:
    """Begins and ends the spans of one client's calls. While tracing is off nothing is put together."""

    def __init__(self, traces: Traces, server: CalledServer) -> None:
        self._traces = traces
        self._fixed: dict[str, Value] = {
            "gen_ai.provider.name": PROVIDERS[server.provider],
            "server.address": server.address,
            "server.port": server.port,
        }

    def begin(
        self,
        model: str,
        request: ModelRequest | None = None,
        *,
        operation: Operation = "chat",
        streams: bool = False,
        parent: Span | TraceParent | None = None,
    ) -> Span:
        """A span of kind client, which one of the three below must end. It is not made the current one."""
        if not self._traces.is_on:
            return self._traces.start(operation)
        told: dict[str, Value] = {
            "gen_ai.operation.name": operation,
            "gen_ai.request.model": model,
            **self._fixed,
        }
        if streams:
            told["gen_ai.request.stream"] = True
        if request is not None:
            if request.temperature is not None:
                told["gen_ai.request.temperature"] = request.temperature
            if request.max_output_tokens is not None:
                told["gen_ai.request.max_tokens"] = request.max_output_tokens
        return self._traces.start(f"{operation} {model}", kind="client", parent=parent, attributes=told)

    def answered(self, span: Span, reply: ModelReply, *, first_token_s: float | None = None) -> None:
        """`first_token_s` counts from the call to the first text of a stream."""
        if not span.is_recording:
            return
        span.set("gen_ai.response.model", reply.model)
        span.set("gen_ai.response.finish_reasons", [FINISH[reply.finish_reason]])
        _tell_usage(span, reply.usage)
        if first_token_s is not None:
            span.set("gen_ai.response.time_to_first_chunk", first_token_s)
        span.set("ngx.source", reply.source)
        span.set("ngx.rung", reply.rung)
        span.set("ngx.location", reply.location)
        span.set("ngx.attempts", reply.attempts)
        span.end()

    def embedded(self, span: Span, *, input_tokens: int) -> None:
        """Ends the span of an `embeddings` call."""
        if span.is_recording:
            span.set("gen_ai.usage.input_tokens", input_tokens)
            span.end()

    def failed(self, span: Span, error: BaseException) -> None:
        """`error` may be the cancellation of a caller that left."""
        if span.is_recording:
            span.fail(error_type(error))
            span.end()


def _tell_usage(span: Span, usage: Usage) -> None:
    """The conventions count cached tokens into the input, and thoughts into the output."""
    span.set("gen_ai.usage.input_tokens", usage.input_tokens)
    span.set("gen_ai.usage.output_tokens", usage.output_tokens + usage.thought_tokens)
    if usage.cached_tokens:
        span.set("gen_ai.usage.cache_read.input_tokens", usage.cached_tokens)
    if usage.thought_tokens:
        span.set("gen_ai.usage.reasoning.output_tokens", usage.thought_tokens)


class _Cells(msgspec.Struct, frozen=True):
    seconds: HistogramCell
    first_chunk: HistogramCell
    input_tokens: HistogramCell
    output_tokens: HistogramCell


class ConventionMetrics:
    """The conventions' histograms, under their Prometheus names. `bounded` keeps the models of the label few."""

    def __init__(self, metrics: Metrics, bounded: Callable[[str], str]) -> None:
        labels = ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model")
        self._bounded = bounded
        self._seconds = metrics.histogram(
            "gen_ai_client_operation_duration_seconds",
            "GenAI operation duration.",
            *labels,
            "error_type",
            buckets=SECONDS,
        )
        self._first_chunk = metrics.histogram(
            "gen_ai_client_operation_time_to_first_chunk_seconds",
            "From the request to the first chunk, streams.",
            *labels,
            buckets=SECONDS,
        )
        self._tokens = metrics.histogram(
            "gen_ai_client_token_usage", "Tokens per call.", *labels, "gen_ai_token_type", buckets=TOKENS
        )
        self._cells: dict[tuple[str, str, str], _Cells] = {}

    def answered(
        self,
        provider: str,
        model: str,
        *,
        elapsed_s: float,
        first_token_s: float | None = None,
        operation: Operation = "chat",
    ) -> None:
        cells = self._cells.get((operation, provider, model)) or self._new(operation, provider, model)
        cells.seconds.observe(elapsed_s)
        if first_token_s is not None:
            cells.first_chunk.observe(first_token_s)

    def used(self, provider: str, model: str, usage: Usage, *, operation: Operation = "chat") -> None:
        cells = self._cells.get((operation, provider, model)) or self._new(operation, provider, model)
        cells.input_tokens.observe(usage.input_tokens)
        if operation == "chat":
            cells.output_tokens.observe(usage.output_tokens + usage.thought_tokens)

    def failed(self, provider: str, model: str, error: str, *, elapsed_s: float, operation: Operation = "chat") -> None:
        name = self._bounded(model)
        self._seconds.labels(operation, PROVIDERS.get(provider, provider), name, error).observe(elapsed_s)

    def _new(self, operation: Operation, provider: str, model: str) -> _Cells:
        name = self._bounded(model)
        key = (operation, PROVIDERS.get(provider, provider), name)
        cells = _Cells(
            self._seconds.labels(*key, ""),
            self._first_chunk.labels(*key),
            self._tokens.labels(*key, "input"),
            self._tokens.labels(*key, "output"),
        )
        if name == model:
            self._cells[operation, provider, model] = cells
        return cells
