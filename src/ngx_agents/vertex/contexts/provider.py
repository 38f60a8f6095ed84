"""The provider's side of kept prefixes: made, found, renewed, looked up, deleted. Times are on the client's clock."""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec

from ngx_agents.clock import Clock
from ngx_agents.errors import ModelError
from ngx_agents.vertex.content import ModelRequest
from ngx_agents.vertex.dialects import vertex_caches as dialect
from ngx_agents.vertex.dialects.vertex_wire import CachedContentReply

COLLECTION = "cachedContents"
MARGIN_S = 15.0  # a copy is not used in the last seconds of its life: the call must still find it
MIN_ADOPTED_S = 60.0
Method = Literal["GET", "POST", "PATCH", "DELETE"]


class ContextTarget(msgspec.Struct, frozen=True):
    """Where copies live: they are bound to project, location and model (a name, or `publishers/…/models/…`)."""

    project: str
    location: str
    model: str

    @property
    def model_path(self) -> str:
        resource = self.model if "/" in self.model else f"publishers/google/models/{self.model}"
        return f"projects/{self.project}/locations/{self.location}/{resource}"


class ContextPost(Protocol):
    """Calls `path` under `…/projects/{project}/locations/{location}/` of the target, with its credentials."""

    async def __call__(
        self, target: ContextTarget, path: str, *, method: Method, body: bytes, deadline_s: float
    ) -> bytes:
        """The body, if it is 200. Raises ModelError."""
        ...


class Kept(msgspec.Struct, frozen=True):
    """A copy that may be used until `until_s`, monotonic. `tokens` is 0 when the provider did not say."""

    name: str
    until_s: float
    tokens: int


class ContextProvider:
    """All methods raise ModelError, and take no longer than `timeout_s`."""

    def __init__(self, post: ContextPost, clock: Clock, *, timeout_s: float) -> None:
        self._post = post
        self._clock = clock
        self._timeout_s = timeout_s

    async def find(self, key: str, target: ContextTarget) -> Kept | None:
        """A living copy that another instance made. One page is read: listing consumes quota."""
        body = await self._call(target, f"{COLLECTION}?pageSize=1000", "GET", b"")
        for kept in dialect.decode_page(body):
            if kept.display_name == display_name(key) and kept.model == target.model_path:
                left_s = self._left_s(kept)
                if left_s is not None and left_s >= MIN_ADOPTED_S:
                    return self._kept(kept, self._clock.monotonic_s() + left_s)
        return None

    async def make(self, request: ModelRequest, key: str, target: ContextTarget, *, ttl_s: int) -> Kept:
        body = dialect.encode_prefix(request, model_path=target.model_path, display_name=display_name(key), ttl_s=ttl_s)
        began_s = self._clock.monotonic_s()
        return self._kept(dialect.decode_kept(await self._call(target, COLLECTION, "POST", body)), began_s + ttl_s)

    async def renew(self, name: str, target: ContextTarget, *, ttl_s: int) -> Kept:
        began_s = self._clock.monotonic_s()
        body = await self._call(target, _path(name), "PATCH", dialect.encode_ttl(ttl_s))
        return self._kept(dialect.decode_kept(body), began_s + ttl_s)

    async def look_up(self, name: str, target: ContextTarget) -> Kept | None:
        """The copy as the provider knows it now; None when it is about to end."""
        kept = dialect.decode_kept(await self._call(target, _path(name), "GET", b""))
        left_s = self._left_s(kept)
        if left_s is None or left_s <= MARGIN_S:
            return None
        return self._kept(kept, self._clock.monotonic_s() + left_s)

    async def delete(self, name: str, target: ContextTarget) -> None:
        await self._call(target, _path(name), "DELETE", b"")

    async def _call(self, target: ContextTarget, path: str, method: Method, body: bytes) -> bytes:
        deadline_s = self._clock.monotonic_s() + self._timeout_s
        return await self._post(target, path, method=method, body=body, deadline_s=deadline_s)

    def _left_s(self, kept: CachedContentReply) -> float | None:
        expires_at_s = dialect.expires_at_s(kept)
        return None if expires_at_s is None else expires_at_s - self._clock.now_s()

    def _kept(self, kept: CachedContentReply, until_s: float) -> Kept:
        tokens = kept.usage_metadata.total_token_count if kept.usage_metadata else 0
        return Kept(kept.name, until_s - MARGIN_S, tokens)


def display_name(key: str) -> str:
    return f"ngx-{key}"


def _path(name: str) -> str:
    return f"{COLLECTION}/{name.rpartition('/')[2]}"


def may_mean_lost(error: ModelError) -> bool:
    """Whether a call that used a copy may have failed because of it: expired is 400, deleted 404, forbidden 403."""
    return error.status in (400, 403, 404)
