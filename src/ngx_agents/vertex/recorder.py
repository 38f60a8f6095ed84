"""What is written down of each call of the client, from beginning to end: its metrics, its event, its span."""

from __future__ import annotations

from urllib.parse import urlsplit

from ngx_agents.clock import Clock
from ngx_agents.telemetry.traces import Traces
from ngx_agents.vertex.content import ModelReply, ModelRequest
from ngx_agents.vertex.embedding import Embeddings, EmbedRequest
from ngx_agents.vertex.endpoint import Endpoint
from ngx_agents.vertex.measures import ModelMeasures
from ngx_agents.vertex.settings import VertexSettings
from ngx_agents.vertex.spans import CalledServer, CallSpans

PACE_EVERY_S = 1.0
PACE_CHARS = 40  # fewer say nothing of a pace
CHARS_PER_TOKEN = 4


class Recorder:
    """Of one started client."""

    def __init__(self, settings: VertexSettings, measures: ModelMeasures, traces: Traces, clock: Clock) -> None:
        self.measures = measures
        self.spans = CallSpans(traces, _server(settings))
        self.clock = clock
        self.settings = settings

    def begin(self, request: ModelRequest, *, streams: bool) -> CallRecord:
        return CallRecord(self, request, streams=streams)

    def begin_embedding(self, request: EmbedRequest) -> EmbedRecord:
        return EmbedRecord(self, request)


class CallRecord:
    """One call of `generate` or `stream`. Ends with `answered` or `failed`; the first counts."""

    __slots__ = ("_began_s", "_by", "_first_s", "_is_over", "_model", "_paced_chars", "_paced_s", "_span")

    def __init__(self, by: Recorder, request: ModelRequest, *, streams: bool) -> None:
        self._by = by
        self._model = request.model or by.settings.model
        self._span = by.spans.begin(self._model, request, streams=streams)
        self._first_s: float | None = None
        self._is_over = False
        self._paced_chars = 0
        self._paced_s = 0.0
        self._began_s = by.clock.monotonic_s()

    def text_came(self, text: str) -> None:
        """A stream that lasts tells its pace every second, not only in the end: the bound follows what is now."""
        pace = self._by.measures.pace
        if self._first_s is not None and pace is None:
            return
        now_s = self._by.clock.monotonic_s()
        if self._first_s is None:
            self._first_s, self._paced_s = now_s - self._began_s, now_s
            if pace is not None:
                pace.first_token_took(self._first_s)
            return
        self._paced_chars += len(text)
        if pace is not None and now_s >= self._paced_s + PACE_EVERY_S and self._paced_chars >= PACE_CHARS:
            pace.token_took((now_s - self._paced_s) * CHARS_PER_TOKEN / self._paced_chars)
            self._paced_s, self._paced_chars = now_s, 0

    def answered(self, reply: ModelReply) -> None:
        self._is_over = True
        elapsed_s = self._by.clock.monotonic_s() - self._began_s
        self._by.measures.ended(reply, model=self._model, elapsed_s=elapsed_s, first_token_s=self._first_s)
        self._by.spans.answered(self._span, reply, first_token_s=self._first_s)

    def failed(self, error: BaseException) -> None:
        if self._is_over:
            return
        self._is_over = True
        elapsed_s = self._by.clock.monotonic_s() - self._began_s
        self._by.measures.broke(error, provider=self._by.settings.provider, model=self._model, elapsed_s=elapsed_s)
        self._by.spans.failed(self._span, error)


class EmbedRecord:
    """One call of `embed`."""

    __slots__ = ("_began_s", "_by", "_model", "_span")

    def __init__(self, by: Recorder, request: EmbedRequest) -> None:
        self._by = by
        self._model = request.model
        self._span = by.spans.begin(request.model, operation="embeddings")
        self._began_s = by.clock.monotonic_s()

    def answered(self, made: Embeddings) -> None:
        by, elapsed_s = self._by, self._by.clock.monotonic_s() - self._began_s
        by.measures.embedded(
            provider=by.settings.provider, model=self._model, input_tokens=made.input_tokens, elapsed_s=elapsed_s
        )
        by.spans.embedded(self._span, input_tokens=made.input_tokens)

    def failed(self, error: BaseException) -> None:
        by, elapsed_s = self._by, self._by.clock.monotonic_s() - self._began_s
        by.measures.broke(
            error, provider=by.settings.provider, model=self._model, elapsed_s=elapsed_s, operation="embeddings"
        )
        by.spans.failed(self._span, error)


def _server(settings: VertexSettings) -> CalledServer:
    origin = urlsplit(Endpoint(settings, settings.project).origin)
    port = origin.port or (443 if origin.scheme == "https" else 80)
    return CalledServer(provider=settings.provider, address=origin.hostname or "", port=port)
