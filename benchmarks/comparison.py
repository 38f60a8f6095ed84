"""Turns beside the bare handler: the same load on both by turns, so that what else the machine does hits both alike."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import msgspec

from benchmarks.load import Order
from benchmarks.processes import (
    REST_CORES,
    SERVER_CORES,
    Process,
    Server,
    emulator,
    free_port,
    ngx_server,
    spawned,
    wait_until_answers,
)
from benchmarks.sampling import QUESTION, Sample, control, sample, stored_conversations

TURNS_EACH = 8
WARM_UP_S = 1.0
FASTEST_PER_S = 6000
SETTINGS = {"NGX_VERTEX_CONNECTION_POOL_SIZE": "256"}  # over HTTP/1.1, as the emulator speaks it, one call a connection


class Comparison(msgspec.Struct, kw_only=True):
    """`ratios` are of neighbouring samples; `prompt_bytes` and `upstream` tell what a turn asks of the model."""

    name: str
    pinned: bool
    server: list[Sample]
    bare: list[Sample]
    ratios: list[float]
    model_calls_per_turn: float
    upstream: str
    prompt_bytes: int

    @property
    def cpu_ms(self) -> float:
        return median(one.cpu_ms for one in self.server)

    @property
    def bare_cpu_ms(self) -> float:
        return median(one.cpu_ms for one in self.bare)

    @property
    def ratio(self) -> float:
        return median(self.ratios)


class Load(msgspec.Struct, kw_only=True, frozen=True):
    """`concurrency` turns at a time in `conversations`, each of which is left for a fresh one after TURNS_EACH."""

    streams: bool = False
    concurrency: int = 32
    conversations: int = 64
    chunks: int = 50
    chunk_gap_ms: float = 0.0
    seconds: float = 5.0
    pairs: int = 3


def compare(name: str, load: Load, *, pinned: bool) -> Comparison:
    """Runs server and bare handler by turns. Raises BenchmarkError when any answer was not a model's whole one."""
    server_cores, rest = (SERVER_CORES, REST_CORES) if pinned else ((), ())
    options = {"chunks": load.chunks, "chunk_gap_ms": load.chunk_gap_ms}
    with (
        emulator(cores=rest, **options) as model,
        ngx_server(model.url, cores=server_cores, settings=SETTINGS) as server,
    ):
        sample(server, _order(load, server, WARM_UP_S), cores=rest)
        before, warm = control(model), sample(server, _order(load, server, WARM_UP_S), cores=rest)
        seen = control(model)
        prompt = msgspec.json.encode(seen["last_request"])
        with bare_handler(model.url + _target(seen["last_path"]), prompt, cores=server_cores) as bare:
            sample(bare, _bare_order(load, bare, WARM_UP_S), cores=rest)
            ours, theirs = [], []
            for _ in range(load.pairs):
                ours.append(sample(server, _order(load, server, load.seconds), cores=rest))
                theirs.append(sample(bare, _bare_order(load, bare, load.seconds), cores=rest))
    return Comparison(
        name=name,
        pinned=pinned,
        server=ours,
        bare=theirs,
        ratios=[one.cpu_ms / other.cpu_ms for one, other in zip(ours, theirs, strict=True)],
        model_calls_per_turn=(seen["calls"] - before["calls"]) / warm.turns,
        upstream=seen["last_path"].rpartition(":")[2],
        prompt_bytes=len(prompt),
    )


@contextmanager
def bare_handler(model_url: str, prompt: bytes, *, cores: Sequence[int] = ()) -> Iterator[Process]:
    with tempfile.TemporaryDirectory(prefix="ngx-bench-") as folder:
        path = Path(folder) / "prompt.json"
        path.write_bytes(prompt)
        port = free_port()
        command = [
            *(sys.executable, "-m", "benchmarks.bare", "--port", str(port), "--model-url", model_url),
            *("--prompt", str(path), "--data-dir", folder),
        ]
        with spawned(command, cores=cores, url=f"http://127.0.0.1:{port}") as process:
            wait_until_answers(process, "/")
            yield process


def _target(path: str) -> str:
    return f"{path}?alt=sse" if path.endswith(":streamGenerateContent") else path


def _order(load: Load, server: Server, seconds: float) -> Order:
    needed = load.conversations + int(seconds * FASTEST_PER_S / TURNS_EACH)
    return _order_for(load, server.url, server.api_key, stored_conversations(server, needed), seconds)


def _bare_order(load: Load, bare: Process, seconds: float) -> Order:
    needed = load.conversations + int(seconds * FASTEST_PER_S / TURNS_EACH)
    return _order_for(load, bare.url, "none", [f"c{number:029d}" for number in range(needed)], seconds)


def _order_for(load: Load, url: str, api_key: str, conversations: list[str], seconds: float) -> Order:
    return Order(
        url=url,
        api_key=api_key,
        conversations=conversations,
        text=QUESTION,
        concurrency=load.concurrency,
        open_conversations=load.conversations,
        turns_each=TURNS_EACH,
        seconds=seconds,
        streams=load.streams,
    )
