"""Whether the settings fit together: what a server must not be started with."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path

from ngx_agents.app.config_sections import Config
from ngx_agents.app.roles import role_troubles
from ngx_agents.app.setting import mask_password
from ngx_agents.turns.outbox.guard import Guard
from ngx_agents.vertex.ladder.residency import may_go

MIN_SECRET_BYTES = 32
_ORIGIN = re.compile(r"https?://[a-z0-9.-]+(:\d{1,5})?|https?://\[[0-9a-f:]+\](:\d{1,5})?")
SHARED_SCHEMES = (
    "redis://",
    "rediss://",
    "redis+sentinel://",
    "rediss+sentinel://",
    "redis+cluster://",
    "rediss+cluster://",
)


def troubles(config: Config) -> Iterator[str]:
    """One sentence for each thing that keeps a server from starting safely, naming the settings at fault."""
    yield from _auth_troubles(config)
    yield from journal_troubles(config)
    yield from _shared_troubles(config)
    yield from _foreign_troubles(config)
    yield from _worker_troubles(config)
    yield from role_troubles(config)
    yield from _outbox_troubles(config)
    yield from _admission_troubles(config)
    yield from _tls_troubles(config)
    yield from _edge_troubles(config)
    for location in (config.vertex.location, *config.vertex.fallback_locations):
        if not may_go(location, config.vertex.residency):
            yield f"[vertex] location {location} is outside of residency {config.vertex.residency}"
    if config.a2a.card_key_file and not config.a2a.public_url:
        yield "[a2a] card_key_file needs [a2a] public_url: else cards would be signed for whatever host a caller names"
    urls = {
        "[server] advertise": config.server.advertise,
        "[auth] jwks_url": config.auth.jwks_url,
        "[vertex] base_url": config.vertex.base_url,
        "[local] model_url": config.local.model_url,
        "[telemetry] otlp_endpoint": config.telemetry.otlp_endpoint,
        "[client] url": config.client.url,
        "[a2a] public_url": config.a2a.public_url,
    }
    for label, url in urls.items():
        if url is not None and not url.startswith(("http://", "https://")):
            yield f"{label}: expected an http:// or https:// address, got {mask_password(url)!r}"


def _admission_troubles(config: Config) -> Iterator[str]:
    capacity, running = config.admission.capacity, config.turns.max_running
    if capacity > running:
        yield f"[admission] capacity {capacity} is more than [turns] max_running {running}: they could not all run"


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _outbox_troubles(config: Config) -> Iterator[str]:
    try:
        Guard(config.outbox.allow)
    except ValueError as error:
        yield f"[outbox] allow: {error}"


def _auth_troubles(config: Config) -> Iterator[str]:
    auth, host = config.auth, config.server.host
    if auth.mode == "none" and not is_loopback(host):
        yield (
            f"refusing to listen on {host} without authentication: set [auth] mode (NGX_AUTH) to jwt or "
            "api_key, or [server] host (NGX_HOST) to 127.0.0.1"
        )
    if auth.mode == "jwt" and not (auth.jwt_secret or auth.jwks_url):
        yield "[auth] mode jwt needs jwt_secret (NGX_JWT_SECRET) or jwks_url (NGX_JWKS_URL)"
    if auth.jwt_secret and len(auth.jwt_secret.encode()) < MIN_SECRET_BYTES:
        yield f"[auth] jwt_secret (NGX_JWT_SECRET): needs {MIN_SECRET_BYTES} bytes or more (RFC 7518 §3.2)"


def _shared_troubles(config: Config) -> Iterator[str]:
    if any(len(key.encode()) < MIN_SECRET_BYTES for key in config.server.secret_key):
        yield f"[server] secret_key (NGX_SECRET_KEY): every key needs {MIN_SECRET_BYTES} bytes or more"
    if not config.server.secret_key and (config.is_on_postgres or config.redis.url is not None):
        what = "[journal] url on Postgres" if config.is_on_postgres else "[redis] url"
        yield f"{what} needs [server] secret_key (NGX_SECRET_KEY), the same on every instance"
    if config.redis.url is not None and not config.redis.url.startswith(SHARED_SCHEMES):
        yield f"[redis] url: expected {', '.join(SHARED_SCHEMES)}…, got {mask_password(config.redis.url)!r}"


def _foreign_troubles(config: Config) -> Iterator[str]:
    """What is wrong with the agents and tool servers elsewhere."""
    for name, remote in config.remote_agents.items():
        label = f"[agents.remote.{name}]"
        if not remote.card.startswith(("http://", "https://")):
            yield f"{label} card: expected an http:// or https:// address, got {mask_password(remote.card)!r}"
        if not all(one.startswith(("http://", "https://")) for one in remote.origins):
            yield f"{label} origins: expected http://… or https://… for each"
    for name, server in config.mcp_servers.items():
        label = f"[mcp.{name}]"
        if bool(server.command) == (server.url is not None):
            yield f"{label} needs either command or url"
        if server.url is not None and not server.url.startswith(("http://", "https://")):
            yield f"{label} url: expected an http:// or https:// address, got {mask_password(server.url)!r}"
        if not server.tools or not server.agents:
            yield f"{label} needs tools (names, or `*` for all) and agents (ids of specialists)"


def _tls_troubles(config: Config) -> Iterator[str]:
    server = config.server
    if (server.tls_cert is None) != (server.tls_key is None):
        yield "[server] tls_cert and tls_key belong together: set both or none"
    for name in ("tls_cert", "tls_key", "tls_ca"):
        path = getattr(server, name)
        if path is not None and not Path(path).is_file():
            yield f"[server] {name}: there is no file {path}"


def _edge_troubles(config: Config) -> Iterator[str]:
    for origin in config.edge.cors_origins:
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            yield f"[edge] cors_origins: expected scheme://host without a path, or *, got {origin!r}"
    if "*" in config.edge.cors_origins and config.auth.mode == "none":
        yield "[edge] cors_origins: * needs authentication, or any page could use this server"
    for text in config.edge.trusted_proxies:
        try:
            ip_network(text)
        except ValueError:
            yield f"[edge] trusted_proxies: expected an address or a network such as 10.0.0.0/8, got {text!r}"


def _worker_troubles(config: Config) -> Iterator[str]:
    if config.server.workers == 1:
        return
    if not config.is_on_postgres:
        yield (
            f"[server] workers = {config.server.workers} needs [journal] url (NGX_JOURNAL_URL) on Postgres: SQLite is "
            "for one process"
        )
    if config.journal.local_acceptance:
        yield "[journal] local_acceptance needs [server] workers = 1: its log belongs to one process"


def _blob_troubles(config: Config) -> Iterator[str]:
    blobs = config.blobs
    if blobs.url is None:
        return
    if not blobs.url.startswith(("http://", "https://")):
        yield f"[blobs] url: expected an http:// or https:// address, got {mask_password(blobs.url)!r}"
    if not (blobs.bucket and blobs.access_key and blobs.secret_key):
        yield "[blobs] url needs bucket, access_key and secret_key"


def journal_troubles(config: Config) -> Iterator[str]:
    """What is wrong with the journal's addresses."""
    journal, url = config.journal, config.journal.url
    if journal.shards is not None and (url is not None or journal.replica_urls or journal.local_acceptance):
        yield "[journal] shards stands alone: without url, replica_urls and local_acceptance"
    if journal.replica_urls and not config.is_on_postgres:
        yield "[journal] replica_urls needs url on Postgres"
    if not all(one.startswith(("postgresql://", "postgres://")) for one in journal.replica_urls):
        yield "[journal] replica_urls: expected postgresql://… for each"
    yield from _blob_troubles(config)
    if 0 < config.retention.messages_days < 1:
        yield "[retention] messages_days: 0, or at least 1"
    if url is None:
        return
    if not config.is_on_postgres and (not url.startswith("sqlite:///") or not url.removeprefix("sqlite:///")):
        yield f"[journal] url: expected sqlite:///<path> or postgresql://…, got {mask_password(url)!r}"
