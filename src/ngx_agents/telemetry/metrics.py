"""Metrics in Prometheus form, one set per running server (none is global).

A room asks for its instruments once, at construction, and resolves labels ahead of the hot path:
`self._served = metrics.counter("ngx_turns_total", "Turns by outcome.", "status")`, then `.labels("completed")` kept.

Instruments are plain numbers, for the one thread of the event loop: a count costs a twentieth of prometheus-client's,
which locks for every one. That library still writes the exposition.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from typing_extensions import override

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# edges at exactly 1 s and 2 s, because alerts speak of them
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)


class CounterCell:
    """A number that only grows."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def inc(self, amount: float = 1.0) -> None:
        self.value += amount


class GaugeCell:
    """A number that goes both ways."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def set(self, value: float) -> None:
        self.value = value


class HistogramCell:
    """Counts per bucket; the last bucket is open."""

    __slots__ = ("counts", "edges", "total")

    def __init__(self, edges: Sequence[float]) -> None:
        self.edges = edges
        self.counts = [0] * (len(edges) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.edges, value)] += 1
        self.total += value

    def add(self, counts: Sequence[int], total: float) -> None:
        """What another process observed, with the same edges."""
        self.counts = [mine + other for mine, other in zip(self.counts, counts, strict=True)]
        self.total += total

    def cumulated(self) -> list[tuple[str, float]]:
        """(upper edge, observations up to and including it), as the exposition wants them."""
        running = 0
        rows: list[tuple[str, float]] = []
        names = [*(repr(float(edge)) for edge in self.edges), "+Inf"]
        for name, count in zip(names, self.counts, strict=True):
            running += count
            rows.append((name, running))
        return rows


Cell = TypeVar("Cell", CounterCell, GaugeCell, HistogramCell)


class Instrument(Generic[Cell]):
    """One metric: a cell per combination of label values, made on first use and kept."""

    def __init__(self, name: str, help_text: str, label_names: tuple[str, ...]) -> None:
        self.name = name
        self.help_text = help_text
        self.label_names = label_names
        self._cells: dict[tuple[str, ...], Cell] = {}

    def _new(self) -> Cell:
        raise TypeError("an instrument is a Counter, a Gauge or a Histogram")

    def labels(self, *values: str) -> Cell:
        cell = self._cells.get(values)
        if cell is None:
            if len(values) != len(self.label_names):
                raise ValueError(f"{self.name} has the labels {self.label_names}, not {values}")
            cell = self._cells[values] = self._new()
        return cell

    def cells(self) -> Iterator[tuple[tuple[str, ...], Cell]]:
        return iter(self._cells.items())


class Counter(Instrument[CounterCell]):
    @override
    def _new(self) -> CounterCell:
        return CounterCell()

    def family(self) -> Metric:
        made = CounterMetricFamily(self.name.removesuffix("_total"), self.help_text, labels=self.label_names)
        for values, cell in self.cells():
            made.add_metric(values, cell.value)
        return made


class Gauge(Instrument[GaugeCell]):
    @override
    def _new(self) -> GaugeCell:
        return GaugeCell()

    def family(self) -> Metric:
        made = GaugeMetricFamily(self.name, self.help_text, labels=self.label_names)
        for values, cell in self.cells():
            made.add_metric(values, cell.value)
        return made


class Histogram(Instrument[HistogramCell]):
    def __init__(self, name: str, help_text: str, label_names: tuple[str, ...], edges: Sequence[float]) -> None:
        super().__init__(name, help_text, label_names)
        self.edges = tuple(edges)

    @override
    def _new(self) -> HistogramCell:
        return HistogramCell(self.edges)

    def family(self) -> Metric:
        made = HistogramMetricFamily(self.name, self.help_text, labels=self.label_names)
        for values, cell in self.cells():
            made.add_metric(values, cell.cumulated(), cell.total)
        return made


class Metrics(Collector):
    """Makes instruments; the same name asked for twice gives the same instrument."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        self._made: dict[str, Counter | Gauge | Histogram] = {}
        self.registry.register(self)

    def counter(self, name: str, help_text: str, *labels: str) -> Counter:
        made = self._made.setdefault(name, Counter(name, help_text, labels))
        assert isinstance(made, Counter)
        return made

    def gauge(self, name: str, help_text: str, *labels: str) -> Gauge:
        made = self._made.setdefault(name, Gauge(name, help_text, labels))
        assert isinstance(made, Gauge)
        return made

    def histogram(self, name: str, help_text: str, *labels: str, buckets: Sequence[float] = SECONDS) -> Histogram:
        made = self._made.setdefault(name, Histogram(name, help_text, labels, buckets))
        assert isinstance(made, Histogram)
        return made

    def instruments(self) -> Iterable[Counter | Gauge | Histogram]:
        return self._made.values()

    @override
    def collect(self) -> Iterable[Metric]:
        return [made.family() for made in self._made.values()]

    def render(self) -> bytes:
        """The exposition text of all instruments."""
        return generate_latest(self.registry)
