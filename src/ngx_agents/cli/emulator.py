"""`ngx emulator`: a Vertex AI to develop against, without an account."""

from __future__ import annotations

import argparse

from ngx_agents.cli.binding import explained_binding
from ngx_agents.vertex.emulator import EmulatorSettings
from ngx_agents.vertex.emulator import run as serve_emulator

DETAILS = """\
Speaks Vertex's REST (and an OpenAI-compatible surface) with made-up answers that the seed decides; the first
line on stdout is its address. Faults are switched on while it runs, by POST /_control.

examples:
  ngx emulator                                              on http://127.0.0.1:8089
  ngx emulator --ttft-ms 300 --chunk-gap-ms 20              as slow as a real model
  ngx emulator --http2 --tls                                as Vertex is reached: HTTP/2 over TLS
  NGX_VERTEX_BASE_URL=http://127.0.0.1:8089 ngx serve       a server that answers from it
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    known = EmulatorSettings()
    add = parser.add_argument
    add("--host", default=known.host, help="address to listen on (default: %(default)s)")
    add(
        "--port",
        type=int,
        default=known.port,
        help="port to listen on; 0 takes any free one (default: %(default)s)",
    )
    add("--ttft-ms", type=float, default=known.ttft_ms, help="time to the first byte (default: %(default)s)")
    add("--chunks", type=int, default=known.chunks, help="pieces of a streamed answer (default: %(default)s)")
    add(
        "--chunk-gap-ms",
        type=float,
        default=known.chunk_gap_ms,
        help="time between them (default: %(default)s)",
    )
    add(
        "--jitter",
        type=float,
        default=known.jitter,
        help="share, 0 to 1, by which both times vary (default: %(default)s)",
    )
    add(
        "--seed",
        type=int,
        default=known.seed,
        help="the same seed gives the same answers (default: %(default)s)",
    )
    add(
        "--sigma",
        type=float,
        default=known.sigma,
        help="above 0: both times are lognormal with this sigma (default: %(default)s)",
    )
    add(
        "--seats",
        type=int,
        default=known.seats,
        help="above 0: so many streams go at full speed, more share them (default: no bound)",
    )
    _add_capacity(parser, known)
    add("--require-auth", action="store_true", help="refuse calls without a token or key")
    add("--http2", action="store_true", help="speak HTTP/2 too; needs the extra `emulator`")
    add("--tls", action="store_true", help="speak TLS with a certificate made at start; its authority is told")
    add("--tls-cert", default=known.tls_cert, metavar="FILE", help="speak TLS with this certificate (PEM)")
    add("--tls-key", default=known.tls_key, metavar="FILE", help="the certificate's key (PEM)")


def _add_capacity(parser: argparse.ArgumentParser, known: EmulatorSettings) -> None:
    add = parser.add_argument
    add("--requests-per-s", type=float, default=known.requests_per_s, help="capacity; 0 is no bound (the default)")
    add("--concurrent", type=int, default=known.concurrent, help="calls at once; 0 is no bound (the default)")
    add("--tokens-per-min", type=float, default=known.tokens_per_min, help="capacity; 0 is no bound (the default)")
    add(
        "--cache-min-tokens",
        type=int,
        default=known.cache_min_tokens,
        help="the least size of a cached content (default: %(default)s)",
    )
    add(
        "--body-limit-bytes",
        type=int,
        default=known.body_limit_bytes,
        help="larger requests are refused with 400 (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    settings = EmulatorSettings(
        host=args.host,
        port=args.port,
        ttft_ms=args.ttft_ms,
        chunks=args.chunks,
        chunk_gap_ms=args.chunk_gap_ms,
        jitter=args.jitter,
        seed=args.seed,
        sigma=args.sigma,
        seats=args.seats,
        requests_per_s=args.requests_per_s,
        concurrent=args.concurrent,
        tokens_per_min=args.tokens_per_min,
        cache_min_tokens=args.cache_min_tokens,
        body_limit_bytes=args.body_limit_bytes,
        require_auth=args.require_auth,
        http2=args.http2,
        tls=args.tls,
        tls_cert=args.tls_cert,
        tls_key=args.tls_key,
    )
    with explained_binding(args.host, args.port):
        serve_emulator(settings)
    return 0
