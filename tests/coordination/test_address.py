from __future__ import annotations

import pytest

from ngx_agents.coordination.address import Address, read_address
from ngx_agents.errors import ConfigError

GOOD = {
    "redis://localhost": Address(kind="standalone", hosts=(("localhost", 6379),)),
    "redis://:p%40ss@[::1]:7000/3": Address(
        kind="standalone", hosts=(("::1", 7000),), password="p@ss", database=3
    ),
    "rediss://app:p@cache.internal?namespace=blue&ca_file=/ca.pem": Address(
        kind="standalone", hosts=(("cache.internal", 6379),), is_tls=True, user="app", password="p",
        namespace="blue", ca_file="/ca.pem",
    ),
    "redis+sentinel://:p@one,two:27000/main/2?sentinel_user=s&sentinel_password=q": Address(
        kind="sentinel", hosts=(("one", 26379), ("two", 27000)), service="main", database=2, password="p",
        sentinel_user="s", sentinel_password="q",
    ),
    "rediss+cluster://one:7000,two:7001": Address(
        kind="cluster", hosts=(("one", 7000), ("two", 7001)), is_tls=True
    ),
}  # fmt: skip

BAD = [
    "",
    "localhost:6379",
    "http://localhost",
    "redis+proxy://localhost",
    "redis://",
    "redis://:s3cret@",
    "redis://:s3cret@host:port",
    "redis://:s3cret@host:70000",
    "redis://[::1",
    "redis://one,two",
    "redis://host/name",
    "redis://host/-1",
    "redis+sentinel://one,two",
    "redis+sentinel://one,,two/main",
    "redis+cluster://one/1",
    "redis://:s3cret@host?timeout=3",
    "redis://:s3cret@host?namespace=",
    "redis://:s3cret@host?namespace={a}",
]


@pytest.mark.parametrize("url", GOOD)
def test_an_address_is_read(url: str) -> None:
    assert read_address(url) == GOOD[url]


@pytest.mark.parametrize("url", BAD)
def test_what_is_no_address_is_one_line_that_names_the_setting_and_no_secret(url: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read_address(url)
    told = str(refused.value)
    assert "NGX_REDIS_URL" in told
    assert "\n" not in told
    assert "s3cret" not in told


def test_an_address_shown_shows_no_password() -> None:
    shown = repr(read_address("redis+sentinel://:s3cret@one/main?sentinel_password=s3cret2"))
    assert "s3cret" not in shown
