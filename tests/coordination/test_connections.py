from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest
import trustme
from redis.asyncio import Redis

from ngx_agents.coordination import commands as c
from ngx_agents.coordination.connections import dedicated
from ngx_agents.errors import ConfigError, SharedUnavailable
from tests.coordination.members import member, members
from tests.ports import free_port
from tests.valkey_process import valkey


async def test_a_dedicated_client_may_block_longer_than_commands_may_take() -> None:
    with valkey() as server:
        client = await dedicated(f"redis://127.0.0.1:{server.port}")
        try:
            assert await client.xread({"stream": "$"}, block=80) in (None, [], {})
            async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
                popped = tasks.create_task(client.blpop(["list"], timeout=0))
                await asyncio.sleep(0.02)
                await client.rpush("list", b"\xff")
            assert list(popped.result()) == [b"list", b"\xff"]
            assert isinstance(client, Redis)
        finally:
            await client.aclose()


async def test_nobody_there_is_unavailable() -> None:
    for scheme in ("redis", "redis+cluster"):
        with pytest.raises(SharedUnavailable):
            await dedicated(f"{scheme}://127.0.0.1:{free_port()}")
    with pytest.raises(ConfigError):
        await dedicated("redis://")


async def test_a_host_that_cannot_exist_is_unavailable() -> None:
    async with members(f"redis://{'x' * 70}..example", 1) as [shared]:
        with pytest.raises(SharedUnavailable):
            await shared.ask(c.Get("k"))


async def test_tls_is_spoken_and_the_certificate_checked(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    other = trustme.CA()
    other.cert_pem.write_to_path(str(tmp_path / "other.pem"))
    with valkey() as server:

        async def terminate(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            plain_reader, plain_writer = await asyncio.open_connection("127.0.0.1", server.port)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(copy(reader, plain_writer))
                tasks.create_task(copy(plain_reader, writer))

        async with await asyncio.start_server(terminate, "localhost", 0, ssl=context) as proxy:
            url = f"rediss://localhost:{proxy.sockets[0].getsockname()[1]}"
            async with members(f"{url}?ca_file={tmp_path}/ca.pem", 1) as [shared]:
                await shared.ask(c.Put("k", b"v" * 50_000, 60))
                assert await shared.ask(c.Get("k")) == b"v" * 50_000
            client = await dedicated(f"{url}?ca_file={tmp_path}/ca.pem")
            assert await client.exists("ngx:k") == 1
            await client.aclose()
            async with members(f"{url}?ca_file={tmp_path}/other.pem", 1) as [shared]:
                with pytest.raises(SharedUnavailable):
                    await shared.ask(c.Get("k"))
            missing = member(f"{url}?ca_file={tmp_path}/missing.pem")
            with pytest.raises(ConfigError):
                await missing.open()
            await missing.close()


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(2**16):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    writer.close()
