"""Metrics in Prometheus form, one registry per running server (none is global).

A room asks for its instruments once, at construction, and resolves labels ahead of the hot path:
`self._served = metrics.counter("ngx_turns_total", "Turns by outcome.", "status")`, then `.labels("completed")` kept.
"""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# edges at exactly 1 s and 2 s, because alerts speak of them
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)


class Metrics:
    """Makes instruments; the same name asked for twice gives the same instrument."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        self._made: dict[str, Counter | Gauge | Histogram] = {}

    def counter(self, name: str, help_text: str, *labels: str) -> Counter:
        made = self._made.get(name)
        if made is None:
            made = self._made[name] = Counter(name, help_text, labels, registry=self.registry)
        assert isinstance(made, Counter)
        return made

    def gauge(self, name: str, help_text: str, *labels: str) -> Gauge:
        made = self._made.get(name)
        if made is None:
            made = self._made[name] = Gauge(name, help_text, labels, registry=self.registry)
        assert isinstance(made, Gauge)
        return made

    def histogram(self, name: str, help_text: str, *labels: str, buckets: Sequence[float] = SECONDS) -> Histogram:
        made = self._made.get(name)
        if made is None:
            made = self._made[name] = Histogram(name, help_text, labels, buckets=buckets, registry=self.registry)
        assert isinstance(made, Histogram)
        return made

    def render(self) -> bytes:
        """The exposition text of all instruments."""
        return generate_latest(self.registry)
