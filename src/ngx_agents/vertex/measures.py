"""What one model call leaves behind: counts, times, tokens, cost, and one `vertex.call` event.

Labels are resolved once and kept; names that come from callers (models) are bounded: beyond `MAX_NAMES` they are
`other`. Tokens and cost are counted where a model really answered (`paid`): once for calls that were joined, and also
for answers that nobody waited for; `ended` counts what callers got. Counted elsewhere: cache hits by class and tier in
`cache.measures`, joined calls in `flights`, throttles by kind in `governors`.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from ngx_agents.clock import SystemClock
from ngx_agents.errors import ModelError
from ngx_agents.resilience.breaker import BreakerState
from ngx_agents.telemetry.log import event_log
from ngx_agents.telemetry.metrics import CounterCell, Metrics
from ngx_agents.vertex.content import ModelReply, Usage
from ngx_agents.vertex.prices import Prices
from ngx_agents.vertex.spans import ConventionMetrics, Operation

OK = "ok"
CANCELLED = "cancelled"
OTHER = "other"
MAX_NAMES = 64
BREAKER: dict[BreakerState, int] = {"closed": 0, "forced_closed": 0, "half_open": 1, "open": 2, "forced_open": 2}
UNPAID_SOURCES = ("cache", "stale")
LIST_PRICE_TRAFFIC = (None, "ON_DEMAND")  # what the table's prices are for; bought capacity and tiers are others
PER_TOKEN_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0)

log = event_log("vertex")


class Names:
    """Keeps the values of a label few: the first `MAX_NAMES` stay themselves."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def bounded(self, name: str) -> str:
        if name in self._known:
            return name
        if len(self._known) >= MAX_NAMES:
            return OTHER
        self._known.add(name)
        return name


class _TokenCells(msgspec.Struct, frozen=True):
    """One model's counters."""

    input: CounterCell
    output: CounterCell
    thought: CounterCell
    cached: CounterCell
    cost: CounterCell
    unpriced: CounterCell


class Pace(Protocol):
    """Who wants to know how fast the model is, as the calls go: the bound of what is let in."""

    def token_took(self, seconds: float) -> None: ...

    def first_token_took(self, seconds: float) -> None: ...

    def permit_took(self, seconds: float) -> None: ...


class ModelMeasures:
    """`outcome` is `ok`, `cancelled` or the `code` of a ModelError."""

    def __init__(self, metrics: Metrics, prices: Prices | None = None, *, pace: Pace | None = None) -> None:
        self.pace = pace
        self._prices = prices or Prices(SystemClock())
        self._models = Names()
        self._lanes = Names()
        self._cells: dict[str, _TokenCells] = {}
        self._conventions = ConventionMetrics(metrics, self._models.bounded)
        calls = metrics.counter("ngx_model_calls_total", "Model calls by outcome.", "outcome")
        codes = [ModelError.code, *(kind.code for kind in ModelError.__subclasses__())]
        self._calls = {outcome: calls.labels(outcome) for outcome in (OK, CANCELLED, *codes)}
        self._tokens = metrics.counter(
            "ngx_model_tokens_total", "Tokens by model and kind; cached ones are input too.", "model", "kind"
        )
        self._cost = metrics.counter("ngx_model_cost_usd_total", "Cost at list price, where one is known.", "model")
        self._unpriced = metrics.counter("ngx_model_unpriced_calls_total", "Paid calls without a price.", "model")
        self._answers = metrics.counter("ngx_model_answers_total", "Answers by source and rung.", "source", "rung")
        self._retries = metrics.counter("ngx_model_retries_total", "Further tries by what failed.", "reason", "rung")
        self._breakers = metrics.gauge("ngx_model_breaker_state", "0 closed, 1 half open, 2 open.", "location", "model")
        self.seconds = metrics.histogram(
            "ngx_model_seconds", "From call to whole answer, answered calls only."
        ).labels()
        self.first_token = metrics.histogram(
            "ngx_model_first_token_seconds", "From call to first text, streams."
        ).labels()
        self._per_token = metrics.histogram(
            "ngx_model_output_token_seconds",
            "Between tokens after the first, streams; a mean per call.",
            buckets=PER_TOKEN_SECONDS,
        ).labels()
        self.waited = metrics.histogram(
            "ngx_model_wait_seconds", "Waits for a connection, calls that had to wait."
        ).labels()

    def waited_for_connection(self, seconds: float) -> None:
        """A call had a permit and no connection: for the pace that is the same wait."""
        self.waited.observe(seconds)
        if self.pace is not None:
            self.pace.permit_took(seconds)

    def paid(self, reply: ModelReply, *, model: str) -> None:
        """Counts the tokens and the cost of an answer that a model just gave; `model` is the one asked for."""
        usage = reply.usage
        cells = self._cells_of(reply.model)
        cells.input.inc(usage.input_tokens)
        cells.output.inc(usage.output_tokens)
        if usage.thought_tokens:
            cells.thought.inc(usage.thought_tokens)
        if usage.cached_tokens:
            cells.cached.inc(usage.cached_tokens)
        self._conventions.used(reply.provider, model, usage)
        if reply.source == "local":
            return
        cost_usd = self._cost_usd(reply)
        if cost_usd is None:
            cells.unpriced.inc()
        else:
            cells.cost.inc(cost_usd)

    def ended(self, reply: ModelReply, *, model: str, elapsed_s: float, first_token_s: float | None = None) -> None:
        """Counts an answered call and tells it. `model` is the one asked for; both times count from the call."""
        self._calls[OK].inc()
        self._answers.labels(reply.source, reply.rung).inc()
        self.seconds.observe(elapsed_s)
        if first_token_s is not None:
            self._time_stream(reply.usage, elapsed_s, first_token_s)
        self._conventions.answered(reply.provider, model, elapsed_s=elapsed_s, first_token_s=first_token_s)
        if log.is_on("info" if _is_notable(reply) else "debug"):
            cost_usd = None if reply.source in UNPAID_SOURCES else self._cost_usd(reply)
            _tell_answer(reply, model, elapsed_s, first_token_s, cost_usd)

    def broke(
        self,
        error: BaseException,
        *,
        provider: str,
        model: str,
        elapsed_s: float,
        operation: Operation = "chat",
    ) -> None:
        """Counts and tells a call that ended without an answer: by a ModelError, or because its caller left."""
        outcome = error.code if isinstance(error, ModelError) else CANCELLED
        self._calls[outcome].inc()
        self._conventions.failed(provider, model, outcome, elapsed_s=elapsed_s, operation=operation)
        tell = log.debug if outcome == CANCELLED else log.info
        status = error.status if isinstance(error, ModelError) else None
        tell("vertex.call", model=model, outcome=outcome, status=status, total_ms=_ms(elapsed_s))

    def embedded(self, *, provider: str, model: str, input_tokens: int, elapsed_s: float) -> None:
        """Counts an `embeddings` call that was answered."""
        usage = Usage(input_tokens=input_tokens)
        self._calls[OK].inc()
        self._cells_of(model).input.inc(input_tokens)
        self._conventions.answered(provider, model, elapsed_s=elapsed_s, operation="embeddings")
        self._conventions.used(provider, model, usage, operation="embeddings")
        log.debug(
            "vertex.call",
            operation="embeddings",
            model=model,
            outcome=OK,
            total_ms=_ms(elapsed_s),
            input_tokens=input_tokens,
        )

    def retried(self, reason: str, *, is_same_rung: bool) -> None:
        """`reason` is the code of the error that made another try necessary."""
        self._retries.labels(reason, "same" if is_same_rung else "next").inc()

    def breaker_changed(self, location: str, model: str, state: BreakerState, reason: str) -> None:
        self._breakers.labels(self._lanes.bounded(location), self._models.bounded(model)).set(BREAKER[state])
        log.warning("vertex.breaker", location=location, model=model, state=state, reason=reason)

    def _time_stream(self, usage: Usage, elapsed_s: float, first_token_s: float) -> None:
        self.first_token.observe(first_token_s)
        if usage.output_tokens > 1:
            self._per_token.observe((elapsed_s - first_token_s) / (usage.output_tokens - 1))

    def _cost_usd(self, reply: ModelReply) -> float | None:
        if reply.source == "local" or reply.traffic_type not in LIST_PRICE_TRAFFIC:
            return None
        return self._prices.cost_usd(reply.model, reply.usage)

    def _cells_of(self, model: str) -> _TokenCells:
        cells = self._cells.get(model)
        if cells is None:
            name = self._models.bounded(model)
            kinds = {kind: self._tokens.labels(name, kind) for kind in ("input", "output", "thought", "cached")}
            cells = _TokenCells(**kinds, cost=self._cost.labels(name), unpriced=self._unpriced.labels(name))
            if name != OTHER:
                self._cells[model] = cells
        return cells


def _is_notable(reply: ModelReply) -> bool:
    return reply.is_degraded or reply.attempts > 1


def _tell_answer(
    reply: ModelReply, model: str, elapsed_s: float, first_token_s: float | None, cost_usd: float | None
) -> None:
    """Debug for what went as meant, because it is every call; info when a lower rung or another try was needed."""
    usage = reply.usage
    tell = log.info if _is_notable(reply) else log.debug
    tell(
        "vertex.call",
        model=model,
        answered_by=reply.model,
        location=reply.location,
        rung=reply.rung,
        source=reply.source,
        outcome=OK,
        attempts=reply.attempts,
        ttft_ms=None if first_token_s is None else _ms(first_token_s),
        total_ms=_ms(elapsed_s),
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        thought_tokens=usage.thought_tokens,
        cached_tokens=usage.cached_tokens,
        cost_usd=cost_usd,
    )


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
