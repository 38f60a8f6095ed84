"""Whole redis-py clients from a URL: for those whose reads block.

redis-py retries nothing here: who asks knows whether it may be repeated. Answers are bytes, the protocol is RESP2.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    NoPermissionError,
    RedisClusterException,
    RedisError,
)
from typing_extensions import override

from ngx_agents.coordination.address import Address, read_address
from ngx_agents.coordination.failures import CredentialsRefused, unreachable

Client: TypeAlias = "Redis | RedisCluster"
CONNECT_TIMEOUT_S = 1.0
SENTINEL_TIMEOUT_S = 0.3


class MasterClient(Redis):
    """A client of the master that the Sentinels name; closing it closes its connections to them too."""

    @override
    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        await super().aclose(close_connection_pool)
        for sentinel in self.connection_pool.sentinel_manager.sentinels:  # type: ignore[attr-defined]  # its own pool
            await sentinel.aclose()


async def dedicated(url: str, *, max_connections: int = 4) -> Client:
    """A connected client that the caller closes (`aclose()`), for reads that block: they have no time limit of ours.

    With Sentinel it follows the master. Raises ConfigError (also when credentials are refused), SharedUnavailable.
    """
    address = read_address(url)
    client = _client(address, max_connections)
    try:
        if isinstance(client, RedisCluster):
            client = await client.initialize()
        else:
            await client.ping()
    except (RedisError, RedisClusterException, OSError) as error:
        await client.aclose()
        raise unreachable(CredentialsRefused() if _is_refusal(error) else error, address) from error
    except BaseException:
        await client.aclose()
        raise
    return client


def _master_client(address: Address, max_connections: int) -> MasterClient:
    limits = {"socket_timeout": SENTINEL_TIMEOUT_S, "socket_connect_timeout": SENTINEL_TIMEOUT_S, "protocol": 2}
    own = {"username": address.sentinel_user, "password": address.sentinel_password, "retry": _no_retry()}
    # redis-py does not type this class
    sentinel = Sentinel(list(address.hosts), sentinel_kwargs={**own, **limits, **_ssl(address)})  # type: ignore[no-untyped-call]
    options = {**_options(address), **_ssl(address), "max_connections": max_connections}
    made: MasterClient = sentinel.master_for(address.service, redis_class=MasterClient, **options)
    return made


def _client(address: Address, max_connections: int) -> Client:
    if address.kind == "sentinel":
        return _master_client(address, max_connections)
    options = {**_options(address), **_ssl(address), "max_connections": max_connections}
    if address.kind == "cluster":
        nodes = [ClusterNode(host, port) for host, port in address.hosts]
        return RedisCluster(startup_nodes=nodes, **options)
    [(host, port)] = address.hosts
    return Redis(host=host, port=port, **options)


def _options(address: Address) -> dict[str, Any]:
    return {
        "username": address.user, "password": address.password, "db": address.database, "protocol": 2,
        "socket_connect_timeout": CONNECT_TIMEOUT_S, "socket_timeout": None, "retry": _no_retry(),
    }  # fmt: skip


def _no_retry() -> Retry:
    return Retry(NoBackoff(), 0)


def _is_refusal(error: BaseException | None) -> bool:
    """Whether credentials were refused, here or in what the error was made from."""
    while error is not None:
        if isinstance(error, AuthenticationError | AuthorizationError | NoPermissionError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _ssl(address: Address) -> dict[str, Any]:
    if not address.is_tls:
        return {}
    return {
        "ssl": True, "ssl_ca_certs": address.ca_file, "ssl_certfile": address.cert_file, "ssl_keyfile": address.key_file
    }  # fmt: skip
