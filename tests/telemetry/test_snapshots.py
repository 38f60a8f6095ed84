"""What several processes counted, as one."""

from __future__ import annotations

import msgspec

from ngx_agents.app.worker_tally import WorkerTally
from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.telemetry.snapshots import Snapshot, lasting, merged, snapshot_of


def _counted(turns: float, running: float, breaker: float, *seconds: float) -> Snapshot:
    metrics = Metrics()
    metrics.counter("ngx_turns_total", "Turns.", "status").labels("completed").inc(turns)
    metrics.gauge("ngx_turns_running", "At work.").labels().set(running)
    metrics.gauge("ngx_model_breaker_state", "0 closed, 2 open.", "location").labels("eu").set(breaker)
    metrics.gauge("ngx_mcp_connected", "1 while connected.", "server").labels("s").set(float(breaker < 2))
    for each in seconds:
        metrics.histogram("ngx_turn_seconds", "Seconds.", buckets=(1.0, 2.0)).labels().observe(each)
    wire = msgspec.msgpack.encode(snapshot_of(metrics))
    return msgspec.msgpack.decode(wire, type=Snapshot)


def test_counts_are_added_and_a_state_is_that_of_the_worst() -> None:
    text = merged([_counted(3, 1, 0, 0.5), _counted(4, 2, 2, 1.5, 9.0), _counted(1, 0, 1)]).render().decode()
    assert 'ngx_turns_total{status="completed"} 8.0' in text
    assert "ngx_turns_running 3.0" in text
    assert 'ngx_model_breaker_state{location="eu"} 2.0' in text
    assert 'ngx_mcp_connected{server="s"} 0.0' in text
    assert 'ngx_turn_seconds_bucket{le="1.0"} 1.0' in text
    assert 'ngx_turn_seconds_bucket{le="2.0"} 2.0' in text
    assert "ngx_turn_seconds_count 3.0" in text
    assert "ngx_turn_seconds_sum 11.0" in text


def test_a_histogram_with_other_edges_is_left_out_rather_than_mixed_in() -> None:
    other = Metrics()
    other.histogram("ngx_turn_seconds", "Seconds.", buckets=(5.0,)).labels().observe(1.0)
    text = merged([_counted(0, 0, 0, 0.5), snapshot_of(other)]).render().decode()
    assert "ngx_turn_seconds_count 1.0" in text


def test_what_a_process_is_goes_with_it_and_what_it_did_stays() -> None:
    assert {family.name for family in lasting(_counted(1, 1, 1, 1.0))} == {"ngx_turns_total", "ngx_turn_seconds"}


def test_a_tally_never_counts_backwards_when_a_worker_dies() -> None:
    tally = WorkerTally(2)
    for worker in (0, 1):
        tally.beat(worker, 0.25)
        tally.counted(worker, _counted(10, 5, 0))
    tally.ended(0)
    tally.restarted(0)
    tally.counted(0, _counted(1, 1, 0))
    text = tally.exposition().decode()
    assert 'ngx_turns_total{status="completed"} 21.0' in text
    assert "ngx_turns_running 6.0" in text
    assert 'ngx_worker_alive{worker="0"} 0.0' in text
    assert 'ngx_worker_loop_lag_seconds{worker="1"} 0.25' in text
    tally.given_up(0)
    assert "ngx_workers_given_up 1.0" in tally.exposition().decode()
