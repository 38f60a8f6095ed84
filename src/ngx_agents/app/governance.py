"""What operators decide and what holds because of it: controls, limits. Made here, entered by the lifespan."""

from __future__ import annotations

from dataclasses import dataclass

from ngx_agents.app.config_sections import Config
from ngx_agents.app.foundation import Foundation
from ngx_agents.gateway.limits import Limits
from ngx_agents.state.control_board import ControlBoard
from ngx_agents.state.journal import Journal


@dataclass(frozen=True, slots=True, kw_only=True)
class Governance:
    """`limits` is None without authentication: then everybody is the one local user, and there is nobody to bound."""

    controls: ControlBoard
    limits: Limits | None


def governance_of(config: Config, journal: Journal, foundation: Foundation) -> Governance:
    controls = ControlBoard(journal, clock=foundation.clock, metrics=foundation.metrics)
    limits = None
    if config.auth.mode != "none":
        limits = Limits(controls, clock=foundation.clock, metrics=foundation.metrics, shared=foundation.shared)
    return Governance(controls=controls, limits=limits)
