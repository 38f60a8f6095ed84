from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from ngx_agents.coordination import commands as c
from ngx_agents.coordination.connections import dedicated
from ngx_agents.errors import SharedUnavailable
from tests.coordination.members import members, until_it_works
from tests.coordination.shared_conformance import *  # noqa: F403
from tests.coordination.shared_conformance import Pair
from tests.valkey_process import SERVICE, ValkeyProcess, valkey_sentinels

FAILOVER_S = 15.0


def url_of(sentinels: list[ValkeyProcess]) -> str:
    return "redis+sentinel://" + ",".join(f"127.0.0.1:{each.port}" for each in sentinels) + f"/{SERVICE}"


# one of the tests kills the master and a Sentinel: the others must do before it and after it
@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[list[ValkeyProcess], list[ValkeyProcess]]]:
    with valkey_sentinels() as servers:
        yield servers


@pytest.fixture
async def pair(servers: tuple[list[ValkeyProcess], list[ValkeyProcess]]) -> AsyncIterator[Pair]:
    async with members(url_of(servers[1])) as (one, other):
        yield one, other


async def test_a_service_nobody_watches_is_unavailable(
    servers: tuple[list[ValkeyProcess], list[ValkeyProcess]],
) -> None:
    url = f"redis+sentinel://127.0.0.1:{servers[1][2].port}/other"
    async with members(url, 1) as [shared]:
        with pytest.raises(SharedUnavailable):
            await shared.ask(c.Get("k"))
    with pytest.raises(SharedUnavailable):
        await dedicated(url)


async def test_the_new_master_is_found_after_the_old_one_died_with_a_sentinel(
    servers: tuple[list[ValkeyProcess], list[ValkeyProcess]],
) -> None:
    masters, sentinels = servers
    async with members(url_of(sentinels)) as [one, other]:
        await one.ask(c.Put("k", b"before", 60))
        client = await dedicated(url_of(sentinels))
        try:
            sentinels[0].kill()
            masters[0].kill()
            with pytest.raises(SharedUnavailable):
                await one.ask(c.Get("k"))
            await until_it_works(lambda: one.ask(c.Put("k", b"after", 60)), within_s=FAILOVER_S)
            await until_it_works(lambda: other.ask(c.Put("k", b"after", 60)), within_s=FAILOVER_S)
            assert await other.ask(c.Get("k")) == b"after"

            async def ask_the_client() -> None:
                try:
                    assert await client.get("ngx:nothing") is None
                except RedisConnectionError as error:
                    raise SharedUnavailable("not yet") from error

            await until_it_works(ask_the_client, within_s=FAILOVER_S)
        finally:
            await client.aclose()


@pytest.mark.slow
async def test_a_master_that_was_demoted_is_left() -> None:
    with valkey_sentinels() as ([old, new], sentinels):
        async with members(url_of(sentinels), 1) as [shared]:
            await shared.ask(c.Put("k", b"before", 60))
            assert sentinels[0].say("SENTINEL", "FAILOVER", SERVICE).startswith(b"+OK")

            async def written_to_the_new_one() -> None:
                await shared.ask(c.Put("k", b"after", 60))
                if b"role:master" not in new.say("INFO", "replication"):
                    raise SharedUnavailable("not yet")

            await until_it_works(written_to_the_new_one, within_s=FAILOVER_S)
            await until_it_works(lambda: shared.ask(c.Put("last", b"word", 60)), within_s=FAILOVER_S)

            async def obeyed_by_the_old_one() -> None:
                if b"role:slave" not in old.say("INFO", "replication"):
                    raise SharedUnavailable("not yet")

            await until_it_works(obeyed_by_the_old_one, within_s=FAILOVER_S)
            assert await until_it_works(lambda: shared.ask(c.Put("last", b"word", 60)), within_s=FAILOVER_S) < 5
            assert new.say("EXISTS", "ngx:last") == b":1\r\n"
