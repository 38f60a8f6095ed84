"""Every setting of the program: its default, its unit in its name, one line of help, its environment name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from ngx_agents.app.config_a2a import A2aConfig
from ngx_agents.app.config_data import BlobsConfig, RetentionConfig
from ngx_agents.app.config_edge import EdgeConfig
from ngx_agents.app.config_named import McpServerConfig, RemoteAgentConfig
from ngx_agents.app.config_turns import BatchesConfig, BudgetsConfig, BusConfig, OutboxConfig, TurnsConfig
from ngx_agents.app.setting import Section, mask_password, setting


class ServerConfig(Section, frozen=True, kw_only=True):
    """Where the server listens, where it keeps its data, and its bounds."""

    host: Annotated[
        str, setting("Address to listen on. Others than loopback need [auth].", env="NGX_HOST", flag="--host")
    ] = "127.0.0.1"
    port: Annotated[
        int,
        setting("Port to listen on; 0 takes any free one.", env="NGX_PORT", flag="--port", bounds=(0, 65_535)),
    ] = 8000
    data_dir: Annotated[
        str,
        setting(
            "Where the journal lives; `~` and paths relative to the working directory work.",
            env="NGX_DATA_DIR",
            flag="--data-dir",
        ),
    ] = "~/.local/share/ngx-agents"
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        setting("Least urgent event that is logged, to stderr.", flag="--log-level"),
    ] = "info"
    max_body_bytes: Annotated[int, setting("Largest request body that is read.", bounds=(1024, 104_857_600))] = 1048576
    role: Annotated[
        Literal["all", "gateway", "worker"],
        setting(
            "What this instance does: gateway takes turns and leaves running them to workers; all does both.",
            env="NGX_ROLE",
            flag="--role",
        ),
    ] = "all"
    agents: Annotated[
        tuple[str, ...],
        setting(
            "The agents that run in this process, such as orchestrator,progress_tracker; unset: all. They are served to"
            " all over Redis, and the others asked there. Without the orchestrator it runs no turns.",
            env="NGX_AGENTS",
            flag="--agents",
        ),
    ] = ()
    workers: Annotated[
        int,
        setting(
            "Processes that serve together, one for each core; bounds of [turns], [vertex] and memory are divided among"
            " them. More than one needs Postgres.",
            env="NGX_WORKERS",
            flag="--workers",
            bounds=(1, 256),
        ),
    ] = 1
    peer_port: Annotated[
        int,
        setting(
            "With several workers each has a port of its own, where other instances reach it: this one and the next"
            " ones; 0 takes free ones.",
            bounds=(0, 65_000),
        ),
    ] = 0
    advertise: Annotated[
        str | None,
        setting(
            "Where other instances reach this one, such as http://10.0.0.5:8000; unset: its own host and port, unless"
            " it listens on all addresses.",
            env="NGX_ADVERTISE",
        ),
    ] = None
    secret_key: Annotated[
        tuple[str, ...],
        setting(
            "Signs what instances say to each other and keeps cache scopes apart; several while it is being changed,"
            " the first signs. Unset: made once in the data directory.",
            env="NGX_SECRET_KEY",
            secret=True,
        ),
    ] = ()
    tls_cert: Annotated[
        str | None, setting("PEM file of the server's certificate and its chain; with tls_key it serves https only.")
    ] = None
    tls_key: Annotated[str | None, setting("PEM file of that certificate's key.")] = None
    tls_ca: Annotated[
        str | None, setting("PEM file of who signs the certificates of other instances; unset: the system's.")
    ] = None
    drain_s: Annotated[float, setting("How long a stopping server lets running turns finish.", bounds=(0, 3_600))] = (
        30.0
    )
    drain_delay_s: Annotated[
        float,
        setting(
            "How long a stopping server, not ready any more, still serves everything: longer than a load balancer needs"
            " to notice.",
            bounds=(0, 600),
        ),
    ] = 0.0


class AuthConfig(Section, frozen=True, kw_only=True):
    """Who may call. The token or key decides who the user is; nothing in a body does."""

    mode: Annotated[
        Literal["none", "jwt", "api_key"],
        setting("How callers prove who they are; none only on loopback.", env="NGX_AUTH", flag="--auth"),
    ] = "none"
    jwt_secret: Annotated[
        str | None, setting("Shared secret of HMAC-signed tokens.", env="NGX_JWT_SECRET", secret=True)
    ] = None
    jwks_url: Annotated[str | None, setting("Address of the issuer's public keys (JWKS).", env="NGX_JWKS_URL")] = None
    jwt_audience: Annotated[str | None, setting("Audience (aud) a token must name; unset accepts any.")] = None
    jwt_issuer: Annotated[str | None, setting("Issuer (iss) a token must name; unset accepts any.")] = None
    jwt_leeway_s: Annotated[
        float, setting("How far the issuer's clock may be off, when a token's times are checked.", bounds=(0, 300))
    ] = 30.0
    jwt_max_life_s: Annotated[
        float,
        setting(
            "How long after it was issued (iat) a token holds at the most, whatever its exp says. What is taken back is"
            " remembered as long: set it to what your provider gives, an hour for most.",
            bounds=(60, 31_622_400),
        ),
    ] = 7_776_000.0
    token_memory_s: Annotated[
        float,
        setting(
            "How long a verified token is believed without being verified again, at most until it expires; a key that"
            " the issuer withdraws ends it sooner.",
            bounds=(0, 3_600),
        ),
    ] = 600.0


class JournalConfig(Section, frozen=True, kw_only=True):
    """The durable truth."""

    url: Annotated[
        str | None,
        setting(
            "`sqlite:///<path>` or `postgresql://…` (`?pgbouncer=true` behind a transaction pooler); unset means"
            " journal.db in the data directory.",
            env="NGX_JOURNAL_URL",
        ),
    ] = None
    replica_urls: Annotated[
        tuple[str, ...],
        setting(
            "Standbys of that Postgres: they answer questions about history, also while it is away; a user never reads"
            " less than they wrote.",
            secret=True,
        ),
    ] = ()
    shards: Annotated[
        str | None,
        setting(
            "In place of `url`: a JSON file with several Postgres servers and which of the 256 shards of users each has"
            " (`ngx shards --help`).",
        ),
    ] = None
    local_acceptance: Annotated[
        bool,
        setting(
            "While Postgres is away, take turns on this instance's disk, mark their answers `durability: local`, and"
            " tell Postgres when it is back. Off: such turns are refused."
        ),
    ] = False
    memory_bytes: Annotated[
        int, setting("Most memory for copies of conversations and profiles.", bounds=(0, 1_099_511_627_776))
    ] = 67_108_864
    shared_copies: Annotated[
        bool,
        setting(
            "Keep copies of recent messages and profiles in Redis too, where there is one: relief for the database when"
            " turns change instance, at a price for this process."
        ),
    ] = True
    shared_ttl_s: Annotated[float, setting("How long such copies live in Redis.", bounds=(1, 2_592_000))] = 7200.0
    health_consent: Annotated[
        bool,
        setting(
            "Keep no logs and no health data in profiles of users who have not agreed (`PUT /v1/me/consents/health`)."
        ),
    ] = False
    cleanup_interval_s: Annotated[
        float, setting("How often one elected instance removes what has expired.", bounds=(1, 86_400))
    ] = 3600.0
    turns_kept_days: Annotated[
        float, setting("How long what only running turns need is kept after their end.", bounds=(0, 36_500))
    ] = 7.0
    conversations_kept_days: Annotated[
        float, setting("Conversations untouched for longer are removed; 0 keeps them.", bounds=(0, 36_500))
    ] = 0.0


class VertexConfig(Section, frozen=True, kw_only=True):
    """Vertex AI: used as soon as a project, a key or a base URL is set."""

    project: Annotated[str | None, setting("Google Cloud project that pays.", fallback_env="GOOGLE_CLOUD_PROJECT")] = (
        None
    )
    location: Annotated[
        str,
        setting("Location of the endpoint, such as global or europe-west1.", fallback_env="GOOGLE_CLOUD_LOCATION"),
    ] = "global"
    base_url: Annotated[str | None, setting("Another endpoint: an emulator or a proxy.")] = None
    api_key: Annotated[str | None, setting("Key instead of Google credentials (express mode).", secret=True)] = None
    model: Annotated[str, setting("Model that answers.", env="NGX_MODEL", flag="--model")] = "gemini-3.8-flash"
    transport: Annotated[
        Literal["pyreqwest", "aiohttp"],
        setting("HTTP client: pyreqwest is the fast one, aiohttp the second."),
    ] = "pyreqwest"
    connection_pool_size: Annotated[int, setting("Most connections to one location.", bounds=(1, 1_000))] = 50
    residency: Annotated[
        Literal["any", "eu", "us"], setting("Where data may go; locations outside of it are refused at the start.")
    ] = "any"
    traffic: Annotated[
        tuple[Literal["provisioned", "shared", "priority"], ...],
        setting("Kinds of capacity, in the order they are tried; priority only in location global."),
    ] = ("shared",)
    fallback_locations: Annotated[
        tuple[str, ...], setting("Locations asked when the first does not answer, in this order.")
    ] = ()
    fallback_models: Annotated[
        tuple[str, ...], setting("Models asked when no location answers; their answers are marked degraded.")
    ] = ()
    cache_enabled: Annotated[bool, setting("Keep answers that may be given again.")] = True
    cache_ttl_s: Annotated[float, setting("How long a general answer is fresh.", bounds=(0, 2_592_000))] = 3600.0
    max_cache_size: Annotated[int, setting("Most answers kept in memory.", bounds=(1, 10_000_000))] = 10_000
    max_retries: Annotated[int, setting("Most retries of batch work; urgent calls stop at 2.", bounds=(0, 20))] = 5
    retry_delay_s: Annotated[float, setting("Base of the random wait before a retry.", bounds=(0, 60))] = 1.0
    circuit_breaker_threshold: Annotated[
        int, setting("Calls within 30 s from which on half failed opens the breaker.", bounds=(1, 100_000))
    ] = 10
    circuit_breaker_timeout_s: Annotated[
        float, setting("How long an open breaker lets nothing pass.", bounds=(0.1, 3_600))
    ] = 30.0
    requests_per_minute: Annotated[
        float,
        setting("Most calls to one model in one location, all instances together; 0 is no limit.", bounds=(0, 1e9)),
    ] = 0.0
    tokens_per_minute: Annotated[
        float,
        setting("Most tokens, in and out, of one model in one location; 0 is no limit.", bounds=(0, 1e12)),
    ] = 0.0
    quota_instances: Annotated[
        int,
        setting("Instances that share these limits while Redis is away or not there.", bounds=(1, 10_000)),
    ] = 1
    ca_file: Annotated[str | None, setting("PEM bundle trusted beside the system's, for a private proxy.")] = None
    http2: Annotated[
        Literal["auto", "prior_knowledge", "off"],
        setting("HTTP/2 (pyreqwest only): auto over https where spoken, prior_knowledge always, off never."),
    ] = "auto"


class LocalConfig(Section, frozen=True, kw_only=True):
    """A model of your own, used when Vertex is not configured."""

    model_url: Annotated[
        str | None,
        setting("OpenAI-compatible base URL (Ollama, vLLM, llama.cpp), such as http://127.0.0.1:11434/v1."),
    ] = None
    model: Annotated[str, setting("The name that server gives the model.")] = "default"
    builtin: Annotated[
        Literal["auto", "off"],
        setting("The small model of the extra `local`: auto runs it when it is installed and model_url is not set."),
    ] = "auto"


class RedisConfig(Section, frozen=True, kw_only=True):
    """What instances share. Without it every instance keeps its own."""

    url: Annotated[
        str | None,
        setting("redis://, rediss://, redis+sentinel://host,host/service or redis+cluster://host,host."),
    ] = None


class TelemetryConfig(Section, frozen=True, kw_only=True):
    """Traces, sent to an OpenTelemetry collector; needs the extra `otel`."""

    otlp_endpoint: Annotated[
        str | None,
        setting("The collector's base URL, such as http://127.0.0.1:4318.", fallback_env="OTEL_EXPORTER_OTLP_ENDPOINT"),
    ] = None
    trace_share: Annotated[float, setting("Share of the traces begun here that are sent.", bounds=(0, 1))] = 1.0


class AdmissionConfig(Section, frozen=True, kw_only=True):
    """How many turns are let in, and when the model counts as slow."""

    capacity: Annotated[
        int,
        setting(
            "Model calls at once that were measured to be served well: the bound moves between half and twice that, but"
            " not above turns.max_running. 0: turns.max_running.",
            bounds=(0, 100_000),
        ),
    ] = 0
    token_target_s: Annotated[
        float, setting("Usual time between two output tokens; a quarter more is slow.", bounds=(0.0001, 60))
    ] = 0.05
    first_token_target_s: Annotated[float, setting("Longest good time to the first token.", bounds=(0.001, 300))] = 4.0
    tenant_share: Annotated[float, setting("Most of the bound that one tenant may hold.", bounds=(0.001, 1))] = 1.0


class ClientConfig(Section, frozen=True, kw_only=True):
    """What `ngx chat` connects to; the server does not use it."""

    url: Annotated[str, setting("Address of the server.", env="NGX_URL", flag="--url")] = "http://127.0.0.1:8000"
    api_key: Annotated[
        str | None,
        setting("API key or token sent as Bearer.", env="NGX_API_KEY", flag="--api-key", secret=True),
    ] = None


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """All sections, typed. Whether they fit together is told by `app.config_checks`."""

    server: ServerConfig = ServerConfig()
    edge: EdgeConfig = EdgeConfig()
    auth: AuthConfig = AuthConfig()
    journal: JournalConfig = JournalConfig()
    retention: RetentionConfig = RetentionConfig()
    blobs: BlobsConfig = BlobsConfig()
    vertex: VertexConfig = VertexConfig()
    local: LocalConfig = LocalConfig()
    redis: RedisConfig = RedisConfig()
    telemetry: TelemetryConfig = TelemetryConfig()
    turns: TurnsConfig = TurnsConfig()
    outbox: OutboxConfig = OutboxConfig()
    a2a: A2aConfig = A2aConfig()
    batches: BatchesConfig = BatchesConfig()
    bus: BusConfig = BusConfig()
    admission: AdmissionConfig = AdmissionConfig()
    budgets: BudgetsConfig = BudgetsConfig()
    client: ClientConfig = ClientConfig()
    remote_agents: dict[str, RemoteAgentConfig] = {}
    mcp_servers: dict[str, McpServerConfig] = {}

    def section(self, name: str) -> Section:
        """The section that the file calls so, such as `server` or `agents.remote.weather`."""
        kind, _, last = name.rpartition(".")
        named: dict[str, dict[str, Any]] = {"agents.remote": self.remote_agents, "mcp": self.mcp_servers}
        found: Section = named[kind][last] if kind in named else getattr(self, name)
        return found

    @property
    def data_path(self) -> Path:
        """The data directory, absolute."""
        return Path(self.server.data_dir).expanduser().absolute()

    @property
    def is_on_postgres(self) -> bool:
        """On one Postgres, or on the several of a shard file."""
        return self.journal.shards is not None or (
            self.journal.url is not None and self.journal.url.startswith(("postgresql://", "postgres://"))
        )

    @property
    def journal_label(self) -> str:
        """Where the journal is, for people: without passwords."""
        if self.journal.shards is not None:
            return f"shards of {self.journal.shards}"
        return mask_password(self.journal.url or "") if self.is_on_postgres else str(self.journal_path)

    @property
    def journal_path(self) -> Path:
        """The SQLite file, absolute. `sqlite:///a` is relative, `sqlite:////a` absolute."""
        if self.journal.url is None:
            return self.data_path / "journal.db"
        return Path(self.journal.url.removeprefix("sqlite:///")).expanduser().absolute()
