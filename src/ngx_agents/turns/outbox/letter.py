"""What an entry of the outbox becomes: the requests that are made of it, and the sealed record of its webhook."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from ngx_agents.errors import NgxError
from ngx_agents.state.push_commands import DuePush

NONCE_BYTES = 12
_INFO = b"ngx outbox"


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """One POST. `headers` are added to those that every letter has."""

    content: bytes
    content_type: str = "application/json"
    headers: dict[str, str] = {}


Render = Callable[[DuePush], Awaitable[Sequence[Letter]]]
"""The letters of an entry in order, the same ones whenever it is asked. Raises NgxError when there can be none."""


class Sealer:
    """Keeps the secrets of webhooks unreadable in the journal: AES-GCM, the first key seals, any opens."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = [hashlib.sha256(_INFO + key).digest() for key in keys]

    def seal(self, plain: bytes) -> bytes:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        nonce = os.urandom(NONCE_BYTES)
        return nonce + AESGCM(self._keys[0]).encrypt(nonce, plain, _INFO)

    def open(self, sealed: bytes) -> bytes:
        """Raises NgxError when no key in force sealed it."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        for key in self._keys:
            try:
                return AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], _INFO)
            except (InvalidTag, ValueError):
                continue
        raise NgxError("the webhook's secrets were sealed with a key that is not in force any more")


def event_id(due: DuePush, step: int) -> str:
    """The same for every attempt to send the same letter, and no other's."""
    name = f"{due.subject}/{due.config.id}/{due.number}/{step}"
    return "evt_" + base64.b32encode(hashlib.sha256(name.encode()).digest()[:20]).decode().lower()
