"""Spans: where the time of a request went, sent to an OTLP collector when asked for, and next to free when not.

`Traces` without an endpoint imports nothing and hands out one span that does nothing. With one it needs the extra
`otel`; entering starts a background thread that sends ended spans in batches, drops what its bounded queue cannot
take, and never holds up a request. Spans carry names and numbers, never prompts, answers, tokens or keys; of an error
only its kind.

`with traces.span(…)` makes a span the current one, the parent of those begun inside. Where control leaves in between
(async generators), use `traces.start(…)` and `.end()`: such a span is nobody's parent unless it is named as one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar, Token
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self, cast

from typing_extensions import override

from ngx_agents.errors import ConfigError, NgxError
from ngx_agents.telemetry.log import event_log
from ngx_agents.telemetry.traceparent import TraceParent

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span as OtelSpan
    from opentelemetry.trace import Tracer

Kind = Literal["internal", "server", "client", "producer", "consumer"]
Value = str | bool | int | float | Sequence[str]
EXPORT_TIMEOUT_S = 5.0
FLUSH_TIMEOUT_S = 2.0
MAX_QUEUED_SPANS = 2048

log = event_log("traces")


class Span:
    """One stretch of work. This one records nothing; it stands for all spans while tracing is off."""

    __slots__ = ()
    is_recording = False

    @property
    def traceparent(self) -> str | None:
        """The header that makes this span the parent of what the called server does."""
        return None

    def set(self, key: str, value: Value) -> None: ...

    def fail(self, kind: str) -> None:
        """Marks it as an error of that kind (`error.type`)."""

    def end(self) -> None: ...


NO_SPAN = Span()
_current: ContextVar[Span] = ContextVar("ngx_span", default=NO_SPAN)


class Traces:
    """`endpoint` is the collector's base URL, such as http://127.0.0.1:4318; None is off. `sample_ratio` 0 to 1 decides
    for traces that begin here; a caller's decision is kept. `exporter` replaces OTLP, for whoever embeds this."""

    def __init__(
        self,
        *,
        endpoint: str | None = None,
        service_name: str = "ngx-agents",
        sample_ratio: float = 1.0,
        exporter: SpanExporter | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._service_name = service_name
        self._sample_ratio = sample_ratio
        self._exporter = exporter
        self._provider: TracerProvider | None = None
        self._tracer: Tracer | None = None
        self._troubles = _Troubles()

    async def __aenter__(self) -> Self:
        """Raises ConfigError when tracing is asked for and the extra `otel` is not installed."""
        if self._endpoint is None and self._exporter is None:
            return self
        try:
            self._exporter = self._exporter or _otlp(self._endpoint or "")
            self._provider = self._provided(self._exporter)
        except ImportError as exc:
            raise ConfigError("tracing needs the extra otel: uv sync --extra otel (docs/observability.md)") from exc
        self._tracer = self._provider.get_tracer("ngx_agents")
        logging.getLogger("opentelemetry").addHandler(self._troubles)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        provider, self._provider, self._tracer = self._provider, None, None
        if provider is None or self._exporter is None:
            return
        flushing = asyncio.get_running_loop().run_in_executor(None, provider.force_flush)
        try:
            async with asyncio.timeout(FLUSH_TIMEOUT_S):
                await asyncio.shield(flushing)
        except TimeoutError:
            log.warning("traces.lost", waited_s=FLUSH_TIMEOUT_S)
        finally:
            self._exporter.shutdown()  # a flush that still waits for its collector gives up now
            await asyncio.to_thread(provider.shutdown)
            logging.getLogger("opentelemetry").removeHandler(self._troubles)

    @property
    def is_on(self) -> bool:
        return self._tracer is not None

    @property
    def current(self) -> Span:
        """The innermost span entered here."""
        return _current.get()

    def start(
        self,
        name: str,
        *,
        kind: Kind = "internal",
        parent: Span | TraceParent | None = None,
        attributes: Mapping[str, Value] | None = None,
    ) -> Span:
        """A span begun now, below `parent` or else the current one; whoever starts it ends it."""
        if self._tracer is None:
            return NO_SPAN
        return _started(self._tracer, name, kind, parent, attributes)

    def span(
        self,
        name: str,
        *,
        kind: Kind = "internal",
        parent: Span | TraceParent | None = None,
        attributes: Mapping[str, Value] | None = None,
    ) -> AbstractContextManager[Span]:
        """Like `start`, entered as the current span and ended on leaving, failed when an exception leaves it."""
        if self._tracer is None:
            return _NOTHING
        return _Current(_started(self._tracer, name, kind, parent, attributes))

    def _provided(self, exporter: SpanExporter) -> TracerProvider:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

        provider = TracerProvider(
            resource=Resource.create({"service.name": self._service_name}),
            sampler=ParentBased(TraceIdRatioBased(self._sample_ratio)),
            shutdown_on_exit=False,
        )
        provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=MAX_QUEUED_SPANS))
        return provider


class _Recorded(Span):
    """A span of OpenTelemetry's."""

    __slots__ = ("otel",)
    is_recording = True

    def __init__(self, otel: OtelSpan) -> None:
        self.otel = otel

    @property
    @override
    def traceparent(self) -> str:
        told = self.otel.get_span_context()
        return f"00-{told.trace_id:032x}-{told.span_id:016x}-{int(told.trace_flags):02x}"

    @override
    def set(self, key: str, value: Value) -> None:
        self.otel.set_attribute(key, value)

    @override
    def fail(self, kind: str) -> None:
        from opentelemetry.trace import StatusCode

        self.otel.set_attribute("error.type", kind)
        self.otel.set_status(StatusCode.ERROR)

    @override
    def end(self) -> None:
        self.otel.end()


class _Current:
    """Enters a span as the current one."""

    __slots__ = ("_span", "_token")

    def __init__(self, span: Span) -> None:
        self._span = span

    def __enter__(self) -> Span:
        self._token: Token[Span] = _current.set(self._span)
        return self._span

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _current.reset(self._token)
        if error is not None:
            self._span.fail(error_type(error))
        self._span.end()


class _Nothing:
    """Enters nothing."""

    __slots__ = ()

    def __enter__(self) -> Span:
        return NO_SPAN

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


_NOTHING = _Nothing()


def error_type(error: BaseException) -> str:
    """The stable `code` of ours, the class of others; never the text."""
    if isinstance(error, NgxError):
        return error.code
    return "cancelled" if isinstance(error, asyncio.CancelledError | GeneratorExit) else type(error).__qualname__


def _started(
    tracer: Tracer, name: str, kind: Kind, parent: Span | TraceParent | None, attributes: Mapping[str, Value] | None
) -> Span:
    from opentelemetry.trace import SpanKind

    context = _context_of(parent if parent is not None else _current.get())
    return _Recorded(
        tracer.start_span(
            name, context=context, kind=SpanKind[kind.upper()], attributes=cast("dict[str, Value]", attributes)
        )
    )


def _context_of(parent: Span | TraceParent) -> Context:
    from opentelemetry.context import Context
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

    if isinstance(parent, _Recorded):
        return set_span_in_context(parent.otel, Context())
    if isinstance(parent, TraceParent):
        flags = TraceFlags(TraceFlags.SAMPLED if parent.is_sampled else TraceFlags.DEFAULT)
        remote = SpanContext(parent.trace_id, parent.span_id, is_remote=True, trace_flags=flags)
        return set_span_in_context(NonRecordingSpan(remote), Context())
    return Context()


def _otlp(endpoint: str) -> SpanExporter:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=EXPORT_TIMEOUT_S)


class _Troubles(logging.Handler):
    """Tells the first failure to export as an event of ours; the SDK repeats itself with every batch."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._is_told = False

    @override
    def emit(self, record: logging.LogRecord) -> None:
        if not self._is_told:
            self._is_told = True
            log.warning("traces.not_exported", where=record.name)
