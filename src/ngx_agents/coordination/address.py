"""Where Redis is, read from its URL. Pure; errors name the setting, never the password.

    redis://[user[:password]@]host[:port][/database]
    redis+sentinel://[user[:password]@]host[:port],host[:port]/service[/database]
    redis+cluster://[user[:password]@]host[:port],host[:port]

`rediss…` speaks TLS. After `?`: `namespace` (what all keys begin with, `ngx`), `ca_file`, `cert_file`, `key_file`
(TLS, PEM paths), `sentinel_user` and `sentinel_password` (the Sentinels' own, if they have one).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from ngx_agents.errors import ConfigError

Kind = Literal["standalone", "sentinel", "cluster"]
KINDS: dict[str, Kind] = {"": "standalone", "sentinel": "sentinel", "cluster": "cluster"}
PORTS: dict[Kind, int] = {"standalone": 6379, "sentinel": 26_379, "cluster": 6379}
OPTIONS = frozenset({"namespace", "ca_file", "cert_file", "key_file", "sentinel_user", "sentinel_password"})
SETTING = "NGX_REDIS_URL"
MAX_NAMESPACE = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """`hosts` are the Sentinels, or some nodes of the cluster, or the one server."""

    kind: Kind
    hosts: tuple[tuple[str, int], ...]
    is_tls: bool = False
    service: str = ""
    database: int = 0
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    sentinel_user: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)
    namespace: str = "ngx"
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None

    @property
    def place(self) -> str:
        """The hosts, for people."""
        return ",".join(f"{host}:{port}" for host, port in self.hosts)


def read_address(url: str) -> Address:
    """Raises ConfigError."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ConfigError(f"{SETTING} is not a URL") from None
    scheme, _, mode = parts.scheme.partition("+")
    if scheme not in ("redis", "rediss") or mode not in KINDS:
        raise ConfigError(f"{SETTING} begins with none of redis://, redis+sentinel://, redis+cluster://, rediss…")
    kind = KINDS[mode]
    credentials, _, places = parts.netloc.rpartition("@")
    user, _, password = credentials.partition(":")
    hosts = tuple(_host(place, PORTS[kind]) for place in places.split(","))
    if kind == "standalone" and len(hosts) > 1:
        raise ConfigError(f"{SETTING} names several hosts: that is redis+sentinel:// or redis+cluster://")
    service, database = _path(parts.path.strip("/"), kind)
    return Address(
        kind=kind, hosts=hosts, is_tls=scheme == "rediss", service=service, database=database,
        user=unquote(user) or None, password=unquote(password) or None, **_options(parts),
    )  # fmt: skip


def _host(place: str, default_port: int) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{place}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host:
        raise ConfigError(f"{SETTING} has a host or port that cannot be read")
    return host, default_port if port is None else port


def _path(path: str, kind: Kind) -> tuple[str, int]:
    """(service, database)"""
    service = ""
    if kind == "sentinel":
        service, _, path = path.partition("/")
        if not service:
            raise ConfigError(f"{SETTING} lacks the service that the Sentinels watch: redis+sentinel://host/service")
    if not path:
        return service, 0
    if kind == "cluster" or not (path.isascii() and path.isdigit()):
        raise ConfigError(f"{SETTING} has a path that is no database number; a cluster has none")
    return service, int(path)


def _options(parts: SplitResult) -> dict[str, str]:
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    unknown = sorted(options.keys() - OPTIONS)
    if unknown:
        raise ConfigError(f"{SETTING} has an unknown option; known are {', '.join(sorted(OPTIONS))}")
    namespace = options.get("namespace", "ngx")
    # a brace would take over the keys' {tags}
    if not 0 < len(namespace) <= MAX_NAMESPACE or not namespace.isascii() or "{" in namespace or "}" in namespace:
        raise ConfigError(f"{SETTING} has a namespace that is not 1 to {MAX_NAMESPACE} ASCII characters without braces")
    return options
