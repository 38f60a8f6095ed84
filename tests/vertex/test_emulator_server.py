from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import PyreqwestError

from ngx_agents.errors import ConfigError
from ngx_agents.vertex.emulator import EmulatorSettings, run
from tests.emulator_process import certificate, start_emulator

STREAM = "/v1/projects/p/locations/global/publishers/google/models/gemini-3.8-flash:streamGenerateContent?alt=sse"
BODY = json.dumps({"contents": [{"role": "user", "parts": [{"text": "How can I sleep better?"}]}]}).encode()
CHUNKS = 6
VERSIONS = [
    pytest.param((False, False, "HTTP/1.1"), id="http1"),
    pytest.param((True, False, "HTTP/2.0"), id="h2c"),
    pytest.param((True, True, "HTTP/2.0"), id="tls-h2"),
    pytest.param((False, True, "HTTP/1.1"), id="tls-http1"),
]


class Caller:
    """A plain client of one emulator: none of ours in between."""

    def __init__(self, base_url: str, client: Client) -> None:
        self._base_url = base_url
        self._client = client

    async def script(self, *faults: dict[str, Any]) -> None:
        await self._client.post(self._base_url + "/_control").body_bytes(json.dumps(faults).encode()).build().send()

    async def state(self) -> dict[str, Any]:
        answer = await self._client.get(self._base_url + "/_control").build().send()
        state: dict[str, Any] = await answer.json()
        return state

    async def stream(self, into: list[bytes], *, leave_after: int | None = None) -> str:
        """Reads a stream; the version of HTTP it came in."""
        call = self._client.post(self._base_url + STREAM).header("content-type", "application/json").body_bytes(BODY)
        async with call.streamed_read_buffer_limit(0).build_streamed() as answer:
            assert answer.status == 200
            while (chunk := await answer.body_reader.read_chunk()) is not None:
                into.append(chunk.to_bytes())
                if len(into) == leave_after:
                    break
            return answer.version


def client(*, is_tls: bool, is_multiplexed: bool) -> Client:
    builder = ClientBuilder().no_proxy()
    if is_tls:
        return builder.add_root_certificate_pem(certificate().ca_file.read_bytes()).http2(True).build()
    return (builder.http2_prior_knowledge() if is_multiplexed else builder).build()


@pytest.fixture(params=VERSIONS, scope="module")
def served(request: pytest.FixtureRequest) -> Iterator[tuple[str, bool, bool, str]]:
    is_http2, is_tls, version = request.param
    with start_emulator(chunks=CHUNKS, http2=is_http2, tls=is_tls) as base_url:
        yield base_url, is_http2, is_tls, version


@pytest_asyncio.fixture
async def caller(served: tuple[str, bool, bool, str]) -> AsyncIterator[Caller]:
    base_url, is_http2, is_tls, _ = served
    async with client(is_tls=is_tls, is_multiplexed=is_http2) as plain:
        yield Caller(base_url, plain)


async def test_stream_comes_whole_in_the_version_that_was_asked_for(
    caller: Caller, served: tuple[str, bool, bool, str]
) -> None:
    got: list[bytes] = []
    assert await caller.stream(got) == served[3]
    assert b"".join(got).count(b"data: ") == CHUNKS


@pytest.mark.parametrize("fault", [{"kind": "cut", "at_chunk": 3}, {"kind": "reset"}], ids=["cut", "reset"])
async def test_broken_connection_is_an_error_and_the_next_call_is_answered(
    caller: Caller, fault: dict[str, Any]
) -> None:
    await caller.script(fault)
    got: list[bytes] = []
    with pytest.raises(PyreqwestError):
        await caller.stream(got)
    assert b"".join(got).count(b"data: ") == (3 if fault["kind"] == "cut" else 0)
    assert await caller.stream(got)


async def test_reader_that_leaves_is_noticed_while_the_stream_is_silent(caller: Caller) -> None:
    await caller.script({"kind": "stall_gap", "at_chunk": 2, "delay_ms": 30_000})
    before = (await caller.state())["streams_left"]
    await caller.stream([], leave_after=1)
    async with asyncio.timeout(3):
        while (await caller.state())["streams_left"] == before:  # noqa: ASYNC110  # watched from outside
            await asyncio.sleep(0.005)


async def test_cut_of_one_stream_spares_its_neighbours_and_a_reset_takes_them_along() -> None:
    with start_emulator(chunks=CHUNKS, http2=True, chunk_gap_ms=20) as base_url:
        async with client(is_tls=False, is_multiplexed=True) as plain, asyncio.TaskGroup() as group:
            caller = Caller(base_url, plain)
            spared: list[bytes] = []
            beside = group.create_task(caller.stream(spared))
            await _until_begun(spared)
            await caller.script({"kind": "cut", "at_chunk": 1})
            with pytest.raises(PyreqwestError):
                await caller.stream([])
            await beside
            assert b"".join(spared).count(b"data: ") == CHUNKS
            taken: list[bytes] = []
            beside = group.create_task(_broken(caller, taken))
            await _until_begun(taken)
            await caller.script({"kind": "reset"})
            with pytest.raises(PyreqwestError):
                await caller.stream([])


@pytest.mark.parametrize("arguments", [["--http2", "--tls"], ["--tls"]])
def test_made_certificate_is_trusted_by_who_trusts_the_authority_that_was_told(arguments: list[str]) -> None:
    with running(arguments) as process:
        assert process.stdout is not None
        base_url = process.stdout.readline().strip()
        authority = Path(process.stdout.readline().strip().removeprefix("authority "))
        builder = ClientBuilder().no_proxy().http2(True).add_root_certificate_pem(authority.read_bytes())
        assert asyncio.run(_reached(base_url, builder))
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0
        assert not authority.exists()


@pytest.mark.parametrize("files", [("here.pem", ""), ("", "here.key"), ("absent.pem", "absent.key")])
def test_certificate_without_key_and_absent_files_are_refused(files: tuple[str, str]) -> None:
    with pytest.raises(ConfigError):
        run(EmulatorSettings(port=0, tls_cert=files[0], tls_key=files[1]))


async def _reached(base_url: str, builder: ClientBuilder) -> str:
    async with builder.build() as plain:
        return await Caller(base_url, plain).stream([])


async def _until_begun(got: list[bytes]) -> None:
    async with asyncio.timeout(10):
        while not got:  # noqa: ASYNC110  # the reader tells nobody
            await asyncio.sleep(0.005)


async def _broken(caller: Caller, got: list[bytes]) -> None:
    with pytest.raises(PyreqwestError):
        await caller.stream(got)


def running(arguments: list[str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "ngx_agents.vertex.emulator", "--port", "0", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
