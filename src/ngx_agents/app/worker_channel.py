"""What the supervisor and a worker say to each other, over a socket pair: framed, typed, each frame bounded.

The supervisor speaks first (`Start`). The worker says `Ready` once, beats, and asks for what all workers have counted.
The end of the stream is news too: the worker has ended, or the supervisor.
"""

from __future__ import annotations

import asyncio

import msgspec

from ngx_agents.app.config_sections import Config
from ngx_agents.telemetry.snapshots import Snapshot

MAX_FRAME_BYTES = 16 * 1_048_576
HEAD_BYTES = 4


class Start(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """`config` is this worker's share; `address` where other instances reach it."""

    config: Config
    address: str | None


class Ready(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """It serves. `banner` is for people."""

    banner: str


class Beat(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The loop turns, `lag_s` late; `snapshot` of the metrics every few beats."""

    lag_s: float
    snapshot: Snapshot | None = None


class Counted(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Asks what all workers have counted, and says what this one has."""

    snapshot: Snapshot


class Exposition(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The answer to `Counted`: Prometheus's text."""

    text: bytes


FromSupervisor = Start | Exposition
FromWorker = Ready | Beat | Counted
from_supervisor: msgspec.msgpack.Decoder[FromSupervisor] = msgspec.msgpack.Decoder(FromSupervisor)
from_worker: msgspec.msgpack.Decoder[FromWorker] = msgspec.msgpack.Decoder(FromWorker)
_encode = msgspec.msgpack.Encoder().encode


async def tell(writer: asyncio.StreamWriter, message: FromSupervisor | FromWorker) -> None:
    """Raises ConnectionError, OSError when the other side is gone."""
    frame = _encode(message)
    writer.write(len(frame).to_bytes(HEAD_BYTES) + frame)
    await writer.drain()


async def told(reader: asyncio.StreamReader) -> bytes:
    """The next frame, undecoded. Raises EOFError at the end of the stream, ValueError for a frame out of bounds."""
    try:
        size_bytes = int.from_bytes(await reader.readexactly(HEAD_BYTES))
        if size_bytes > MAX_FRAME_BYTES:
            raise ValueError(f"a frame of {size_bytes} bytes")
        return await reader.readexactly(size_bytes)
    except ConnectionError as exc:
        raise EOFError from exc
