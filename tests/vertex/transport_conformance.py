"""What every Transport must do, over every wire it speaks. Subclass it and say in `make` how the transport is made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from ngx_agents.clock import SystemClock
from ngx_agents.errors import ConfigError, ModelProtocolError, ModelTimeout, ModelUnavailable
from ngx_agents.vertex.transport import ConnectionSettings, PostCall, Transport
from tests.emulator_process import certificate
from tests.vertex.wire_server import (
    BIG,
    LONG_HEADER_BYTES,
    PAGE,
    PIECES,
    SPLIT,
    TINY,
    Seen,
    Wire,
    refused_origin,
    wire_server,
)

CLOCK = SystemClock()


class TransportConformance:
    """`make` gives a transport of so many connections, not yet entered; `wire` is what the server speaks."""

    wire: Wire = "http1"

    def make(self, size: int, settings: ConnectionSettings) -> Transport:
        raise AssertionError("the subclass says how")

    def made(self, size: int, **settings: int | float) -> Transport:
        return self.make(size, ConnectionSettings(ca_file=str(certificate().ca_file), **settings))

    @pytest_asyncio.fixture
    async def server(self) -> AsyncIterator[tuple[str, Seen]]:
        async with wire_server(self.wire) as running:
            yield running

    @pytest_asyncio.fixture
    async def transport(self) -> AsyncIterator[Transport]:
        async with self.made(8) as transport:
            yield transport

    @staticmethod
    def call(origin: str, path: str, *, body: bytes = b"{}", timeout_s: float = 5.0) -> PostCall:
        headers = {"content-type": "application/json", "x-marked": "yes"}
        return PostCall(origin, path, headers, body, CLOCK.monotonic_s() + timeout_s)

    @staticmethod
    async def _read(transport: Transport, call: PostCall, into: list[bytes]) -> None:
        async with transport.stream(call) as answer:
            async for chunk in answer.chunks:
                into.append(chunk)  # noqa: PERF401  # what came before an error counts

    @pytest.mark.parametrize("status", [200, 201, 302, 400, 401, 404, 429, 500, 503])
    async def test_any_status_is_an_answer(self, transport: Transport, server: tuple[str, Seen], status: int) -> None:
        posted = await transport.post(self.call(server[0], f"/status/{status}"))
        assert posted.status == status
        assert posted.header("retry-after") == "7"
        assert posted.header("absent") is None

    async def test_body_and_headers_arrive_as_they_were_given(
        self, transport: Transport, server: tuple[str, Seen]
    ) -> None:
        body = bytes(range(256)) * 5000
        posted = await transport.post(self.call(server[0], "/echo", body=body))
        assert posted.body == body
        assert server[1].headers[0]["x-marked"] == "yes"
        assert server[1].headers[0]["content-type"] == "application/json"

    async def test_long_headers_pass_both_ways(self, transport: Transport, server: tuple[str, Seen]) -> None:
        call = self.call(server[0], "/long")
        token = "t" * LONG_HEADER_BYTES
        call = PostCall(call.origin, call.path, {**call.headers, "authorization": token}, call.body, call.deadline_s)
        posted = await transport.post(call)
        assert posted.header("x-long") == "x" * LONG_HEADER_BYTES
        assert server[1].headers[0]["authorization"] == token

    async def test_page_of_a_wrong_host_is_an_answer(self, transport: Transport, server: tuple[str, Seen]) -> None:
        posted = await transport.post(self.call(server[0], "/html"))
        assert (posted.status, posted.body) == (404, PAGE)
        async with transport.stream(self.call(server[0], "/html")) as answer:
            assert answer.status == 404
            assert answer.header("content-type") == "text/html; charset=UTF-8"
            assert b"".join([chunk async for chunk in answer.chunks]) == PAGE

    async def test_body_cut_into_single_bytes_arrives_as_it_was(
        self, transport: Transport, server: tuple[str, Seen]
    ) -> None:
        assert (await transport.post(self.call(server[0], "/bytes"))).body == SPLIT
        async with transport.stream(self.call(server[0], "/bytes")) as answer:
            assert b"".join([chunk async for chunk in answer.chunks]) == SPLIT

    async def test_small_chunks_that_nobody_reads_for_a_while_break_nothing(
        self, transport: Transport, server: tuple[str, Seen]
    ) -> None:
        """An HTTP/2 client must bear thousands of unread frames of a few bytes: a busy loop leaves as many."""

        async def read_late() -> int:
            async with transport.stream(self.call(server[0], "/tiny/300")) as answer:
                await asyncio.sleep(0.1)
                return len(b"".join([chunk async for chunk in answer.chunks]))

        async with asyncio.TaskGroup() as group:
            readers = [group.create_task(read_late()) for _ in range(8)]
        assert [reader.result() for reader in readers] == [300 * len(TINY)] * 8

    async def test_too_large_answer_is_refused_and_closed(self, server: tuple[str, Seen]) -> None:
        async with self.made(8, max_body_bytes=100_000) as transport:
            with pytest.raises(ModelProtocolError):
                await transport.post(self.call(server[0], "/flood"))
            await asyncio.wait_for(server[1].gone.wait(), 10)
            server[1].gone.clear()
            got: list[bytes] = []
            with pytest.raises(ModelProtocolError):
                await self._read(transport, self.call(server[0], "/flood"), got)
            assert len(b"".join(got)) <= 100_000
            await asyncio.wait_for(server[1].gone.wait(), 10)

    async def test_answer_as_large_as_allowed_passes(self, server: tuple[str, Seen]) -> None:
        async with self.made(8, max_body_bytes=len(BIG)) as transport:
            assert (await transport.post(self.call(server[0], "/big"))).body == BIG

    async def test_big_body_arrives_whole_and_streamed(self, transport: Transport, server: tuple[str, Seen]) -> None:
        assert (await transport.post(self.call(server[0], "/big"))).body == BIG
        async with transport.stream(self.call(server[0], "/big")) as answer:
            assert b"".join([chunk async for chunk in answer.chunks]) == BIG

    async def test_connection_is_used_again(self, transport: Transport, server: tuple[str, Seen]) -> None:
        for _ in range(5):
            await transport.post(self.call(server[0], "/echo"))
        async with transport.stream(self.call(server[0], "/pieces")) as answer:
            assert b"".join([chunk async for chunk in answer.chunks]) == b"".join(PIECES)
        await transport.post(self.call(server[0], "/echo"))
        assert server[1].connections == 1

    async def test_connection_that_takes_no_more_calls_is_replaced_unnoticed(
        self, transport: Transport, server: tuple[str, Seen]
    ) -> None:
        for _ in range(3):
            assert (await transport.post(self.call(server[0], "/farewell"))).status == 200
            await asyncio.sleep(0.02)
        assert server[1].connections == 3

    async def test_killed_connection_is_replaced_by_the_next_call(
        self, transport: Transport, server: tuple[str, Seen]
    ) -> None:
        await transport.post(self.call(server[0], "/echo"))
        server[1].lines[0].abort()
        await asyncio.sleep(0.02)
        assert (await transport.post(self.call(server[0], "/echo"))).status == 200
        assert server[1].connections == 2

    async def test_stream_yields_the_first_chunk_before_the_last_is_sent(
        self, transport: Transport, server: tuple[str, Seen]
    ) -> None:
        async with transport.stream(self.call(server[0], "/held")) as answer:
            assert answer.status == 200
            assert await anext(aiter(answer.chunks)) == b"first"

    async def test_stream_of_a_refusal_carries_status_and_body(
        self, transport: Transport, server: tuple[str, Seen]
    ) -> None:
        async with transport.stream(self.call(server[0], "/status/429")) as answer:
            assert answer.status == 429
            assert answer.header("retry-after") == "7"
            assert b"".join([chunk async for chunk in answer.chunks]) == b'{"said": "so"}'

    @pytest.mark.parametrize("path", ["/reset", "/short", "/cut"])
    async def test_broken_answer_is_unavailable(
        self, transport: Transport, server: tuple[str, Seen], path: str
    ) -> None:
        with pytest.raises(ModelUnavailable):
            await transport.post(self.call(server[0], path))

    async def test_reset_before_the_first_byte_of_a_stream_is_unavailable(
        self, transport: Transport, server: tuple[str, Seen]
    ) -> None:
        with pytest.raises(ModelUnavailable):
            async with transport.stream(self.call(server[0], "/reset")):
                pass

    async def test_cut_stream_gives_what_came_and_then_is_unavailable(
        self, transport: Transport, server: tuple[str, Seen]
    ) -> None:
        got: list[bytes] = []
        with pytest.raises(ModelUnavailable):
            await self._read(transport, self.call(server[0], "/cut"), got)
        assert b"".join(got) == b"".join(PIECES)

    async def test_refused_connection_is_unavailable(self, transport: Transport) -> None:
        origin = refused_origin("https" if self.wire.startswith("tls") else "http")
        with pytest.raises(ModelUnavailable):
            await transport.post(self.call(origin, "/"))
        with pytest.raises(ModelUnavailable):
            async with transport.stream(self.call(origin, "/")):
                pass

    async def test_silence_times_out(self, transport: Transport, server: tuple[str, Seen]) -> None:
        with pytest.raises(ModelTimeout):
            await transport.post(self.call(server[0], "/silent", timeout_s=0.05))
        with pytest.raises(ModelTimeout):
            async with transport.stream(self.call(server[0], "/silent", timeout_s=0.05)):
                pass

    async def test_stalled_stream_times_out_between_chunks(
        self, transport: Transport, server: tuple[str, Seen]
    ) -> None:
        got: list[bytes] = []
        with pytest.raises(ModelTimeout):
            await self._read(transport, self.call(server[0], "/held", timeout_s=0.1), got)
        assert got == [b"first"]

    async def test_passed_deadline_sends_nothing(self, transport: Transport, server: tuple[str, Seen]) -> None:
        with pytest.raises(ModelTimeout):
            await transport.post(self.call(server[0], "/echo", timeout_s=-1))
        assert server[1].bodies == []

    async def test_cancelled_call_lets_go_at_once_and_its_place_is_free_when_the_peer_answers(
        self, server: tuple[str, Seen]
    ) -> None:
        async with self.made(1, calls_per_connection=1) as transport, asyncio.TaskGroup() as group:
            task = group.create_task(transport.post(self.call(server[0], "/wait")))
            await _until(lambda: server[1].open_now == 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(task, 0.1)
            server[1].go_on.set()
            assert (await transport.post(self.call(server[0], "/echo", timeout_s=2))).status == 200

    async def test_cancelled_call_frees_its_place_at_its_deadline_if_the_peer_is_silent(
        self, server: tuple[str, Seen]
    ) -> None:
        async with self.made(1, calls_per_connection=1) as transport, asyncio.TaskGroup() as group:
            task = group.create_task(transport.post(self.call(server[0], "/silent", timeout_s=0.1)))
            await _until(lambda: server[1].open_now == 1)
            task.cancel()
            await asyncio.wait_for(server[1].gone.wait(), 10)
            assert (await transport.post(self.call(server[0], "/echo", timeout_s=2))).status == 200

    async def test_stream_cancelled_before_its_first_byte_is_closed_at_the_latest_with_it(
        self, server: tuple[str, Seen]
    ) -> None:
        async def read(transport: Transport) -> None:
            async with transport.stream(self.call(server[0], "/late")):
                raise AssertionError("nothing was said yet")

        async with self.made(1, calls_per_connection=1) as transport, asyncio.TaskGroup() as group:
            task = group.create_task(read(transport))
            await _until(lambda: server[1].open_now == 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(task, 0.1)
            server[1].go_on.set()
            await asyncio.wait_for(server[1].gone.wait(), 10)
            assert (await transport.post(self.call(server[0], "/echo", timeout_s=2))).status == 200

    async def test_left_stream_closes_upstream_and_frees_its_place(self, server: tuple[str, Seen]) -> None:
        async with self.made(1, calls_per_connection=1) as transport:
            async with transport.stream(self.call(server[0], "/held")) as answer:
                await anext(aiter(answer.chunks))
            await asyncio.wait_for(server[1].gone.wait(), 10)
            assert (await transport.post(self.call(server[0], "/echo"))).status == 200

    async def test_cancelled_reader_closes_upstream(self, server: tuple[str, Seen]) -> None:
        async def read(transport: Transport) -> None:
            async with transport.stream(self.call(server[0], "/held")) as answer:
                async for _ in answer.chunks:
                    pass

        async with self.made(1, calls_per_connection=1) as transport, asyncio.TaskGroup() as group:
            task = group.create_task(read(transport))
            await _until(lambda: server[1].open_now == 1)
            await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.wait_for(server[1].gone.wait(), 10)
            assert (await transport.post(self.call(server[0], "/echo"))).status == 200

    async def test_pool_bounds_the_calls_at_once_and_serves_the_rest_after(self, server: tuple[str, Seen]) -> None:
        async with self.made(2, calls_per_connection=1) as transport, asyncio.TaskGroup() as group:
            tasks = [group.create_task(transport.post(self.call(server[0], "/wait"))) for _ in range(6)]
            await _until(lambda: server[1].open_now == 2)
            await asyncio.sleep(0.01)
            server[1].go_on.set()
            assert [(await task).status for task in tasks] == [200] * 6
        assert server[1].open_most == 2

    async def test_wait_for_a_place_ends_at_the_deadline(self, server: tuple[str, Seen]) -> None:
        async with self.made(1, calls_per_connection=1) as transport, asyncio.TaskGroup() as group:
            held = group.create_task(transport.post(self.call(server[0], "/wait")))
            await _until(lambda: server[1].open_now == 1)
            with pytest.raises(ModelTimeout):
                await transport.post(self.call(server[0], "/echo", timeout_s=0.03))
            server[1].go_on.set()
            assert (await held).status == 200

    async def test_unreadable_authorities_are_told_at_the_start(self, tmp_path: Path) -> None:
        for content in (None, b"", b"no certificate"):
            path = tmp_path / "authorities.pem"
            path.unlink(missing_ok=True)
            if content is not None:
                path.write_bytes(content)
            with pytest.raises(ConfigError):
                await self.make(1, ConnectionSettings(ca_file=str(path))).__aenter__()

    async def test_certificate_of_an_unknown_authority_is_unavailable(self, server: tuple[str, Seen]) -> None:
        if not self.wire.startswith("tls"):
            return
        async with self.make(1, ConnectionSettings()) as transport:
            with pytest.raises(ModelUnavailable):
                await transport.post(self.call(server[0], "/echo"))
        assert server[1].bodies == []


async def _until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not is_so():  # noqa: ASYNC110  # the server is watched from outside
            await asyncio.sleep(0.001)
