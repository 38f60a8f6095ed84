"""How the emulator behaves. Every number that shapes an answer or a delay; the seed decides the rest."""

from __future__ import annotations

import msgspec

from ngx_agents.vertex.emulator.pools import PoolRule


class EmulatorSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`ttft_ms`: time to the first byte of any answer; `chunk_gap_ms`: time between pieces of a stream.

    `jitter` in [0, 1] spreads both by that share up and down, `sigma` > 0 makes both lognormal; drawn from `seed`.
    `seats` bounds the streams at full speed, more share them; 0 is no bound.
    `requests_per_s`, `concurrent` and `tokens_per_min` bound one shared pool, 0 is no bound. `body_limit_bytes` and
    `cache_min_tokens` are the service's. `port` 0 takes a free one.
    `require_auth` answers 401 unless the call bears an API key or a token issued here and not revoked.
    `http2` speaks HTTP/2 (prior knowledge, or ALPN under TLS) beside HTTP/1.1. TLS is on with `tls`, which makes a
    certificate, or with the PEM files `tls_cert` and `tls_key`.
    """

    host: str = "127.0.0.1"
    port: int = 8089
    ttft_ms: float = 0.0
    chunks: int = 50
    chunk_gap_ms: float = 0.0
    jitter: float = 0.0
    seed: int = 1
    sigma: float = 0.0
    seats: int = 0
    requests_per_s: float = 0.0
    concurrent: int = 0
    tokens_per_min: float = 0.0
    body_limit_bytes: int = 20 * 1024 * 1024
    cache_min_tokens: int = 4096
    require_auth: bool = False
    token_lifetime_s: int = 3600
    http2: bool = False
    tls: bool = False
    tls_cert: str = ""
    tls_key: str = ""

    def pools(self) -> list[PoolRule]:
        """The pool that the bounds make, if any."""
        if not (self.requests_per_s or self.concurrent or self.tokens_per_min):
            return []
        rule = PoolRule(
            requests_per_s=self.requests_per_s or None,
            concurrent=self.concurrent or None,
            tokens_per_min=self.tokens_per_min or None,
        )
        return [rule]
