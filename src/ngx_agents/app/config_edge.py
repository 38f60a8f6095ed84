"""The settings of the outer edge: what a connection may cost, and whom a browser or a proxy may speak for."""

from __future__ import annotations

from typing import Annotated

from ngx_agents.app.setting import Section, setting


class EdgeConfig(Section, frozen=True, kw_only=True):
    """What connections may cost, and who is believed."""

    max_connections: Annotated[
        int, setting("Most connections at once, of all workers together.", bounds=(8, 1_000_000))
    ] = 10_000
    max_connections_per_address: Annotated[
        int,
        setting(
            "Most connections of one address at once, for each worker; trusted proxies and this machine aside.",
            bounds=(1, 1_000_000),
        ),
    ] = 2_500
    max_streams_per_user: Annotated[
        int,
        setting("Event streams of turns that one user may read at once, for each worker.", bounds=(1, 100_000)),
    ] = 1_000
    max_header_bytes: Annotated[int, setting("Largest request line with headers.", bounds=(4_096, 1_048_576))] = 32_768
    header_timeout_s: Annotated[
        float, setting("How long request line and headers may take to come.", bounds=(0.1, 300))
    ] = 10.0
    min_body_bytes_per_s: Annotated[
        int,
        setting(
            "A body that comes more slowly is given up, 10 s after its begin at the earliest.", bounds=(0, 1_048_576)
        ),
    ] = 500
    stalled_timeout_s: Annotated[
        float, setting("A client that takes nothing of an answer for so long is cut off.", bounds=(0.1, 3_600))
    ] = 30.0
    cors_origins: Annotated[
        tuple[str, ...],
        setting("Origins (https://app.example) whose pages may call from a browser; `*` for all, with authentication."),
    ] = ()
    trusted_proxies: Annotated[
        tuple[str, ...],
        setting("Addresses or networks (10.0.0.0/8) whose X-Forwarded-For and X-Forwarded-Proto are believed."),
    ] = ()
