"""API keys: `ngx_` and 43 URL-safe characters (256 bits). Only their SHA-256 is ever stored.

A digest without salt is enough: the secret is random and long, so there is nothing to guess.
"""

from __future__ import annotations

import hashlib
import secrets

PREFIX = "ngx_"


def new_api_key() -> tuple[str, bytes]:
    """A new secret, shown once, and the digest to store."""
    secret = PREFIX + secrets.token_urlsafe(32)
    return secret, key_digest(secret)


def key_digest(secret: str) -> bytes:
    """SHA-256 of the secret's UTF-8 bytes, 32 bytes."""
    return hashlib.sha256(secret.encode()).digest()
