"""A server that is slow, stopped, killed, absent, garbled, or does not know us."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator

import pytest

from ngx_agents.coordination import commands as c
from ngx_agents.coordination import line
from ngx_agents.coordination.connections import dedicated
from ngx_agents.coordination.shared import Shared
from ngx_agents.errors import ConfigError, SharedUnavailable
from ngx_agents.telemetry.metrics import Metrics
from tests.coordination.members import PATIENT_S, member, members, until_it_works
from tests.coordination.shared_conformance import fresh
from tests.ports import free_port
from tests.valkey_process import ValkeyProcess, valkey

TIMEOUT_S = 0.05


@pytest.fixture
def server() -> Iterator[ValkeyProcess]:
    with valkey() as server:
        yield server


async def seconds_to_fail(shared: Shared) -> float:
    start_s = time.monotonic()
    with pytest.raises(SharedUnavailable):
        await shared.ask(c.Get("k"))
    return time.monotonic() - start_s


def breaker_state(metrics: Metrics) -> float:
    lines = [line for line in metrics.render().decode().splitlines() if line.startswith("ngx_shared_breaker_state{")]
    return float(lines[0].split()[-1]) if lines else 0.0


async def test_a_stopped_server_costs_the_timeout_then_nothing_and_comes_back_by_itself(server: ValkeyProcess) -> None:
    metrics = Metrics()
    shared = member(f"redis://127.0.0.1:{server.port}", metrics=metrics, timeout_s=TIMEOUT_S)
    await shared.open()
    key = fresh()
    try:
        await until_it_works(lambda: shared.ask(c.Put(key, b"kept", 60)), within_s=5)
        server.stop()
        first = [await seconds_to_fail(shared) for _ in range(12)]
        assert min(first[:9]) >= TIMEOUT_S * 0.9
        assert sorted(first)[6] < TIMEOUT_S + 0.3
        assert breaker_state(metrics) == 2
        # a probe may be let through meanwhile, and costs the timeout
        at_once = [await seconds_to_fail(shared) for _ in range(20)]
        assert sorted(at_once)[10] < TIMEOUT_S / 2
        server.go_on()
        await until_it_works(lambda: shared.ask(c.Get(key)), within_s=6)
        assert await shared.ask(c.Get(key)) == b"kept"
        await asyncio.gather(*(shared.ask(c.Get(key)) for _ in range(3)))
    finally:
        await shared.close()


async def test_a_server_that_stands_still_too_long_gets_a_new_connection(
    server: ValkeyProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line, "GIVE_UP_S", 0.05)
    metrics = Metrics()
    shared = member(f"redis://127.0.0.1:{server.port}", metrics=metrics, timeout_s=TIMEOUT_S)
    await shared.open()
    try:
        await until_it_works(lambda: shared.ask(c.Get("k")), within_s=5)
        server.stop()
        await seconds_to_fail(shared)
        await asyncio.sleep(0.1)
        server.go_on()
        await until_it_works(lambda: shared.ask(c.Get("k")), within_s=5)
        assert b'ngx_shared_reconnects_total{use="commands"} 1.0' in metrics.render()
    finally:
        await shared.close()


async def test_a_killed_server_is_noticed_at_once_and_found_again(server: ValkeyProcess) -> None:
    async with members(f"redis://127.0.0.1:{server.port}", 1) as [shared]:
        await shared.ask(c.Get("k"))
        server.kill()
        async with asyncio.timeout(PATIENT_S):
            for _ in range(30):
                await seconds_to_fail(shared)
        server.start()
        assert await until_it_works(lambda: shared.ask(c.Put("k", b"back", 60)), within_s=6) < 6
        assert await shared.ask(c.Get("k")) == b"back"


async def test_what_is_under_way_when_the_server_dies_fails_and_does_not_wait(server: ValkeyProcess) -> None:
    async with members(f"redis://127.0.0.1:{server.port}", 1, timeout_s=30.0) as [shared]:
        await shared.ask(c.Get("k"))
        server.stop()
        async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
            asked = [tasks.create_task(seconds_to_fail(shared)) for _ in range(20)]
            await asyncio.sleep(0.02)
            server.kill()
        assert max(task.result() for task in asked) < 5


async def test_an_absent_server_is_no_reason_not_to_start() -> None:
    port = free_port()
    shared = member(f"redis://127.0.0.1:{port}")
    await shared.open()
    try:
        assert await seconds_to_fail(shared) < PATIENT_S
        with pytest.raises(SharedUnavailable):
            await shared.publish("channel", b"hint")
        with valkey(port=port):
            await until_it_works(lambda: shared.ask(c.Get("k")), within_s=6)
    finally:
        await shared.close()


async def test_listeners_hear_again_after_the_server_was_gone(server: ValkeyProcess) -> None:
    async with members(f"redis://127.0.0.1:{server.port}") as [one, other]:
        hints = one.listen("channel")

        async def hear(hint: bytes) -> None:
            async def speak() -> None:
                while True:
                    await until_it_works(lambda: other.publish("channel", hint), within_s=8)
                    await asyncio.sleep(0.02)

            async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
                speaking = tasks.create_task(speak())
                while await anext(hints) != hint:
                    pass
                speaking.cancel()

        await hear(b"before")
        server.kill()
        await asyncio.sleep(0.05)
        server.start()
        await hear(b"after")


async def test_a_large_group_that_takes_too_long_is_unavailable_and_can_be_asked_again(
    server: ValkeyProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with members(f"redis://127.0.0.1:{server.port}", 1) as [shared]:
        keys = [fresh() for _ in range(300)]
        await asyncio.gather(*(shared.ask(c.Put(key, b"x", 60, "group")) for key in keys))
        with monkeypatch.context() as patched:
            patched.setattr("ngx_agents.coordination.redis_commands.DROP_GROUP_S", 0.0)
            with pytest.raises(SharedUnavailable):
                await shared.ask(c.DropGroup("group"))
        await shared.ask(c.DropGroup("group"))
        assert await shared.ask(c.GetMany(tuple(keys))) == [None] * 300


@pytest.fixture(scope="module")
def locked() -> Iterator[ValkeyProcess]:
    with valkey("--requirepass", "s3cret") as server:
        yield server


@pytest.mark.parametrize("credentials", ["", ":wrong-s3cret@", "nobody:s3cret@"])
async def test_refused_credentials_are_one_clear_line_without_the_secret(
    locked: ValkeyProcess, credentials: str, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"redis://{credentials}127.0.0.1:{locked.port}"
    caplog.set_level(logging.DEBUG)
    shared = member(url)
    with pytest.raises(ConfigError) as refused:
        await shared.open()
    await shared.close()
    with pytest.raises(ConfigError) as refused_too:
        await dedicated(url)
    for told in (str(refused.value), str(refused_too.value)):
        assert told == f"NGX_REDIS_URL: Redis at 127.0.0.1:{locked.port} refuses the user, password or database"
    assert "s3cret" not in caplog.text


async def test_right_credentials_open(locked: ValkeyProcess) -> None:
    for credentials in (":s3cret@", "default:s3cret@"):
        async with members(f"redis://{credentials}127.0.0.1:{locked.port}/2", 1) as [shared]:
            await shared.ask(c.Put("k", b"v", 60))


async def test_a_database_that_is_not_there_is_refused(server: ValkeyProcess) -> None:
    shared = member(f"redis://127.0.0.1:{server.port}/99")
    with pytest.raises(ConfigError):
        await shared.open()
    await shared.close()


@pytest.mark.parametrize(
    "noise", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", b"*-5\r\n$9999999999999\r\n", b"+PONG\r\n"]
)
async def test_something_else_on_the_port_is_unavailable(noise: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(noise)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as other:
        port = other.sockets[0].getsockname()[1]
        shared = member(f"redis://127.0.0.1:{port}", timeout_s=0.2)
        await shared.open()
        try:
            assert await seconds_to_fail(shared) < PATIENT_S
        finally:
            await shared.close()


async def test_what_waits_for_a_silent_server_is_bounded(
    server: ValkeyProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line, "MAX_WAITING", 500)
    monkeypatch.setattr(line, "MAX_WAITING_BYTES", 2**20)
    async with members(f"redis://127.0.0.1:{server.port}", 1, timeout_s=0.5) as [shared]:
        await shared.ask(c.Get("k"))
        server.stop()
        gets = [shared.ask(c.Get("k")) for _ in range(line.MAX_WAITING + 50)]
        told = await asyncio.gather(*gets, return_exceptions=True)
        assert all(isinstance(each, SharedUnavailable) for each in told)
        assert sum("too many" in str(each) for each in told) == 50
        puts = [shared.ask(c.Put("k", b"x" * 100_000, 60)) for _ in range(100)]
        told = await asyncio.gather(*puts, return_exceptions=True)
        assert sum("too many" in str(each) for each in told) > 50


async def test_closing_does_not_wait_for_a_silent_server(server: ValkeyProcess) -> None:
    shared = member(f"redis://127.0.0.1:{server.port}", timeout_s=30.0)
    await shared.open()
    await shared.ask(c.Get("k"))
    server.stop()
    async with asyncio.timeout(2), asyncio.TaskGroup() as tasks:
        failed = tasks.create_task(seconds_to_fail(shared))
        await asyncio.sleep(0.01)
        await shared.close()
    assert failed.result() < 2
