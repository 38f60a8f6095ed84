from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from ngx_agents.telemetry.metrics import SECONDS, Metrics


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(metrics.render().decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value for one in families for sample in one.samples
    }


def test_what_was_counted_is_what_a_scrape_reads() -> None:
    metrics = Metrics()
    served = metrics.counter("ngx_served_total", "Served.", "route", "status")
    served.labels("/v1", "200").inc()
    served.labels("/v1", "200").inc(2)
    served.labels("/v1", "404").inc()
    metrics.gauge("ngx_open", "Open.").labels().set(7)
    read = samples(metrics)
    assert read["ngx_served_total", (("route", "/v1"), ("status", "200"))] == 3
    assert read["ngx_served_total", (("route", "/v1"), ("status", "404"))] == 1
    assert read["ngx_open", ()] == 7


@given(st.lists(st.floats(0, 100), max_size=30))
def test_a_bucket_counts_all_up_to_and_including_its_edge(values: list[float]) -> None:
    metrics = Metrics()
    timer = metrics.histogram("ngx_s", "Seconds.").labels()
    for value in values:
        timer.observe(value)
    read = samples(metrics)
    for edge in SECONDS:
        assert read["ngx_s_bucket", (("le", str(float(edge))),)] == sum(value <= edge for value in values)
    assert read["ngx_s_bucket", (("le", "+Inf"),)] == read["ngx_s_count", ()] == len(values)
    assert read["ngx_s_sum", ()] == pytest.approx(sum(values))


def test_the_same_name_is_the_same_instrument_and_wrong_labels_are_refused() -> None:
    metrics = Metrics()
    first = metrics.counter("ngx_a_total", "A.", "kind")
    assert metrics.counter("ngx_a_total", "A.", "kind") is first
    with pytest.raises(ValueError, match="labels"):
        first.labels("x", "y")


def test_a_hostile_label_value_stays_one_value() -> None:
    metrics = Metrics()
    hostile = 'a"b\\c\n} 1'
    metrics.counter("ngx_a_total", "A.", "kind").labels(hostile).inc()
    assert samples(metrics)["ngx_a_total", (("kind", hostile),)] == 1
