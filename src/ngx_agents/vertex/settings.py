"""What the model client needs to know: which provider, where, which model, and how it is reached."""

from __future__ import annotations

from typing import Literal

import msgspec

from ngx_agents.vertex.contexts.settings import ContextSettings
from ngx_agents.vertex.ladder.residency import Residency
from ngx_agents.vertex.quota import QuotaLimit
from ngx_agents.vertex.transport import Http2

Traffic = Literal["provisioned", "shared", "priority"]
DEFAULT_MODEL = "gemini-3.8-flash"


class VertexSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`provider` vertex is reached at Google's host of `location` or at `base_url` (an emulator or proxy).

    Without `project` the calls go the express way, which needs `api_key`. With `base_url` and no `api_key`, calls
    carry no credentials unless `use_google_credentials`. `provider` openai is any OpenAI-compatible server at
    `openai_url` (up to and without `/chat/completions`), with `api_key` as its bearer when set. `http2` auto means
    HTTP/2 over https when the peer speaks it, HTTP/1.1 over http.

    What answers when the first choice does not, in this order: the kinds of `traffic`, the same model in
    `fallback_locations`, the `fallback_models`, and for simple requests `local_model` at `local_url`
    (OpenAI-compatible). `residency` forbids every location outside of it. `contexts` bounds the copies of prefixes
    kept at the provider. `quota` are limits per minute, kept by all instances together where they share something; when
    that is away each keeps its part, the `quota_instances`-th. `ca_file` is a PEM bundle trusted beside the system's
    authorities.
    """

    provider: Literal["vertex", "openai"] = "vertex"
    project: str | None = None
    location: str = "global"
    base_url: str | None = None
    api_key: str | None = None
    api_version: Literal["v1", "v1beta1"] = "v1"
    model: str = DEFAULT_MODEL
    transport: Literal["pyreqwest", "aiohttp"] = "pyreqwest"
    http2: Http2 = "auto"
    openai_url: str | None = None
    use_google_credentials: bool = False
    residency: Residency = "any"
    traffic: tuple[Traffic, ...] = ("shared",)
    fallback_locations: tuple[str, ...] = ()
    fallback_models: tuple[str, ...] = ()
    local_url: str | None = None
    local_model: str = "default"
    local_key: str | None = None
    contexts: ContextSettings = ContextSettings()
    ca_file: str | None = None
    quota: tuple[QuotaLimit, ...] = ()
    quota_instances: int = 1

    def __repr__(self) -> str:  # type: ignore[explicit-override]  # typing.override is of 3.12
        return f"VertexSettings(provider={self.provider!r}, location={self.location!r}, model={self.model!r})"
