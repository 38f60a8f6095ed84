"""Who the client is: nobody (an emulator), an API key, or Google's own credentials.

Tokens are refreshed in a thread, one refresh at a time, ahead of expiry; a call waits for it only when there is no
token that still holds. Beside `app/config.py` this is the only place that reads the environment, for the client used
alone; google-auth, imported on first use, reads Google's own variables.
"""

from __future__ import annotations

import asyncio
import calendar
import os
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

import msgspec

from ngx_agents.clock import Clock
from ngx_agents.errors import ConfigError, ModelAuthError, ModelError, ModelTimeout, ModelUnavailable
from ngx_agents.telemetry.log import event_log
from ngx_agents.vertex.settings import VertexSettings

if TYPE_CHECKING:
    from google.auth.credentials import Credentials as GoogleAuthCredentials

SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
REFRESH_AHEAD_S = 600.0  # a token lives an hour; google-auth itself calls it expired 225 s early
EXPIRED_AHEAD_S = 30.0
RETRY_AHEAD_S = 10.0
REFRESH_TIMEOUT_S = 10.0
MAX_REJECTIONS = 5  # within REJECTIONS_WITHIN_S; credentials that are revoked must not flood the token server
REJECTIONS_WITHIN_S = 60.0
JSON = {"content-type": "application/json"}

log = event_log("vertex")


class Credentials(Protocol):
    """Headers for a call. `project` is what the credentials know of it, once they were used."""

    project: str | None

    def ready(self) -> Mapping[str, str] | None:
        """The headers, if they can be had without waiting."""
        ...

    async def headers(self, deadline_s: float) -> Mapping[str, str]:
        """The headers. Raises ModelAuthError, ModelUnavailable, ModelTimeout."""
        ...

    def reject(self, headers: Mapping[str, str]) -> bool:
        """The server answered 401 to these headers; whether asking again may give better ones."""
        ...


class StaticCredentials:
    """Headers that never change: an API key, a bearer, or none."""

    project: str | None = None

    def __init__(self, extra: Mapping[str, str]) -> None:
        self._headers = {**JSON, **extra}

    def ready(self) -> Mapping[str, str]:
        return self._headers

    async def headers(self, deadline_s: float) -> Mapping[str, str]:
        return self._headers

    def reject(self, headers: Mapping[str, str]) -> bool:
        return False


class GoogleCredentials:
    """Application default credentials: a service account's file, an instance's metadata server, and their kin."""

    def __init__(self, clock: Clock) -> None:
        self.project: str | None = None
        self._clock = clock
        self._google: GoogleAuthCredentials | None = None
        self._headers: dict[str, str] | None = None
        self._expires_at = 0.0
        self._again_s = 0.0  # monotonic; no refresh ahead of expiry before
        self._refreshing: asyncio.Future[None] | None = None
        self._rejected_s: deque[float] = deque(maxlen=MAX_REJECTIONS)

    def ready(self) -> Mapping[str, str] | None:
        if self._headers is None:
            return None
        left_s = self._expires_at - self._clock.now_s()
        if left_s > REFRESH_AHEAD_S:
            return self._headers
        if left_s <= EXPIRED_AHEAD_S:
            return None
        if self._clock.monotonic_s() >= self._again_s:
            _ = self._begin_refresh()
        return self._headers

    async def headers(self, deadline_s: float) -> Mapping[str, str]:
        headers = self.ready()
        if headers is not None:
            return headers
        try:
            async with asyncio.timeout(max(0.0, deadline_s - self._clock.monotonic_s())):
                refreshing = self._begin_refresh()
                await asyncio.shield(refreshing)
                self._refreshed(refreshing)  # who comes just when it has ended may be here before the callback is
        except TimeoutError as exc:
            raise ModelTimeout("no access token came in time") from exc
        except Exception as exc:  # of the refresh: google-auth's errors, translated once
            raise _translated(exc) from exc
        if self._headers is None:
            raise ModelAuthError("the credentials gave no access token")
        return self._headers

    def reject(self, headers: Mapping[str, str]) -> bool:
        if headers is not self._headers:
            return True  # there are newer ones, or they are on their way
        now_s = self._clock.monotonic_s()
        rejected_s = self._rejected_s
        if len(rejected_s) == MAX_REJECTIONS and now_s - rejected_s[0] < REJECTIONS_WITHIN_S:
            return False
        rejected_s.append(now_s)
        self._headers = None
        return True

    def _begin_refresh(self) -> asyncio.Future[None]:
        """The refresh under way, or a new one; `_refreshed` takes its result whether or not anybody waits."""
        if self._refreshing is None:
            self._refreshing = asyncio.get_running_loop().run_in_executor(None, self._refresh_in_thread)
            self._refreshing.add_done_callback(self._refreshed)
        return self._refreshing

    def _refreshed(self, done: asyncio.Future[None]) -> None:
        """Takes the result, once."""
        if done is not self._refreshing:
            return
        self._refreshing = None
        error = None if done.cancelled() else done.exception()
        if error is not None:
            self._again_s = self._clock.monotonic_s() + RETRY_AHEAD_S
            log.warning("vertex.token_refresh_failed", error=type(error).__name__)
            return
        google = self._google
        if google is None or not google.token:
            return
        self._headers = {**JSON, "authorization": f"Bearer {google.token}"}
        quota_project = getattr(google, "quota_project_id", None)
        if quota_project:
            self._headers["x-goog-user-project"] = quota_project
        expiry = google.expiry
        self._expires_at = calendar.timegm(expiry.utctimetuple()) if expiry else self._clock.now_s() + 3600

    def _refresh_in_thread(self) -> None:
        from google.auth.transport.requests import Request

        if self._google is None:
            self._google, self.project = _load()
        self._google.refresh(_BoundedRequest(Request()))  # type: ignore[no-untyped-call]  # google-auth has no types here


class _BoundedRequest:
    """google-auth's request with a timeout that is ours: its own default is two minutes."""

    def __init__(self, request: Callable[..., object]) -> None:
        self._request = request

    def __call__(self, *args: object, **kwargs: object) -> object:
        kwargs["timeout"] = REFRESH_TIMEOUT_S
        return self._request(*args, **kwargs)


def credentials_for(settings: VertexSettings, clock: Clock) -> Credentials:
    """What `settings` ask for. Nothing is read or called yet."""
    if settings.provider == "openai":
        return StaticCredentials({"authorization": f"Bearer {settings.api_key}"} if settings.api_key else {})
    if settings.api_key:
        return StaticCredentials({"x-goog-api-key": settings.api_key})
    if settings.base_url and not settings.use_google_credentials:
        return StaticCredentials({})
    return GoogleCredentials(clock)


async def has_credentials(settings: VertexSettings, *, timeout_s: float = 2.0) -> bool:
    """Whether calls could be made at all: a key, an endpoint of its own, or Google credentials that can be found."""
    if settings.provider == "openai":
        return settings.openai_url is not None
    if settings.api_key or (settings.base_url and not settings.use_google_credentials):
        return True
    from google.auth.exceptions import GoogleAuthError

    try:
        async with asyncio.timeout(timeout_s):
            await asyncio.get_running_loop().run_in_executor(None, _load)
    except (GoogleAuthError, TimeoutError, OSError):
        return False
    return True


def settings_from_environment(environment: Mapping[str, str] | None = None) -> VertexSettings:
    """Settings for the client used alone, from `NGX_*` and Google's variables. Raises ConfigError."""
    env = os.environ if environment is None else environment

    def first(*names: str) -> str | None:
        return next((value for name in names if (value := env.get(name))), None)

    found = {
        "provider": first("NGX_VERTEX_PROVIDER"),
        "project": first("NGX_VERTEX_PROJECT", "GOOGLE_CLOUD_PROJECT"),
        "location": first("NGX_VERTEX_LOCATION", "GOOGLE_CLOUD_LOCATION"),
        "base_url": first("NGX_VERTEX_BASE_URL"),
        "api_key": first("NGX_VERTEX_API_KEY", "GOOGLE_API_KEY"),
        "model": first("NGX_MODEL"),
        "transport": first("NGX_VERTEX_TRANSPORT"),
        "http2": first("NGX_VERTEX_HTTP2"),
        "openai_url": first("NGX_LOCAL_MODEL_URL"),
    }
    given = {name: value for name, value in found.items() if value is not None}
    try:
        return msgspec.convert(given, VertexSettings)
    except msgspec.ValidationError as exc:
        raise ConfigError(f"the environment's model settings cannot be used: {exc}") from None


def _load() -> tuple[GoogleAuthCredentials, str | None]:
    import google.auth

    return google.auth.default(scopes=SCOPES)


def _translated(error: Exception) -> ModelError:
    from google.auth.exceptions import TransportError

    # a metadata server that cannot be reached is a RefreshError made of a TransportError
    is_of_transport = isinstance(error, TransportError | OSError) or isinstance(error.__cause__, TransportError)
    if is_of_transport or getattr(error, "retryable", False):
        return ModelUnavailable("the token server cannot be reached")
    return ModelAuthError("no usable Google credentials were found, or they were refused")
