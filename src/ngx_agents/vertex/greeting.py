"""What a peer speaks, asked on a connection of its own before the first call.

The client libraries learn it too late or not at all: over TLS the version of HTTP is known only after the handshake, so
calls that start at once on a cold client each begin a connection; and none tells the peer's limit of streams, above
which calls wait silently. One handshake and, in HTTP/2, the frame of SETTINGS that every server sends first, tell
both. Nothing secret is sent, so the certificate is not checked here: the calls themselves check it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import struct
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import msgspec

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))  # and an empty frame of SETTINGS
SETTINGS = 4
ACKNOWLEDGED = 1
MAX_CONCURRENT_STREAMS = 3
MAX_FRAMES = 8  # a server that says more than that before its SETTINGS is none
SETTINGS_WAIT_S = 1.0
_frame = struct.Struct(">HBBBL")  # length (high and low part), type, flags, stream
_setting = struct.Struct(">HL")


class Greeting(msgspec.Struct, frozen=True):
    """`max_streams` is the peer's limit of streams on one connection; None when it sets none."""

    is_multiplexed: bool
    max_streams: int | None = None


async def greet(origin: str, *, is_multiplexed: bool) -> Greeting:
    """Asks `origin`; over TLS it chooses the version, otherwise `is_multiplexed` says it.

    Raises OSError (ssl.SSLError among them) when it cannot be reached. The caller bounds the time.
    """
    url = urlsplit(origin)
    context = _context() if url.scheme == "https" else None
    port = url.port or (443 if context else 80)
    async with _connection(url.hostname or "", port, context) as (reader, writer):
        if context is not None:
            is_multiplexed = writer.get_extra_info("ssl_object").selected_alpn_protocol() == "h2"
        if not is_multiplexed:
            return Greeting(is_multiplexed=False)
        writer.write(PREFACE)
        try:
            async with asyncio.timeout(SETTINGS_WAIT_S):
                return Greeting(is_multiplexed=True, max_streams=await _announced(reader))
        except (TimeoutError, asyncio.IncompleteReadError):
            return Greeting(is_multiplexed=True)


async def _announced(reader: asyncio.StreamReader) -> int | None:
    for _ in range(MAX_FRAMES):
        high, low, kind, flags, _ = _frame.unpack(await reader.readexactly(_frame.size))
        payload = await reader.readexactly(high << 8 | low)
        if kind == SETTINGS and not flags & ACKNOWLEDGED:
            settings = dict(_setting.iter_unpack(payload[: len(payload) // _setting.size * _setting.size]))
            return settings.get(MAX_CONCURRENT_STREAMS)
    return None


@contextlib.asynccontextmanager
async def _connection(
    host: str, port: int, context: ssl.SSLContext | None
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(host, port, ssl=context)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context
