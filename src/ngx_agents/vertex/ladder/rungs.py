"""The rungs of the ladder, in the order they are tried, and which of them a residency rule leaves.

provisioned throughput, shared pool, priority (only in `global`), the other locations, the sibling models. Stale answers
and the local model come after these, in `answering`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from ngx_agents.errors import ConfigError
from ngx_agents.vertex.ladder.residency import may_go
from ngx_agents.vertex.ladder.target import Target
from ngx_agents.vertex.settings import Traffic, VertexSettings

DEDICATED = {"x-vertex-ai-llm-request-type": "dedicated"}
NOT_DEDICATED = {"x-vertex-ai-llm-request-type": "shared"}
PRIORITY = {"x-vertex-ai-llm-shared-request-type": "priority"}


class Rung(msgspec.Struct, frozen=True, kw_only=True):
    """`model` None means the model the request asks for. `headers` choose the traffic type."""

    name: str
    target: Target
    traffic: Traffic = "shared"
    model: str | None = None
    headers: Mapping[str, str] | None = None


def rungs_of(settings: VertexSettings, target_in: Callable[[str], Target]) -> tuple[Rung, ...]:
    """The rungs before stale and local. Raises ConfigError for a location that the residency rule forbids."""
    if settings.provider == "openai":
        return (Rung(name="local", target=target_in(settings.location)),)
    for location in (settings.location, *settings.fallback_locations):
        if not may_go(location, settings.residency):
            raise ConfigError(f"location {location} is outside of residency {settings.residency}")
    primary = target_in(settings.location)
    rungs = [_of_traffic(traffic, primary, settings) for traffic in settings.traffic]
    rungs += [Rung(name="location", target=target_in(location)) for location in settings.fallback_locations]
    rungs += [Rung(name="sibling", target=primary, model=model) for model in settings.fallback_models]
    return tuple(rungs)


def _of_traffic(traffic: Traffic, target: Target, settings: VertexSettings) -> Rung:
    if traffic == "priority" and settings.location != "global":
        raise ConfigError("traffic priority exists only in location global")
    headers: Mapping[str, str] | None = None
    if traffic == "provisioned":
        headers = DEDICATED
    elif traffic == "priority":
        headers = PRIORITY
    elif "provisioned" in settings.traffic:
        headers = NOT_DEDICATED
    return Rung(name=traffic, target=target, traffic=traffic, headers=headers)
