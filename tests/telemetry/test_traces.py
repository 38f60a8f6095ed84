from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import timeit
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from ngx_agents.errors import ConfigError, ModelTimeout
from ngx_agents.telemetry.traceparent import TraceParent, parse_traceparent
from ngx_agents.telemetry.traces import NO_SPAN, Traces, error_type

VALID = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SECRET = "what the user said"


@contextmanager
def collector() -> Iterator[tuple[str, list[ExportTraceServiceRequest]]]:
    """A server that takes OTLP over HTTP; yields its base URL and what it was sent."""
    received: list[ExportTraceServiceRequest] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/v1/traces":
                received.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(200 if self.path == "/v1/traces" else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", received
        finally:
            server.shutdown()
            thread.join()


async def test_spans_reach_a_collector_over_otlp_with_their_parent() -> None:
    with collector() as (url, received):
        async with Traces(endpoint=url, service_name="ngx-test") as traces:
            with traces.span("turn", kind="server", parent=parse_traceparent(VALID)) as turn:
                turn.set("ngx.class", 1)
                with traces.span("call", kind="client"):
                    pass
    (resource,) = [each for request in received for each in request.resource_spans]
    spans = {span.name: span for scope in resource.scope_spans for span in scope.spans}
    service = {each.key: each.value.string_value for each in resource.resource.attributes}
    assert service["service.name"] == "ngx-test"
    assert spans["turn"].trace_id.hex() == spans["call"].trace_id.hex() == "0af7651916cd43dd8448eb211c80319c"
    assert spans["turn"].parent_span_id.hex() == "b7ad6b7169203331"
    assert spans["call"].parent_span_id == spans["turn"].span_id
    assert {each.key: each.value.int_value for each in spans["turn"].attributes} == {"ngx.class": 1}


async def test_a_collector_that_is_away_neither_holds_up_nor_lingers() -> None:
    async with Traces(endpoint="http://127.0.0.1:9") as traces:
        with traces.span("turn"):
            pass
        left = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - left < 4


async def test_what_fails_is_marked_by_its_kind_and_tells_no_text() -> None:
    kept = InMemorySpanExporter()
    async with Traces(exporter=kept) as traces:
        with pytest.raises(ModelTimeout), traces.span("call"):
            raise ModelTimeout(SECRET)
        with pytest.raises(ZeroDivisionError), traces.span("other"):
            raise ZeroDivisionError(SECRET)
    first, second = kept.get_finished_spans()
    assert first.status.status_code is second.status.status_code is StatusCode.ERROR
    assert dict(first.attributes or {}) == {"error.type": "model_timeout"}
    assert dict(second.attributes or {}) == {"error.type": "ZeroDivisionError"}
    assert SECRET not in first.to_json() + second.to_json()


async def test_a_started_span_is_nobodys_parent_unless_named() -> None:
    kept = InMemorySpanExporter()
    async with Traces(exporter=kept) as traces:
        call = traces.start("call", kind="client")
        with traces.span("beside"):
            pass
        traces.start("below", parent=call).end()
        call.end()
        assert traces.current is NO_SPAN
    spans = {span.name: span for span in kept.get_finished_spans()}
    assert spans["beside"].parent is None
    assert spans["below"].parent.span_id == spans["call"].context.span_id
    assert spans["call"].kind is SpanKind.CLIENT


async def test_tasks_keep_their_own_current_span() -> None:
    kept = InMemorySpanExporter()
    async with Traces(exporter=kept) as traces:

        async def work(name: str) -> None:
            with traces.span(name), traces.span(f"{name} inner"):
                await asyncio.sleep(0)

        async with asyncio.TaskGroup() as group:
            for name in ("a", "b"):
                group.create_task(work(name))
    spans = {span.name: span for span in kept.get_finished_spans()}
    for name in ("a", "b"):
        assert spans[f"{name} inner"].parent.span_id == spans[name].context.span_id


async def test_a_callers_decision_not_to_sample_is_kept_and_told_on() -> None:
    kept = InMemorySpanExporter()
    async with Traces(exporter=kept) as traces:
        with traces.span("turn", parent=parse_traceparent(VALID[:-2] + "00")) as turn:
            told = parse_traceparent(turn.traceparent)
    assert kept.get_finished_spans() == ()
    assert told is not None
    assert (told.trace_id, told.is_sampled) == (int(VALID[3:35], 16), False)


async def test_no_trace_begins_here_at_a_ratio_of_zero() -> None:
    kept = InMemorySpanExporter()
    async with Traces(exporter=kept, sample_ratio=0.0) as traces:
        with traces.span("turn"):
            pass
    assert kept.get_finished_spans() == ()


async def test_off_it_hands_out_one_span_that_does_nothing() -> None:
    async with Traces() as traces:
        with traces.span("turn", attributes={"a": 1}) as turn:
            turn.set("b", 2)
            turn.fail("x")
            assert traces.current is turn is traces.start("call") is NO_SPAN
            assert turn.traceparent is None
        assert not traces.is_on


def test_off_a_span_costs_less_than_a_microsecond() -> None:
    traces = Traces()

    def once() -> None:
        with traces.span("turn"):
            pass

    assert min(timeit.repeat(once, timer=process_time, number=1_000, repeat=50)) / 1_000 < 1e-6


def test_off_nothing_of_opentelemetry_is_imported() -> None:
    ask = "import sys, ngx_agents.telemetry.traces; print([name for name in sys.modules if 'opentelemetry' in name])"
    assert subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True).stdout == "[]\n"


async def test_without_the_extra_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(ConfigError, match="uv sync --extra otel"):
        async with Traces(endpoint="http://127.0.0.1:9"):
            pass


def test_errors_are_told_by_stable_names() -> None:
    assert error_type(asyncio.CancelledError()) == error_type(GeneratorExit()) == "cancelled"


def test_a_valid_header_is_read() -> None:
    assert parse_traceparent(VALID) == TraceParent(int(VALID[3:35], 16), int(VALID[36:52], 16), True)
    assert parse_traceparent("cc" + VALID[2:] + "-what-the-future-brings") is not None


hex_of = st.text("0123456789abcdef")
near_valid = st.tuples(
    st.sampled_from(["00", "01", "ff", "0", "0A"]),
    st.sampled_from(["0" * 32, "a" * 32, "A" * 32, "a" * 31]) | hex_of,
    st.sampled_from(["0" * 16, "b" * 16, "b" * 17]) | hex_of,
    st.sampled_from(["00", "01", "03", "1", "-1"]),
    st.sampled_from(["", "-", "-x", "\n", " "]),
).map(lambda parts: "-".join(parts[:4]) + parts[4])


@given(near_valid | st.text(max_size=80))
def test_headers_are_read_as_opentelemetry_reads_them(header: str) -> None:
    if header != header.strip():
        return  # the framework in front strips what surrounds a header
    context = TraceContextTextMapPropagator().extract({"traceparent": header})
    theirs = get_current_span(context).get_span_context()
    ours = parse_traceparent(header)
    expected = TraceParent(theirs.trace_id, theirs.span_id, theirs.trace_flags.sampled) if theirs.is_valid else None
    assert ours == expected
