"""Which addresses may be posted to. The bad ones first."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from ngx_agents.errors import InvalidRequest, Unavailable
from ngx_agents.turns.outbox import guard as guard_of
from ngx_agents.turns.outbox.guard import Guard, is_public

INSIDE = [
    "0.0.0.0", "10.1.2.3", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.9.9.9", "169.254.169.254", "172.16.0.1",
    "192.0.0.1", "192.0.2.1", "192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "240.0.0.1",
    "255.255.255.255", "::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:100.64.0.1",
    "64:ff9b::a00:1", "64:ff9b::7f00:1", "2002:7f00:1::", "2002:a00:1::1", "2001:0:0:0:0:0:f5ff:fffe", "fc00::1",
    "fd12::1", "fe80::1", "fec0::1", "ff02::1", "2001:db8::1", "100::1",
]  # fmt: skip


@pytest.mark.parametrize("address", INSIDE)
def test_what_is_not_public_unicast_is_refused(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))
    host = f"[{address}]" if ":" in address else address
    with pytest.raises(InvalidRequest):
        Guard().parsed(f"http://{host}/hook")


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "::ffff:1.1.1.1"])
def test_public_addresses_pass(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "url",
    [
        "", "hook", "/hook", "ftp://example.com/", "file:///etc/passwd", "gopher://example.com/", "http://", "http:///a",
        "http://user:secret@example.com/", "http://user@example.com/", "javascript:alert(1)", "http://[::1", "//a.com/",
        "http://example.com:99999/", "http://" + "a" * 3000 + ".com/", "http://2130706433/", "http://0x7f.1/",
        "http://127.1/", "http://[fe80::1%25eth0]/", "http://a.com/\n", "http://a.com/\0", "http://a.com/ b",
    ],
)  # fmt: skip
async def test_malformed_and_disguised_urls_are_refused(url: str) -> None:
    with pytest.raises(InvalidRequest):
        await Guard().check(url)


@pytest.mark.parametrize(
    "host",
    [
        "2130706433", "0x7f.1", "0x7F000001", "127.1", "0177.0.0.1", "127.0.0.1.", "1.1.1.1.", "1.1.1.1..", "1.1", "0x",
        "example.0x7f", "example.1", "１２７.1", "127。1",
    ],
)  # fmt: skip
def test_numbers_that_are_no_address_in_its_usual_form_are_refused_without_a_look_up(host: str) -> None:
    with pytest.raises(InvalidRequest):
        Guard().parsed(f"http://{host}/hook")


@pytest.mark.parametrize("host", ["example.com.", "1.example.com", "cafe.be", "0x7f.example", "1.1.1.1", "3com.com"])
def test_names_with_numbers_pass(host: str) -> None:
    assert Guard().parsed(f"http://{host}/hook").host == host


class SlowNames:
    """Names below `slow.example` take until `go_on` is set; `begun` are those whose look-up has a thread."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.begun: list[str] = []


@pytest.fixture
def slow_names(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowNames]:
    real, made = socket.getaddrinfo, SlowNames()

    def look(host: str, *rest: Any, **more: Any) -> Any:
        if host.endswith("slow.example"):
            made.begun.append(host)
            made.go_on.wait(20)
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return real(host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", look)
    monkeypatch.setattr(guard_of, "RESOLVE_S", 0.3)
    yield made
    made.go_on.set()


async def test_a_name_that_is_not_found_in_time_is_refused_for_now(slow_names: SlowNames) -> None:
    with pytest.raises(Unavailable):
        await Guard().check("https://slow.example/")
    slow_names.go_on.set()
    await Guard().check("https://slow.example/")


async def test_slow_names_keep_no_thread_of_others_and_are_bounded(slow_names: SlowNames) -> None:
    guard = Guard()
    asked = [asyncio.create_task(guard.check(f"https://a{number}.slow.example/")) for number in range(200)]
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await asyncio.to_thread(lambda: None)
        refused = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(error, Unavailable) for error in refused)
    assert len(slow_names.begun) == guard_of.LOOK_UPS


async def test_a_name_that_leads_inside_is_refused_unless_it_is_allowed() -> None:
    with pytest.raises(InvalidRequest):
        await Guard().check("http://localhost:9/hook")
    await Guard(["localhost"]).check("http://LocalHost:9/hook")
    await Guard(["127.0.0.0/8", "::1"]).check("http://localhost:9/hook")
    assert Guard(["127.0.0.0/8"]).parsed("http://127.0.0.1:9/").port == 9
    with pytest.raises(InvalidRequest):
        Guard(["127.0.0.0/8"]).parsed("http://10.0.0.1/")


def test_https_alone_can_be_asked_for() -> None:
    assert Guard(https_only=True).parsed("https://example.com/").scheme == "https"
    with pytest.raises(InvalidRequest):
        Guard(https_only=True).parsed("http://example.com/")


def test_a_network_that_is_none_is_told() -> None:
    with pytest.raises(ValueError, match=re.escape("10.0.0.0/99")):
        Guard(["10.0.0.0/99"])
