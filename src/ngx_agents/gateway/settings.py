"""What the edge can be told. The application's configuration maps onto these; the defaults serve a laptop."""

from __future__ import annotations

from typing import Literal

import msgspec

from ngx_agents.errors import ConfigError

MIN_SECRET_BYTES = 32


class AuthSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How callers prove who they are. `none` makes everybody the one local user: for loopback addresses only.

    `leeway_s` is how far clocks may differ. `remembered_tokens` bounds the memory of verified tokens, each kept
    for at most `token_memory_s`; a token that says when it was issued holds for at most `token_life_s` from then. An
    API key is believed for `key_memory_s` before it is looked up again, so a revoked key is refused at the latest then.
    """

    mode: Literal["none", "jwt", "api_key"] = "none"
    jwt_secret: str | None = None
    jwks_url: str | None = None
    audience: str | None = None
    issuer: str | None = None
    leeway_s: float = 30.0
    max_token_bytes: int = 8_192
    remembered_tokens: int = 10_000
    token_memory_s: float = 600.0
    token_life_s: float = 7_776_000.0
    key_memory_s: float = 4.0

    def check(self) -> None:
        """Raises ConfigError when these settings could verify nobody, or too easily."""
        if self.mode == "jwt" and not (self.jwt_secret or self.jwks_url):
            raise ConfigError("auth jwt needs jwt_secret or jwks_url")
        if self.jwt_secret and len(self.jwt_secret.encode()) < MIN_SECRET_BYTES:
            raise ConfigError(f"jwt_secret must be at least {MIN_SECRET_BYTES} bytes long (RFC 7518 §3.2)")


class GatewaySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Pages of `cors_origins` may call from a browser. `max_body_bytes` is inclusive, and so is `max_batch_bytes`, of
    a batch's JSON lines; `attachments_bytes` is what one user's attachments may have together, `max_schedules` how many
    schedules a user may have, `max_webhooks` how many standing webhooks, `max_streams` how many event streams one may
    read at once. `serves_callers` False: an instance that runs turns which others took; it answers those, operators
    and probes.
    """

    auth: AuthSettings = AuthSettings()
    cors_origins: tuple[str, ...] = ()
    serves_callers: bool = True
    max_body_bytes: int = 1_048_576
    max_batch_bytes: int = 67_108_864
    max_schedules: int = 20
    max_webhooks: int = 10
    max_streams: int = 1000
    attachments_bytes: int = 209_715_200
