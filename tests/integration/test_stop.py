"""Stopping the real server: within the time it was given, and at once when told twice."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import aiohttp
from tests.emulator_process import start_emulator
from tests.server_process import ServerProcess

QUESTION = "Dame un consejo breve de entrenamiento"


async def _stopped_after_s(tmp_path: Path, signals: int, drain_s: str) -> float:
    with (
        start_emulator(ttft_ms=60_000) as model_url,
        ServerProcess(
            tmp_path,
            NGX_VERTEX_BASE_URL=model_url,
            NGX_SERVER_LOG_LEVEL="error",
            NGX_SERVER_DRAIN_S=drain_s,
        ) as server,
    ):
        async with aiohttp.ClientSession() as session:
            async with session.post(f"{server.base_url}/v1/conversations", json={}) as answer:
                conversation_id = (await answer.json())["id"]
            url = f"{server.base_url}/v1/conversations/{conversation_id}/turns"
            headers = {"Accept": "text/event-stream"}
            async with session.post(url, json={"text": QUESTION}, headers=headers) as answer:
                assert b"turn.accepted" in await answer.content.readuntil(b"\n\n")
                began_s = time.monotonic()
                for _ in range(signals - 1):
                    server.signal(signal.SIGINT)
                    time.sleep(0.2)  # noqa: ASYNC251 - two signals at once are one
                server.end_with(signal.SIGINT)
                return time.monotonic() - began_s


async def test_a_stop_with_an_open_stream_takes_no_longer_than_it_was_given(tmp_path: Path) -> None:
    assert await _stopped_after_s(tmp_path, 1, "1") < 1 + 2 + 3


async def test_a_second_interrupt_does_not_wait(tmp_path: Path) -> None:
    assert await _stopped_after_s(tmp_path, 2, "30") < 5
