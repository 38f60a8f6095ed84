"""The metrics of several processes as one: what each has counted, as plain values, and their sum.

Counters and histograms are added. Gauges are added too, where they count something that each process has some of; a
state, an age or a mode is that of the worst process. What a process counted stays counted when it is gone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from ngx_agents.telemetry.metrics import Counter, Gauge, Histogram, Metrics

# endings of gauges that are not added: the greatest counts, or the least
GREATEST_OF = ("_state", "_mode", "_lag_bytes", "_seconds")
LEAST_OF = ("_up", "_connected", "_threshold")


class Family(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One instrument. A row is its label values and its numbers: one, or a histogram's counts and then its total."""

    kind: Literal["counter", "gauge", "histogram"]
    name: str
    help: str
    labels: tuple[str, ...]
    edges: tuple[float, ...]
    rows: list[tuple[tuple[str, ...], list[float]]]


Snapshot = tuple[Family, ...]


def snapshot_of(metrics: Metrics) -> Snapshot:
    """What has been counted until now."""
    return tuple(_family(made) for made in metrics.instruments())


def lasting(snapshot: Snapshot) -> Snapshot:
    """What stays counted when the process is gone."""
    return tuple(family for family in snapshot if family.kind != "gauge")


def merged(snapshots: Iterable[Snapshot]) -> Metrics:
    """All of them as one. Where two disagree about a histogram's edges, the first is right and the other left out."""
    whole = Metrics()
    for snapshot in snapshots:
        for family in snapshot:
            _add(whole, family)
    return whole


def _family(made: Counter | Gauge | Histogram) -> Family:
    if isinstance(made, Histogram):
        rows = [(values, [*map(float, cell.counts), cell.total]) for values, cell in made.cells()]
        return _described(made, "histogram", rows, edges=made.edges)
    numbers = [(values, [float(cell.value)]) for values, cell in made.cells()]
    return _described(made, "counter" if isinstance(made, Counter) else "gauge", numbers)


def _described(
    made: Counter | Gauge | Histogram,
    kind: Literal["counter", "gauge", "histogram"],
    rows: list[tuple[tuple[str, ...], list[float]]],
    edges: tuple[float, ...] = (),
) -> Family:
    return Family(kind=kind, name=made.name, help=made.help_text, labels=made.label_names, edges=edges, rows=rows)


def _add(whole: Metrics, family: Family) -> None:
    match family.kind:
        case "counter":
            counter = whole.counter(family.name, family.help, *family.labels)
            for values, (number,) in family.rows:
                counter.labels(*values).inc(number)
        case "gauge":
            _add_gauge(whole, family)
        case "histogram":
            histogram = whole.histogram(family.name, family.help, *family.labels, buckets=family.edges)
            if histogram.edges != family.edges:
                return
            for values, (*counts, total) in family.rows:
                histogram.labels(*values).add([int(count) for count in counts], total)


def _add_gauge(whole: Metrics, family: Family) -> None:
    is_greatest, is_least = family.name.endswith(GREATEST_OF), family.name.endswith(LEAST_OF)
    gauge = whole.gauge(family.name, family.help, *family.labels)
    known = {values for values, _ in gauge.cells()}
    for values, (number,) in family.rows:
        cell = gauge.labels(*values)
        if is_greatest and values in known:
            cell.set(max(cell.value, number))
        elif is_least and values in known:
            cell.set(min(cell.value, number))
        else:
            cell.set(cell.value + number)
