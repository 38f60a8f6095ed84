"""The gate as the configuration has it."""

from __future__ import annotations

from ngx_agents.app.config_sections import Config
from ngx_agents.clock import Clock, Rng
from ngx_agents.resilience.admission import Gate, GateRules
from ngx_agents.resilience.admission_limit import LimitRules
from ngx_agents.resilience.fairness import Fairness


def build_gate(config: Config, *, clock: Clock, rng: Rng) -> Gate:
    """Its bound is never above what the engine runs: more would only wait in the journal, out of the gate's sight."""
    admission, most = config.admission, float(config.turns.max_running)
    capacity = min(most, float(admission.capacity)) if admission.capacity else most
    limit = LimitRules(
        capacity=capacity,
        most=most,
        token_target_s=admission.token_target_s,
        first_token_target_s=admission.first_token_target_s,
    )
    rules = GateRules(limit=limit, tenant_share=admission.tenant_share)
    return Gate(rules, clock=clock, rng=rng, fairness=Fairness(clock=clock))
