"""The harness measures what it says: CPU of the server alone, checked answers, living subscriptions."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from benchmarks.comparison import Load, compare
from benchmarks.effort import Effort
from benchmarks.load import Order
from benchmarks.processes import BenchmarkError, Process, emulator, ngx_server, spawned
from benchmarks.report import Line, Outcome, save, table
from benchmarks.sampling import QUESTION, control, sample, stored_conversations
from benchmarks.subscriptions import held_turns, listening

from ngx_agents.clock import SystemClock

BURN = "import time\nwhile time.process_time() < 0.2: pass\nprint('done', flush=True)\ninput()"


def test_cpu_of_another_process_is_read_to_the_millisecond() -> None:
    with spawned([sys.executable, "-c", BURN], stdin=subprocess.PIPE) as process:
        assert process.popen.stdout is not None
        process.popen.stdout.readline()
        used_s = process.cpu_s()
        assert 0.2 <= used_s < 0.3
        assert used_s == pytest.approx(_ticks_s(process), abs=0.02)
        assert sum(process.cpu_by_thread_s().values()) == pytest.approx(used_s, abs=0.01)


def _ticks_s(process: Process) -> float:
    """utime and stime of /proc/<pid>/stat, all threads, in steps of 10 ms."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def test_a_table_says_what_holds_and_json_keeps_it(tmp_path: Path) -> None:
    lines = [
        Line(what="fast", measured=0.3, unit="ms", budget=0.4),
        Line(what="slow", measured=0.5, unit="ms", budget=0.4),
        Line(what="free", measured=7, unit="x"),
    ]
    outcome = Outcome(name="speed", lines=lines, data={"raw": [1]})
    rows = table([outcome]).splitlines()
    assert "| holds " in rows[2]
    assert "does not hold" in rows[3]
    assert "hold" not in rows[4]
    kept = json.loads(save(outcome, SystemClock(), tmp_path).read_bytes())
    assert [line["holds"] for line in kept["lines"]] == [True, False, None]
    assert kept["data"] == {"raw": [1]}


@pytest.mark.slow
@pytest.mark.alone
def test_every_turn_of_a_sample_is_a_call_to_the_model() -> None:
    with emulator(chunks=5) as model, ngx_server(model.url) as server:
        before = control(model)["calls"]
        found = sample(server, _order(server.url, server.api_key, stored_conversations(server, 40)))
        assert found.turns == control(model)["calls"] - before == 80
        assert 0.05 < found.cpu_ms < 50
        assert sum(found.by_thread_ms.values()) == pytest.approx(found.cpu_ms, rel=0.2)


@pytest.mark.slow
def test_a_sample_fails_loudly_when_an_answer_is_not_the_models() -> None:
    with ngx_server("http://127.0.0.1:9") as server:
        order = _order(server.url, server.api_key, stored_conversations(server, 4))
        with pytest.raises(BenchmarkError, match="not from the model"):
            sample(server, order)
        with pytest.raises(BenchmarkError, match="401"):
            sample(server, _order(server.url, "ngx_wrong", order.conversations))


@pytest.mark.slow
@pytest.mark.alone
def test_server_and_bare_handler_answer_the_same_load() -> None:
    load = Load(streams=True, concurrency=4, conversations=8, chunks=20, seconds=0.3, pairs=1)
    found = compare("tiny", load, pinned=False)
    assert found.model_calls_per_turn == 1
    assert found.bare[0].events_per_turn == 20
    assert found.ratio == pytest.approx(found.cpu_ms / found.bare_cpu_ms)
    assert found.cpu_ms > found.bare_cpu_ms * 0.5


@pytest.mark.slow
def test_counted_subscriptions_are_open_and_hear_their_turn() -> None:
    with (
        emulator(ttft_ms=60_000) as model,
        ngx_server(model.url, settings={"NGX_SERVER_DRAIN_S": "0"}) as server,
        listening(server, held_turns(server, 2), 6) as sockets,
    ):
        assert len(sockets) == 6
        time.sleep(0.05)
        assert control(model)["calls"] == 2


def test_effort_shrinks_counts_but_never_to_nothing() -> None:
    assert Effort(scale=0.001).count(200) == 1
    assert Effort().count(200) == 200


def _order(url: str, api_key: str, conversations: list[str]) -> Order:
    return Order(
        url=url, api_key=api_key, conversations=conversations, text=QUESTION, concurrency=4,
        open_conversations=len(conversations), turns_each=2, seconds=30.0,
    )  # fmt: skip
