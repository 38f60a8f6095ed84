"""The client's metrics, with their labels resolved ahead of the calls."""

from __future__ import annotations

from ngx_agents.errors import ModelError
from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.vertex.content import Usage

OK = "ok"
CANCELLED = "cancelled"


class ModelMeasures:
    """`outcome` is `ok`, `cancelled` or the `code` of a ModelError."""

    def __init__(self, metrics: Metrics) -> None:
        calls = metrics.counter("ngx_model_calls_total", "Model calls by outcome.", "outcome")
        tokens = metrics.counter("ngx_model_tokens_total", "Tokens by kind; cached ones are input too.", "kind")
        codes = [ModelError.code, *(kind.code for kind in ModelError.__subclasses__())]
        self._calls = {outcome: calls.labels(outcome) for outcome in (OK, CANCELLED, *codes)}
        self._input = tokens.labels("input")
        self._output = tokens.labels("output")
        self._thought = tokens.labels("thought")
        self._cached = tokens.labels("cached")
        self.seconds = metrics.histogram(
            "ngx_model_seconds", "From call to whole answer, answered calls only."
        ).labels()
        self.first_token = metrics.histogram(
            "ngx_model_first_token_seconds", "From call to first text, streams."
        ).labels()
        self.waited = metrics.histogram(
            "ngx_model_wait_seconds", "Waits for a connection, calls that had to wait."
        ).labels()

    def answered(self, usage: Usage, elapsed_s: float) -> None:
        self._calls[OK].inc()
        self.seconds.observe(elapsed_s)
        self._input.inc(usage.input_tokens)
        self._output.inc(usage.output_tokens)
        if usage.thought_tokens:
            self._thought.inc(usage.thought_tokens)
        if usage.cached_tokens:
            self._cached.inc(usage.cached_tokens)

    def failed(self, error: BaseException) -> None:
        self._calls[error.code if isinstance(error, ModelError) else CANCELLED].inc()
