from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from ngx_agents.clock import SystemClock
from ngx_agents.errors import ModelTimeout, ModelUnavailable
from ngx_agents.resilience.courtesy import Courtesy
from ngx_agents.vertex.pool import SPREAD_AT
from ngx_agents.vertex.transport import ConnectionSettings, Http2, PostCall, Transport
from ngx_agents.vertex.transport_pyreqwest import PyreqwestTransport
from tests.emulator_process import certificate
from tests.vertex.transport_conformance import TransportConformance
from tests.vertex.wire_server import Wire, refused_origin, wire_server

CLOCK = SystemClock()
HTTP2: dict[str, Http2] = {"h2c": "prior_knowledge", "tls-h2": "auto"}


class TestOverHttp1(TransportConformance):
    http2: Http2 = "auto"

    def make(self, size: int, settings: ConnectionSettings) -> Transport:
        return PyreqwestTransport(
            connection_pool_size=size,
            http2=self.http2,
            clock=SystemClock(),
            courtesy=Courtesy(),
            on_wait=_ignore,
            connections=settings,
        )


class TestOverHttp2InClear(TestOverHttp1):
    wire: Wire = "h2c"
    http2: Http2 = "prior_knowledge"


class TestOverTlsWithHttp2(TestOverHttp1):
    wire: Wire = "tls-h2"


class TestOverTlsWithHttp1Only(TestOverHttp1):
    wire: Wire = "tls-http1"


def transport(
    size: int, *, http2: Http2 = "prior_knowledge", waits: list[float] | None = None, **settings: float
) -> PyreqwestTransport:
    return PyreqwestTransport(
        connection_pool_size=size,
        http2=http2,
        clock=CLOCK,
        courtesy=Courtesy(),
        on_wait=_ignore if waits is None else waits.append,
        connections=ConnectionSettings(ca_file=str(certificate().ca_file), **settings),
    )


def call(origin: str, path: str, *, timeout_s: float = 5.0) -> PostCall:
    return PostCall(origin, path, {}, b"{}", CLOCK.monotonic_s() + timeout_s)


async def held(pool: Transport, origin: str, got: list[bytes]) -> None:
    async with pool.stream(call(origin, "/held")) as answer:
        async for chunk in answer.chunks:
            got.append(chunk)  # noqa: PERF401  # what came before an error counts


async def broken(pool: Transport, origin: str, got: list[bytes]) -> None:
    with pytest.raises(ModelUnavailable):
        await held(pool, origin, got)


@asynccontextmanager
async def streams(pool: Transport, origin: str, count: int) -> AsyncIterator[list[list[bytes]]]:
    """So many streams held open, each after its first chunk; closed on leaving."""
    got: list[list[bytes]] = [[] for _ in range(count)]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(held(pool, origin, chunks)) for chunks in got]
        await until(lambda: all(got))
        yield got
        for task in tasks:
            task.cancel()


@pytest.mark.parametrize("wire", ["h2c", "tls-h2"])
async def test_calls_that_start_at_once_on_a_cold_pool_share_connections(wire: Wire) -> None:
    count = 5 * SPREAD_AT
    async with (
        wire_server(wire) as (origin, seen),
        transport(50, http2=HTTP2[wire]) as pool,
        streams(pool, origin, count),
    ):
        assert (seen.connections, seen.open_now) == (5, count)


async def test_peer_that_speaks_only_http1_gets_one_call_a_connection_up_to_the_size() -> None:
    waits: list[float] = []
    async with wire_server("tls-http1") as (origin, seen), transport(4, http2="auto", waits=waits) as pool:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(pool.post(call(origin, "/wait"))) for _ in range(10)]
            await until(lambda: seen.open_now == 4)
            await asyncio.sleep(0.01)
            seen.go_on.set()
        assert {task.result().status for task in tasks} == {200}
        assert (seen.connections, seen.open_most, len(waits)) == (4, 4, 6)


async def test_peers_limit_of_streams_is_learnt_and_kept() -> None:
    async with wire_server("tls-h2", max_streams=3) as (origin, seen), transport(2, http2="auto") as pool:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(pool.post(call(origin, "/wait"))) for _ in range(9)]
            await until(lambda: seen.open_now == 6)
            await asyncio.sleep(0.01)
            seen.go_on.set()
        assert {task.result().status for task in tasks} == {200}
        assert (seen.connections, seen.open_most) == (2, 6)


async def test_killed_connection_fails_its_own_calls_and_spares_the_others() -> None:
    async with wire_server("h2c") as (origin, seen), transport(2, calls_per_connection=1) as pool:
        got: list[list[bytes]] = [[], []]
        async with asyncio.TaskGroup() as group:
            doomed = group.create_task(broken(pool, origin, got[0]))
            await until(lambda: bool(got[0]))
            spared = group.create_task(held(pool, origin, got[1]))
            await until(lambda: bool(got[1]))
            seen.lines[0].abort()
            await doomed
            assert (await pool.post(call(origin, "/echo"))).status == 200
            assert seen.connections == 3
            assert not spared.done()
            spared.cancel()


async def test_connection_said_farewell_to_lets_its_streams_end_and_the_next_call_opens_anew() -> None:
    async with wire_server("h2c") as (origin, seen), transport(2) as pool, streams(pool, origin, 1):
        assert (await pool.post(call(origin, "/farewell"))).status == 200
        await asyncio.sleep(0.02)
        assert (await pool.post(call(origin, "/echo"))).status == 200
        assert (seen.connections, seen.open_now) == (2, 1)


async def test_connection_that_answers_nobody_is_replaced_and_its_open_stream_goes_on() -> None:
    async with wire_server("h2c") as (origin, seen), transport(1, max_failures=3) as pool, streams(pool, origin, 1):
        for _ in range(3):
            with pytest.raises(ModelTimeout):
                await pool.post(call(origin, "/silent", timeout_s=0.05))
        assert (await pool.post(call(origin, "/echo"))).status == 200
        assert seen.connections == 2
        await until(lambda: seen.open_now == 1)


async def test_peer_is_asked_again_what_it_speaks_when_all_connections_failed() -> None:
    async with transport(1, http2="auto", max_failures=1) as pool:
        async with wire_server("tls-h2") as (origin, _):
            assert (await pool.post(call(origin, "/echo"))).status == 200
        async with wire_server("tls-http1", port=int(origin.rsplit(":", 1)[1])) as (origin, seen):
            with pytest.raises(ModelUnavailable):
                await pool.post(call(origin, "/echo"))
            assert (await pool.post(call(origin, "/echo"))).status == 200
            assert seen.connections == 1


async def test_idle_connections_are_closed() -> None:
    async with wire_server("h2c") as (origin, seen), transport(3, calls_per_connection=1, idle_s=0.05) as pool:
        async with streams(pool, origin, 3):
            assert seen.connections == 3
        await until(lambda: all(line.is_closing() for line in seen.lines))
        assert (await pool.post(call(origin, "/echo"))).status == 200


async def test_greeting_that_fails_fails_all_who_wait_for_it_and_is_tried_again() -> None:
    async with transport(2) as pool, asyncio.TaskGroup() as group:
        origin = refused_origin()
        tasks = [group.create_task(broken(pool, origin, [])) for _ in range(5)]
        for task in tasks:
            await task
        await broken(pool, origin, [])


async def test_deadline_holds_while_the_peer_is_greeted() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts and says nothing: a TLS handshake stalls
        origin = f"https://127.0.0.1:{silent.getsockname()[1]}"
        async with transport(1, http2="auto") as pool:
            with pytest.raises(ModelTimeout):
                await pool.post(call(origin, "/", timeout_s=0.05))


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not is_so():  # noqa: ASYNC110  # the server is watched from outside
            await asyncio.sleep(0.001)


def _ignore(waited_s: float) -> None:
    assert waited_s >= 0
