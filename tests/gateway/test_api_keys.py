"""The shape of API keys."""

from __future__ import annotations

import hashlib
import re

from ngx_agents.gateway.api_keys import key_digest, new_api_key


def test_a_key_is_long_url_safe_and_only_its_sha256_is_kept() -> None:
    secret, digest = new_api_key()
    assert re.fullmatch(r"ngx_[A-Za-z0-9_-]{43}", secret)
    assert digest == hashlib.sha256(secret.encode()).digest() == key_digest(secret)


def test_no_two_keys_are_alike() -> None:
    assert len({new_api_key()[0] for _ in range(100)}) == 100
