"""Frames between the supervisor and a worker."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from ngx_agents.app.config import load_config
from ngx_agents.app.worker_channel import MAX_FRAME_BYTES, Start, from_supervisor, tell, told

Ends = tuple[tuple[asyncio.StreamReader, asyncio.StreamWriter], tuple[asyncio.StreamReader, asyncio.StreamWriter]]


@pytest.fixture
async def ends() -> AsyncIterator[Ends]:
    here, there = socket.socketpair()
    made = await asyncio.open_connection(sock=here), await asyncio.open_connection(sock=there)
    yield made
    for _, writer in made:
        writer.close()


async def test_the_configuration_arrives_as_it_was(ends: Ends) -> None:
    (_, writer), (reader, _) = ends
    config = load_config(environ={"NGX_VERTEX_FALLBACK_MODELS": "a,b", "NGX_DATA_DIR": "/tmp/x"}).config
    await tell(writer, Start(config=config, address="http://127.0.0.1:1"))
    assert from_supervisor.decode(await told(reader)) == Start(config=config, address="http://127.0.0.1:1")


async def test_the_end_of_the_other_side_is_the_end(ends: Ends) -> None:
    (_, writer), (reader, _) = ends
    writer.write(b"\0\0\0\5abc")
    writer.close()
    with pytest.raises(EOFError):
        await told(reader)


async def test_a_frame_out_of_bounds_is_not_read(ends: Ends) -> None:
    (_, writer), (reader, _) = ends
    writer.write((MAX_FRAME_BYTES + 1).to_bytes(4))
    with pytest.raises(ValueError, match="a frame of"):
        await told(reader)
