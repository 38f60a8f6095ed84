"""Which addresses may be posted to: none that only reaches inside (server-side request forgery).

A URL is looked at when it is told to us, and its host again whenever a connection is made: the address that is
connected to is one that was looked at. What operators allow (networks and host names) is exempt.
Source: IANA special-purpose address registries; OWASP, "Server-Side Request Forgery Prevention".
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeAlias

import yarl

from ngx_agents.errors import InvalidRequest, Unavailable

MAX_URL_CHARS = 2048
RESOLVE_S = 5.0
LOOK_UPS = 16
"""At once; the system's resolver cannot be stopped, so that a slow name keeps its thread after its time is up."""
MAX_WAITING = 64
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.IGNORECASE)
Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE = ipaddress.IPv6Network("::/96")


class Guard:
    """`allow` has networks such as `10.0.0.0/8` and host names such as `hooks.internal`."""

    def __init__(self, allow: Sequence[str] = (), *, https_only: bool = False) -> None:
        """Raises ValueError for a network that is none."""
        self._schemes = ("https",) if https_only else ("http", "https")
        self._networks = [ipaddress.ip_network(entry) for entry in allow if _is_network(entry)]
        self._threads = ThreadPoolExecutor(LOOK_UPS, thread_name_prefix="guard")
        self._looking = 0
        self._names = frozenset(entry.lower() for entry in allow if not _is_network(entry))

    def parsed(self, url: str, *, field: str = "url") -> yarl.URL:
        """The URL, its form and a literal address checked. Raises InvalidRequest."""
        try:
            is_plain = len(url) <= MAX_URL_CHARS and not any(char <= " " for char in url)
            found = yarl.URL(url) if is_plain else yarl.URL()
            is_well_formed = bool(found.host) and found.scheme in self._schemes and found.port is not None
        except ValueError:
            is_well_formed, found = False, yarl.URL()
        if not is_well_formed or found.host is None:
            raise InvalidRequest(f"must be an absolute {' or '.join(self._schemes)} URL", field=field)
        if found.user is not None or found.password is not None:
            raise InvalidRequest("must not hold credentials", field=field)
        literal = _address_of(found.host)
        if literal is None and _is_numeric(found.host):
            raise InvalidRequest("must name a host, or an address in its usual form", field=field)
        if literal is not None and not self.is_fit(literal):
            raise InvalidRequest("must not lead to an address that is not public", field=field)
        return found

    async def check(self, url: str, *, field: str = "url") -> None:
        """Also looks its host up. Raises InvalidRequest for what may not be posted to, Unavailable when the look-up
        takes too long; a host unknown now may pass."""
        found = self.parsed(url, field=field)
        assert found.host is not None
        assert found.port is not None
        try:
            addresses = await self.addresses(found.host, found.port)
        except TimeoutError:
            raise Unavailable("the address's host cannot be looked up now", retry_after_s=RESOLVE_S) from None
        except OSError:
            return
        if not addresses:
            raise InvalidRequest("must not lead to an address that is not public", field=field)

    async def addresses(self, host: str, port: int, family: int = socket.AF_UNSPEC) -> list[tuple[int, str]]:
        """(family, address) of those of the host that may be connected to. Raises OSError when it cannot be found
        (TimeoutError: not in time)."""
        if self._looking >= MAX_WAITING:
            raise TimeoutError("too many hosts are being looked up")
        look = partial(socket.getaddrinfo, host, port, family=family, type=socket.SOCK_STREAM)
        self._looking += 1
        try:
            async with asyncio.timeout(RESOLVE_S):
                found = await asyncio.get_running_loop().run_in_executor(self._threads, look)
        finally:
            self._looking -= 1
        is_named = host.rstrip(".").lower() in self._names
        return [
            (int(kind), str(place[0]))
            for kind, _, _, _, place in found
            if is_named or ((address := _address_of(str(place[0]))) is not None and self.is_fit(address))
        ]

    def is_fit(self, address: Address) -> bool:
        return is_public(address) or any(_unwrapped(address) in network for network in self._networks)


def is_public(address: Address) -> bool:
    """Whether it is public unicast, also as what it carries inside (IPv4-mapped, NAT64, 6to4, Teredo)."""
    address = _unwrapped(address)
    if isinstance(address, ipaddress.IPv6Address) and address.is_site_local:
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _unwrapped(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for, else itself."""
    if not isinstance(address, ipaddress.IPv6Address):
        return address
    if address in _NAT64 or (address in _COMPATIBLE and int(address) > 1):
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None) or address


def _address_of(host: str) -> Address | None:
    """None for a name. A zone (`%eth0`) is cut off: what has one is link-local."""
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None


def _is_numeric(host: str) -> bool:
    """Whether resolvers may read it as an IPv4 address, in whatever notation (WHATWG URL: "ends in a number")."""
    return _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]) is not None


def _is_network(entry: str) -> bool:
    return "/" in entry or _address_of(entry) is not None
