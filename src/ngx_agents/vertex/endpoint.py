"""Where a call goes: the host of a location, and the path of a model and an operation."""

from __future__ import annotations

import re
from urllib.parse import quote, urlsplit

from ngx_agents.errors import ConfigError
from ngx_agents.vertex.settings import VertexSettings

GLOBAL_HOST = "aiplatform.googleapis.com"
MULTI_REGIONS = frozenset({"us", "eu"})
_LOCATION = re.compile(r"[a-z][a-z0-9-]*")


def host_of(location: str) -> str:
    """Google's host for `location`. There is no `global-aiplatform` host."""
    if location == "global":
        return GLOBAL_HOST
    if location in MULTI_REGIONS:
        return f"aiplatform.{location}.rep.googleapis.com"
    return f"{location}-{GLOBAL_HOST}"


def split_url(url: str) -> tuple[str, str]:
    """Origin and path of a base URL, without a trailing slash. Raises ConfigError."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError("the model's base URL must begin with http:// or https:// and name a host")
    return f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")


class Endpoint:
    """Origin and paths for one client. `project` may come from the credentials. Raises ConfigError."""

    def __init__(self, settings: VertexSettings, project: str | None) -> None:
        if _LOCATION.fullmatch(settings.location) is None:
            raise ConfigError("the location is not a name such as global, us, eu or europe-west1")
        self._paths: dict[tuple[str, str], str] = {}
        if settings.provider == "openai":
            if settings.openai_url is None:
                raise ConfigError("provider openai needs openai_url")
            self.origin, self._prefix = split_url(settings.openai_url)
            return
        self.origin, prefix = split_url(settings.base_url or f"https://{host_of(settings.location)}")
        self._prefix = f"{prefix}/{settings.api_version}"
        if project is not None:
            self._prefix += f"/projects/{quote(project, safe='')}/locations/{settings.location}"

    def chat_path(self) -> str:
        return f"{self._prefix}/chat/completions"

    def resource_path(self, path: str) -> str:
        """`path` is below project and location, or below the version where no project is named."""
        return f"{self._prefix}/{path}"

    def model_path(self, model: str, operation: str) -> str:
        """`model` is a name, or `endpoints/{id}` for a tuned one, or `publishers/{publisher}/models/{name}`."""
        path = self._paths.get((model, operation))
        if path is None:
            resource = model if "/" in model else f"publishers/google/models/{model}"
            path = f"{self._prefix}/{quote(resource)}:{operation}"
            if len(self._paths) < 1000:
                self._paths[model, operation] = path
        return path
