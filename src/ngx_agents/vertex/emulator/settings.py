"""How the emulator behaves. Every number that shapes an answer or a delay; the seed decides the rest."""

from __future__ import annotations

import msgspec


class EmulatorSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`ttft_ms`: time to the first byte of any answer; `chunk_gap_ms`: time between pieces of a stream.

    `jitter` in [0, 1] spreads both by that share up and down, drawn from `seed`. `port` 0 takes a free one.
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
    require_auth: bool = False
    token_lifetime_s: int = 3600
    http2: bool = False
    tls: bool = False
    tls_cert: str = ""
    tls_key: str = ""
