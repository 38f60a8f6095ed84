"""Counts and times requests. Label values are bounded: path templates, known methods, status codes."""

from __future__ import annotations

from ngx_agents.telemetry.metrics import CounterCell, HistogramCell, Metrics

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"})
CLIENT_GONE = 499


class Meters:
    """Label children are resolved once and kept."""

    def __init__(self, metrics: Metrics) -> None:
        self._requests = metrics.counter(
            "ngx_http_requests_total", "HTTP requests by outcome.", "route", "method", "status"
        )
        self._seconds = metrics.histogram(
            "ngx_http_request_seconds", "Seconds from a request to the end of its answer.", "route"
        )
        self._counters: dict[tuple[str, str, int], CounterCell] = {}
        self._timers: dict[str, HistogramCell] = {}

    def count(self, route: str, method: str, *, status: int, seconds: float) -> None:
        """`status` 0 means that no answer was begun: the client left before."""
        key = (route, method if method in METHODS else "other", status)
        counter = self._counters.get(key)
        if counter is None:
            counter = self._counters[key] = self._requests.labels(route, key[1], str(status or CLIENT_GONE))
        timer = self._timers.get(route)
        if timer is None:
            timer = self._timers[route] = self._seconds.labels(route)
        counter.inc()
        timer.observe(seconds)
