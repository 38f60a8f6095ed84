"""How far a message has come through servers and what is left for it, as one server tells the next.

It travels beside a message of the open protocol, in its metadata under `URI` and as a header, since who does not know
it passes on the one or the other, or drops both. It can only take away: depth grows, calls and time get fewer, so a lie
costs its teller alone. An HMAC with the house's key shows that what comes back is as it was told; what is signed with
a key unknown here is another house's word and taken as it stands. Source: RFC 8586 (the same for proxies), RFC 2104.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence

import msgspec
from typing_extensions import override

from ngx_agents.errors import InvalidRequest

URI = "https://github.com/ngx-agents/ngx-agents/extensions/trail/v1"
HEADER = "NGX-Trail"
CONTEXT = b"ngx trail 1"
MAC_CHARS = 32
_FORM = re.compile(
    r"depth=([0-9]{1,4}), calls=([0-9]{1,9}), ms=([0-9]{1,9})(?:, key=([0-9a-f]{8}), mac=([0-9a-f]{32}))?"
)


class Trail(msgspec.Struct, frozen=True, kw_only=True):
    """`depth` is how many calls stand above the message; `calls_left` how many may be made below it; `remaining_s` is
    the time for all of it, from when it was told."""

    depth: int
    calls_left: int
    remaining_s: float

    @override
    def __str__(self) -> str:
        return f"depth={self.depth}, calls={self.calls_left}, ms={max(0, int(self.remaining_s * 1000))}"


class Trails:
    """Tells and hears with the `keys` of the house; the first signs. Without keys nothing is signed or checked."""

    def __init__(self, keys: Sequence[bytes] = ()) -> None:
        derived = [hmac.digest(key, CONTEXT, "sha256") for key in keys]
        self._keys = {hashlib.sha256(key).hexdigest()[:8]: key for key in derived}

    def told(self, trail: Trail) -> str:
        """As it is sent."""
        for name, key in self._keys.items():
            return f"{trail}, key={name}, mac={_mac(key, str(trail))}"
        return str(trail)

    def heard(self, texts: Iterable[str]) -> Trail | None:
        """The furthest and scarcest of what was told in several places; None where nothing was.

        Raises InvalidRequest for what cannot be read, or was signed here and altered since.
        """
        found = [self._checked(text) for text in texts]
        if not found:
            return None
        return Trail(
            depth=max(one.depth for one in found),
            calls_left=min(one.calls_left for one in found),
            remaining_s=min(one.remaining_s for one in found),
        )

    def _checked(self, text: str) -> Trail:
        trail, name, mac = _parts(text)
        key = self._keys.get(name)
        if key is not None and not hmac.compare_digest(_mac(key, str(trail)), mac):
            raise InvalidRequest("the trail was altered", field=HEADER)
        return trail


def read_trail(text: str) -> Trail:
    """As it was told, whoever signed it. Raises InvalidRequest."""
    return _parts(text)[0]


def _parts(text: str) -> tuple[Trail, str, str]:
    """The trail, the name of the key that signed it and the signature, empty when none did."""
    read = _FORM.fullmatch(text)
    if read is None:
        raise InvalidRequest("the trail cannot be read", field=HEADER)
    trail = Trail(depth=int(read[1]), calls_left=int(read[2]), remaining_s=int(read[3]) / 1000)
    return trail, read[4] or "", read[5] or ""


def _mac(key: bytes, text: str) -> str:
    return hmac.digest(key, text.encode(), "sha256").hex()[:MAC_CHARS]
