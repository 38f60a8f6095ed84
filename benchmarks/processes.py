"""The processes of a benchmark: the server as users start it, the emulated model, and the bare handler.

Each is started in a folder of its own, on a free port, ended by its own id, and looked at through `/proc`.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

START_LIMIT_S = 20.0
STOP_LIMIT_S = 40.0
POLL_S = 0.002
SERVER_CORES: tuple[int, ...] = (0,)
REST_CORES: tuple[int, ...] = (1,)
NGX = Path(sys.executable).parent / "ngx"
PLENTY = [
    word
    for name in ("requests-per-minute", "turns-per-minute", "turns-per-hour", "turns-per-day", "running-turns")
    for word in (f"--{name}", "1000000")
] + ["--bytes-per-day", "1000000000000"]


class BenchmarkError(Exception):
    """The run measured nothing that may be reported."""


class Process:
    """A running process. `cpu_s` counts all of its threads, those that have ended too."""

    def __init__(self, popen: subprocess.Popen[str], url: str) -> None:
        self.popen = popen
        self.pid = popen.pid
        self.url = url

    def cpu_s(self) -> float:
        """Its POSIX CPU clock: user and system time of all threads, in nanosecond steps where /proc has 10 ms."""
        return time.clock_gettime(~self.pid << 3 | 2)

    def cpu_by_thread_s(self) -> dict[str, float]:
        """CPU of the threads that live: `loop` is the main one, other Python threads are told by when they began.

        Python before 3.14 does not tell the system its threads' names: they bear the program's.
        """
        found: dict[str, float] = {}
        program = Path(f"/proc/{self.pid}/comm").read_text().strip()
        python_threads = 0
        for task in sorted(Path(f"/proc/{self.pid}/task").iterdir(), key=lambda path: int(path.name)):
            name = (task / "comm").read_text().strip()
            if int(task.name) == self.pid:
                name = "loop"
            elif name == program:
                python_threads += 1
                name = f"python thread {python_threads}"
            on_cpu_ns = int((task / "schedstat").read_text().split()[0])
            found[name] = found.get(name, 0.0) + on_cpu_ns / 1e9
        return found

    def rss_kb(self) -> int:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        raise BenchmarkError(f"process {self.pid} has ended")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def spawned(
    command: Sequence[str],
    *,
    cores: Sequence[int] = (),
    url: str = "",
    environment: Mapping[str, str] | None = None,
    stdin: int = subprocess.DEVNULL,
) -> Iterator[Process]:
    """Runs `command`, on `cores` only when there are some, until the block is left. Its stdout is a pipe."""
    pin = ("taskset", "-c", ",".join(map(str, cores))) if cores else ()
    popen = subprocess.Popen(
        [*pin, *command],
        stdin=stdin,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environment or {})},
    )
    try:
        yield Process(popen, url)
    finally:
        popen.terminate()
        try:
            popen.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            popen.kill()
            popen.wait()
        for pipe in (popen.stdin, popen.stdout):
            if pipe is not None:
                pipe.close()


@contextmanager
def emulator(*, cores: Sequence[int] = (), **options: float) -> Iterator[Process]:
    """The emulated model; `options` are fields of its settings: `emulator(chunks=50, chunk_gap_ms=5)`."""
    command = [sys.executable, "-m", "ngx_agents.vertex.emulator", "--port", "0"]
    for name, value in {"ttft_ms": 0, "chunk_gap_ms": 0, **options}.items():
        command.extend((f"--{name.replace('_', '-')}", str(value)))
    with spawned(command, cores=cores) as process:
        assert process.popen.stdout is not None
        process.url = process.popen.stdout.readline().strip()
        if not process.url:
            raise BenchmarkError("the emulator did not start")
        yield process


class Server(Process):
    """`ngx serve` with keys and journal of its own; `api_key` is a user's. `start_s` is exec to first 200."""

    api_key = ""
    start_s = 0.0
    data_dir = Path()


def ngx(*words: str, folder: str, environment: Mapping[str, str]) -> str:
    """What the command prints, for the server whose data are in `folder`."""
    ran = subprocess.run(
        [str(NGX), *words, "--data-dir", folder],
        env={**os.environ, **environment}, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return ran.stdout.strip()


@contextmanager
def ngx_server(
    model_url: str, *, cores: Sequence[int] = (), settings: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """The real server, keys required. `settings` are more `NGX_*` variables, by name."""
    with tempfile.TemporaryDirectory(prefix="ngx-bench-") as folder:
        environment = {
            "NGX_VERTEX_BASE_URL": model_url,
            "NGX_AUTH": "api_key",
            "NGX_LOCAL_BUILTIN": "off",
            **(settings or {}),
        }
        key = ngx("keys", "create", "--user", "bench", folder=folder, environment=environment)
        # one user sends everything: what a person may do in a minute is counted, and enough
        ngx("plans", "set", "default", *PLENTY, folder=folder, environment=environment)
        port = free_port()
        command = [
            str(NGX),
            "serve",
            "--port",
            str(port),
            "--data-dir",
            folder,
            "--log-level",
            (settings or {}).get("NGX_SERVER_LOG_LEVEL", "warning"),
        ]
        began_s = time.perf_counter()
        with spawned(command, cores=cores, environment=environment) as process:
            server = Server(process.popen, f"http://127.0.0.1:{port}")
            server.api_key = key
            server.data_dir = Path(folder)
            wait_until_answers(server, "/readyz")
            server.start_s = time.perf_counter() - began_s
            yield server


def wait_until_answers(process: Process, path: str) -> None:
    """Returns with the first 200. Raises BenchmarkError when the process ends or takes too long."""
    until_s = time.perf_counter() + START_LIMIT_S
    while time.perf_counter() < until_s:
        if process.popen.poll() is not None:
            raise BenchmarkError(f"the server ended with {process.popen.returncode} before it answered")
        try:
            with urlopen(process.url + path, timeout=5) as answer:
                if answer.status == 200:
                    return
        except (URLError, ConnectionError):
            pass
        time.sleep(POLL_S)
    raise BenchmarkError(f"{path} did not answer within {START_LIMIT_S:.0f} s")
